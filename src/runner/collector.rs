//! Keeps one attempt's output: follows it, follows it again when the engine breaks off, and knows when it is whole.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use secrecy::SecretString;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{Attempt, LogSummary, Reports},
    engines::{Engine, Handle},
    latest::Latest,
    logs::{Collect, CollectEnd, LogStore, Redactor, RunLogWriter, Told, collect},
};

/// Pause before output that broke off is read again.
const PAUSE: Duration = Duration::from_millis(300);
/// How often the output is asked for again after the workload's end.
const TRIES_AFTER_END: u32 = 3;
/// How often what a script reports is told while it runs.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Collects the output of one attempt in the background.
#[derive(Debug)]
pub(super) struct Collector {
    reports: Arc<Latest<Told>>,
    /// The workload has ended: what comes now is the rest.
    ended: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<LogSummary>,
    /// What was told last.
    told: Told,
    untold: bool,
    tell_at: Instant,
}

struct Task {
    logs: LogStore,
    engine: Arc<dyn Engine>,
    handle: Handle,
    nonce: String,
    redactor: Arc<Redactor>,
    reports: Arc<Latest<Told>>,
    ended: CancellationToken,
    stop: CancellationToken,
}

impl Collector {
    pub(super) fn start(
        logs: &LogStore,
        engine: &Arc<dyn Engine>,
        handle: &Handle,
        attempt: &Attempt,
        secrets: &[SecretString],
    ) -> Self {
        let reports = Arc::<Latest<_>>::default();
        let (ended, stop) = (CancellationToken::new(), CancellationToken::new());
        let task = Task {
            logs: logs.clone(),
            engine: Arc::clone(engine),
            handle: handle.clone(),
            nonce: attempt.nonce.clone(),
            redactor: Arc::new(Redactor::new(secrets.iter())),
            reports: Arc::clone(&reports),
            ended: ended.clone(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(task.run());
        Self { reports, ended, stop, task, told: None, untold: false, tell_at: Instant::now() }
    }

    /// Waits until there is progress or a metric to tell, at most one a second.
    pub(super) async fn reported(&mut self) -> Arc<Reports> {
        loop {
            if !self.untold {
                self.reports.changed().await;
                // Kept apart from the wait below: this future may be dropped in between.
                self.untold = true;
            }
            sleep_until(self.tell_at).await;
            self.untold = false;
            let Some(reports) = self.reports.get() else { continue };
            let told = self.told.as_deref().map(|told| (&told.metrics, told.progress.as_ref()));
            if told.unwrap_or((&BTreeMap::new(), None)) != (&reports.metrics, reports.progress.as_ref()) {
                self.tell_at = Instant::now() + TELL_EVERY;
                self.told = Some(Arc::clone(&reports));
                return reports;
            }
        }
    }

    /// The workload has ended: takes the rest of its output, for as long as `drain` at the most.
    pub(super) async fn finish(&mut self, drain: Duration) -> (Arc<Reports>, LogSummary) {
        self.ended.cancel();
        let log = match timeout(drain, &mut self.task).await {
            Ok(log) => log,
            Err(_) => {
                self.stop.cancel();
                (&mut self.task).await.map(|log| LogSummary { complete: false, ..log })
            }
        };
        let log = log.unwrap_or_default();
        (self.reports.get().unwrap_or_default(), log)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Task {
    async fn run(self) -> LogSummary {
        let Some(writer) = self.writer().await else { return LogSummary::default() };
        let complete = self.follow(&writer).await;
        let stats = writer.stats();
        LogSummary { bytes: stats.bytes, complete, truncated: stats.truncated }
    }

    /// The run's log. Without it nothing is read, lest reports are taken whose log is lost.
    async fn writer(&self) -> Option<RunLogWriter> {
        let mut pause = Duration::from_millis(200);
        loop {
            match self.logs.writer(self.handle.attempt.run).await {
                Ok(writer) => return Some(writer),
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the log cannot be opened"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
            }
        }
    }

    /// Whether all of it was read.
    async fn follow(&self, writer: &RunLogWriter) -> bool {
        let mut tries_after_end = 0;
        loop {
            let was_ended = self.ended.is_cancelled();
            tries_after_end += u32::from(was_ended);
            let with = Collect {
                attempt: self.handle.attempt,
                nonce: self.nonce.clone(),
                redactor: Arc::clone(&self.redactor),
                writer: writer.clone(),
                reports: Arc::clone(&self.reports),
                ended: self.ended.clone(),
                stop: self.stop.clone(),
            };
            let collected = collect(self.engine.logs(&self.handle), with).await;
            let written = collected.unwritten.is_none();
            match collected.end {
                CollectEnd::Stopped => return false,
                CollectEnd::Complete if written => return true,
                CollectEnd::Complete | CollectEnd::TooEarly => {}
                CollectEnd::Broken(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the output broke off; it is read again");
                }
            }
            if tries_after_end >= TRIES_AFTER_END {
                return false;
            }
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = sleep(PAUSE) => {}
            }
        }
    }
}
