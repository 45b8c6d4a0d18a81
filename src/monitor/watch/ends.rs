//! Runs that have ended.

use super::{About, Watch};
use crate::{
    domain::{Finding, NoticeKind, Run, RunError, Sample},
    monitor::rules::{Judged, judge_end, judge_overdue},
    store::{JudgedRun, Over, StoreError},
};

/// How many are looked at in one transaction.
const BATCH: u32 = 200;

impl Watch {
    /// Looks at all runs that have ended and were not looked at yet.
    pub(super) async fn look_at_ends(&self) -> Result<(), StoreError> {
        loop {
            let runs = self.store.unjudged(BATCH).await?;
            if runs.is_empty() {
                return Ok(());
            }
            let mut judged = Vec::<JudgedRun>::with_capacity(runs.len());
            for run in &runs {
                // What is usual may depend on runs that are judged here and not stored yet: the rest waits for them.
                if self.histories.is_stale(run.job, self.clock.now()) && judged.iter().any(|other| other.job == run.job)
                {
                    break;
                }
                judged.push(self.judge(run).await?);
            }
            self.store.judged(judged, self.clock.now()).await?;
        }
    }

    async fn judge(&self, run: &Run) -> Result<JudgedRun, StoreError> {
        let nothing = JudgedRun {
            run: run.id,
            job: run.job,
            sample: None,
            expected_by: None,
            found: Vec::new(),
            failing: None,
            over: Vec::new(),
        };
        let known = self.histories.of(&self.store, run.project, run.job, self.clock.now()).await?;
        let Some(known) = known else { return Ok(nothing) };
        let notify = &known.notify;
        let Some(sample) = Sample::of(run, &notify.rows_metric) else { return Ok(nothing) };
        known.ended();
        let about = About { project: run.project, job: run.job, name: &run.job_name, run: Some(run.id) };
        let error = run.error.as_ref().map(told);
        let (mut found, mut over) = (Vec::new(), vec![over(&about, NoticeKind::Overdue, "the job was run")]);
        over.extend(notify.mute.iter().map(|kind| self::over(&about, *kind, "it is not wanted any more")));
        for judged in judge_end(&known.history, notify, &sample, error.as_deref()) {
            match judged {
                Judged::Fine(kind) => over.push(self::over(&about, kind, fine(kind))),
                trouble @ Judged::Trouble { .. } => found.extend(about.finding(trouble, notify)),
            }
        }
        // A schedule is looked after by itself; what an orchestrator does is known from when it did it.
        let by_rhythm = known.enabled && (!known.scheduled || notify.overdue_after_seconds.is_some());
        let expected_by = by_rhythm.then(|| judge_overdue(&known.history, notify, sample.made_at)).flatten();
        let failing = (!sample.succeeded && notify.wants(NoticeKind::Failing))
            .then(|| (notify.failing_after, failing(&about, notify, error.as_deref())));
        Ok(JudgedRun { sample: Some(sample), expected_by, found, failing, over, ..nothing })
    }
}

fn failing(about: &About<'_>, notify: &crate::domain::NotifySpec, error: Option<&str>) -> Finding {
    Finding {
        kind: NoticeKind::Failing,
        subject: about.subject(),
        project: Some(about.project),
        job: Some((about.job, about.name.clone())),
        run: about.run,
        summary: format!(
            "the last {} runs failed, the last one with: {}",
            notify.failing_after,
            error.unwrap_or("no error")
        ),
        figures: [("failures", f64::from(notify.failing_after))].into(),
        channels: notify.channels.clone(),
    }
}

/// An error's first line; scripts write long ones.
fn told(error: &RunError) -> String {
    let line: String = error.message.lines().next().unwrap_or_default().chars().take(300).collect();
    format!("{} ({})", line, error.code.as_str())
}

fn over(about: &About<'_>, kind: NoticeKind, resolution: &str) -> Over {
    Over { kind, subject: about.subject(), resolution: resolution.to_owned() }
}

const fn fine(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Failed | NoticeKind::Failing => "recovered: a run succeeded",
        NoticeKind::FewRows => "a run reported as many rows as usual",
        _ => "a run took as long as usual",
    }
}
