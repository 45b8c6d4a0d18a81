//! Looks whether something is wrong: at each run that has ended, and at what lives, by a timer.
//!
//! Ended runs are queued by the transaction that ends them and taken off by the one that keeps what was found, so each
//! is looked at exactly once, whatever crashes. What is kept of a job is bounded; the length of its history costs
//! nothing.

mod ends;
mod histories;
mod live;
mod surroundings;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::rules::Judged;
use crate::{
    background::Background,
    domain::{Clock, Finding, JobId, Name, Notice, NoticeKind, NotifySpec, ProjectId, RunId},
    runner::{Runner, some_run_ended},
    store::{Over, Store, StoreError},
};
use histories::Histories;
use surroundings::Engines;

/// How often live runs and engines are looked at.
const LIVE: Duration = Duration::from_secs(10);
/// How often all else is.
const REST: Duration = Duration::from_secs(60);
/// How often a service that does not lead looks whether it does.
const ASK: Duration = Duration::from_secs(1);
/// Runs that end within this time are looked at together.
const GATHER: Duration = Duration::from_millis(100);
/// For how long a notice is kept after it is over.
const KEEP: Duration = Duration::from_secs(90 * 86_400);

/// Looks whether something is wrong, for as long as it lives.
#[derive(Debug)]
pub struct Watcher(Background);

impl Watcher {
    /// Begins to look, whenever this service leads.
    #[must_use]
    pub fn start(
        store: Store,
        runner: Runner,
        clock: Arc<dyn Clock>,
        data_dir: PathBuf,
        logs_dir: Option<PathBuf>,
    ) -> Self {
        let (histories, engines) = (Histories::default(), Engines::default());
        let watch = Watch { histories, engines, store, runner, clock, data_dir, logs_dir };
        Self(Background::start(|stop| watch.run(stop)))
    }

    /// Stops. What was not looked at yet is left to the next service.
    pub async fn shutdown(self) {
        self.0.shutdown("watching for trouble").await;
    }
}

struct Watch {
    store: Store,
    runner: Runner,
    clock: Arc<dyn Clock>,
    data_dir: PathBuf,
    logs_dir: Option<PathBuf>,
    histories: Histories,
    engines: Engines,
}

impl Watch {
    async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.runner.hub().subscribe();
        let (mut live, mut rest) = (Instant::now(), Instant::now());
        loop {
            if self.runner.leads() {
                let now = Instant::now();
                let (look_at_live, look_at_rest) = (now >= live, now >= rest);
                match self.round(look_at_live, look_at_rest).await {
                    Ok(()) => self.runner.metrics().round_done("notices", self.clock.now()),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "it could not be looked whether something is wrong; it is tried again");
                    }
                }
                live = if look_at_live { now + LIVE } else { live };
                rest = if look_at_rest { now + REST } else { rest };
            }
            let ended = async {
                some_run_ended(&mut changes).await;
                sleep(GATHER).await;
            };
            let pause = match self.runner.leads() {
                true => live.saturating_duration_since(Instant::now()).max(GATHER),
                false => ASK,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
                () = ended => {}
            }
        }
    }

    async fn round(&mut self, live: bool, rest: bool) -> Result<(), StoreError> {
        self.look_at_ends().await?;
        if live {
            let open = self.store.open_notices().await?;
            let mut seen = Seen::default();
            self.look_at_runs(&mut seen).await?;
            self.look_at_engines(&mut seen);
            if rest {
                self.look_at_rhythms(&open, &mut seen).await?;
                self.look_at_limits(&mut seen).await?;
                self.look_at_tokens(&mut seen).await?;
                self.look_at_secrets(&mut seen).await?;
                self.look_at_disk(&mut seen);
                self.store.forget_notices(self.clock.now().minus(KEEP)).await?;
            }
            let (found, over) = seen.news(&open);
            self.store.note(found, over, self.clock.now()).await?;
        }
        Ok(())
    }
}

/// What was seen in one round.
#[derive(Debug, Default)]
struct Seen {
    found: Vec<Finding>,
    /// Kinds that were looked at whole: what was not found is over, and why.
    whole: Vec<(NoticeKind, &'static str)>,
    /// What is over by itself.
    over: Vec<Over>,
}

impl Seen {
    /// What is not known yet. What is open already is not written again and again.
    fn news(self, open: &[Notice]) -> (Vec<Finding>, Vec<Over>) {
        let is = |notice: &Notice, finding: &Finding| notice.kind == finding.kind && notice.subject == finding.subject;
        let mut over = self.over;
        for notice in open {
            if let Some((_, why)) = self.whole.iter().find(|(kind, _)| *kind == notice.kind)
                && !self.found.iter().any(|finding| is(notice, finding))
            {
                over.push(Over { kind: notice.kind, subject: notice.subject.clone(), resolution: (*why).to_owned() });
            }
        }
        let new = |finding: &Finding| !open.iter().any(|notice| is(notice, finding) && notice.run == finding.run);
        (self.found.into_iter().filter(new).collect(), over)
    }
}

/// A job, as notices name it.
struct About<'a> {
    project: ProjectId,
    job: JobId,
    name: &'a Name,
    run: Option<RunId>,
}

impl About<'_> {
    fn subject(&self) -> String {
        self.job.to_string()
    }

    /// What was judged, if it is wrong and somebody wants to know.
    fn finding(&self, judged: Judged, notify: &NotifySpec) -> Option<Finding> {
        let Judged::Trouble { kind, summary, figures } = judged else { return None };
        notify.wants(kind).then(|| Finding {
            kind,
            subject: self.subject(),
            project: Some(self.project),
            job: Some((self.job, self.name.clone())),
            run: self.run,
            summary,
            figures,
            channels: notify.channels.clone(),
        })
    }
}
