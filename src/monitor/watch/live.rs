//! Runs that run or wait, jobs that should run, and limits that are held.

use std::time::Duration;

use super::{About, Seen, Watch};
use crate::{
    domain::{Finding, Notice, NoticeKind, Timestamp},
    monitor::rules::{Judged, judge_overdue, judge_running, judge_waiting, time},
    store::{Expectation, LiveRun, Over, StoreError},
};

/// How late a schedule may be served.
const PUNCTUAL: Duration = Duration::from_secs(300);
/// How many late jobs are looked at in one round.
const BATCH: u32 = 100;
/// For how long a run may hold a limit that others want.
const HOLD: Duration = Duration::from_secs(3600);
/// The same for a job of which nothing is known.
const LONG_HOLD: Duration = Duration::from_secs(6 * 3600);

impl LiveRun {
    fn about(&self) -> About<'_> {
        About { project: self.project, job: self.job, name: &self.job_name, run: Some(self.run) }
    }
}

impl Watch {
    /// Runs that take too long, and runs that wait too long.
    pub(super) async fn look_at_runs(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let now = self.clock.now();
        for run in self.store.running().await? {
            let Some(known) = self.histories.of(&self.store, run.project, run.job, now).await? else { continue };
            let judged = judge_running(&known.history, &known.notify, run.made_at, now.since(run.since));
            seen.found.extend(judged.and_then(|judged| run.about().finding(judged, &known.notify)));
        }
        for run in self.store.heads_of_queues().await? {
            let Some(known) = self.histories.of(&self.store, run.project, run.job, now).await? else { continue };
            let judged = judge_waiting(&known.history, &known.notify, run.made_at, now.since(run.since));
            seen.found.extend(judged.and_then(|judged| run.about().finding(judged, &known.notify)));
        }
        seen.whole.push((NoticeKind::Stuck, "no run of the job waits that long any more"));
        Ok(())
    }

    /// Jobs that should have been run by now.
    pub(super) async fn look_at_rhythms(&self, open: &[Notice], seen: &mut Seen) -> Result<(), StoreError> {
        let now = self.clock.now();
        for notice in open.iter().filter(|notice| notice.kind == NoticeKind::Overdue) {
            let Some((job, _)) = &notice.job else { continue };
            if self.store.last_made(*job).await?.is_some_and(|made| made > notice.opened_at) {
                let resolution = "the job was run".to_owned();
                seen.over.push(Over { kind: notice.kind, subject: notice.subject.clone(), resolution });
            }
        }
        for late in self.store.due_expectations(now, BATCH).await? {
            seen.found.extend(self.judge_rhythm(late, now).await?);
        }
        for late in self.store.due_schedules(now.minus(PUNCTUAL), BATCH).await? {
            let Some((job, revision)) = self.store.job_by_id(late.job).await? else { continue };
            let summary = format!("its schedule's time {} was not served: look at the service's log", late.time);
            let figures = [("late_seconds", now.since(late.time).as_secs_f64())].into();
            let judged = Judged::Trouble { kind: NoticeKind::Overdue, summary, figures };
            let about = About { project: job.project, job: job.id, name: &job.name, run: None };
            seen.found.extend(about.finding(judged, &revision.spec.notify));
        }
        Ok(())
    }

    async fn judge_rhythm(&self, late: Expectation, now: Timestamp) -> Result<Option<Finding>, StoreError> {
        let Some((job, _)) = self.store.job_by_id(late.job).await? else { return Ok(None) };
        let Some(known) = self.histories.of(&self.store, job.project, job.id, now).await? else { return Ok(None) };
        if !known.enabled {
            self.store.expect(job.id, late.last_made, None).await?;
            return Ok(None);
        }
        // A run that has not ended yet was not looked at, but it was made.
        let last = self.store.last_made(job.id).await?.unwrap_or(late.last_made);
        if last > late.last_made {
            let by = judge_overdue(&known.history, &known.notify, last);
            self.store.expect(job.id, last, by).await?;
            return Ok(None);
        }
        let ago = time(now.since(last).as_secs_f64());
        let usual = known.history.cadence.as_ref().map(|cadence| time(cadence.typical().as_secs_f64()));
        let usual = usual.map(|usual| format!(", usually every {usual}")).unwrap_or_default();
        let summary = format!("was last run {ago} ago{usual}; it was expected by {}", late.expected_by);
        let figures = [("late_seconds", now.since(late.expected_by).as_secs_f64())].into();
        let judged = Judged::Trouble { kind: NoticeKind::Overdue, summary, figures };
        let about = About { project: job.project, job: job.id, name: &job.name, run: None };
        Ok(about.finding(judged, &known.notify))
    }

    /// Limits that one run has held very long while others wait.
    pub(super) async fn look_at_limits(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let now = self.clock.now();
        for holder in self.store.long_holders(now.minus(HOLD)).await? {
            let run = &holder.run;
            let Some(known) = self.histories.of(&self.store, run.project, run.job, now).await? else { continue };
            let held = now.since(run.since);
            let usual = known.history.duration.as_ref().map(|usual| usual.band(run.made_at).high);
            let most = usual.map_or(LONG_HOLD.as_secs_f64(), |high| high.max(HOLD.as_secs_f64()));
            if held.as_secs_f64() <= most || !known.notify.wants(NoticeKind::LimitHeld) {
                continue;
            }
            let seconds = held.as_secs_f64();
            seen.found.push(Finding {
                kind: NoticeKind::LimitHeld,
                subject: format!("limit:{}/{}", run.project, holder.limit),
                project: Some(run.project),
                job: Some((run.job, run.job_name.clone())),
                run: Some(run.run),
                summary: format!("the limit {} is held for {} while others wait", holder.limit, time(seconds)),
                figures: [("value", seconds), ("bound", most)].into(),
                channels: known.notify.channels.clone(),
            });
        }
        seen.whole.push((NoticeKind::LimitHeld, "the limit is free again, or nobody waits"));
        Ok(())
    }
}
