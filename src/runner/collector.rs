//! Keeps one attempt's output: follows it, follows it again when the engine breaks off, and knows when it is whole.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use secrecy::SecretString;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    domain::{Attempt, AttemptPhase, LogSummary, Reports},
    engines::{Engine, EngineErrorKind, Handle},
    logs::{Collect, CollectEnd, Collecting, LogStore, Redactor, RunLogWriter, Stage, Told, collect},
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
    shared: Arc<Collecting>,
    task: JoinHandle<LogSummary>,
    /// What was told last.
    told: Told,
    tell_at: Instant,
    /// Whether there is something to tell at [`Collector::tell_at`].
    untold: bool,
}

struct Task {
    logs: LogStore,
    engine: Arc<dyn Engine>,
    handle: Arc<Handle>,
    with: Collect,
    /// Whether nothing of the run's output was read before.
    new: bool,
}

impl Collector {
    pub(super) fn start(
        logs: &LogStore,
        engine: &Arc<dyn Engine>,
        handle: &Arc<Handle>,
        attempt: &Attempt,
        secrets: &[SecretString],
    ) -> Self {
        let shared = Arc::<Collecting>::default();
        let with = Collect {
            attempt: attempt.id,
            nonce: attempt.nonce.clone(),
            redactor: Redactor::new(secrets.iter()),
            shared: Arc::clone(&shared),
        };
        // Should a service before this one have read some all the same, the store tells it later.
        let new = attempt.id.number == 1 && attempt.phase == AttemptPhase::Intended;
        let task = Task { logs: logs.clone(), engine: Arc::clone(engine), handle: Arc::clone(handle), with, new };
        let task = tokio::spawn(Box::new(task).run());
        Self { shared, task, told: None, tell_at: Instant::now(), untold: false }
    }

    /// When there is something to tell: at most once a second.
    pub(super) fn tell_at(&self) -> Option<Instant> {
        self.untold.then_some(self.tell_at)
    }

    /// Waits until something is reported, after which there may be something to tell.
    pub(super) async fn reported(&mut self) {
        self.shared.reports.changed().await;
        self.untold = true;
    }

    /// New progress or metrics.
    pub(super) fn take_untold(&mut self) -> Option<Arc<Reports>> {
        self.untold = false;
        let reports = self.shared.reports.get()?;
        let told = self.told.as_deref().map(|told| (&told.metrics, told.progress.as_ref()));
        if told.unwrap_or((&BTreeMap::new(), None)) == (&reports.metrics, reports.progress.as_ref()) {
            return None;
        }
        self.tell_at = Instant::now() + TELL_EVERY;
        self.told = Some(Arc::clone(&reports));
        Some(reports)
    }

    /// The workload has ended: takes the rest of its output, for as long as `drain` at the most.
    pub(super) async fn finish(&mut self, drain: Duration) -> (Arc<Reports>, LogSummary) {
        self.shared.stage.set(Stage::Ended);
        let log = match timeout(drain, &mut self.task).await {
            Ok(log) => log,
            Err(_) => {
                self.shared.stage.set(Stage::Stopped);
                (&mut self.task).await.map(|log| LogSummary { complete: false, ..log })
            }
        };
        let log = log.unwrap_or_default();
        (self.shared.reports.get().unwrap_or_default(), log)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.stage.set(Stage::Stopped);
    }
}

impl Task {
    async fn run(self: Box<Self>) -> LogSummary {
        let Some(writer) = Box::pin(self.writer()).await else { return LogSummary::default() };
        let complete = self.follow(&writer).await;
        let stats = writer.stats();
        LogSummary { bytes: stats.bytes, complete, truncated: stats.truncated }
    }

    /// The run's log. Without it nothing is read, lest reports are taken whose log is lost.
    async fn writer(&self) -> Option<RunLogWriter> {
        let mut pause = Duration::from_millis(200);
        loop {
            let opened = match self.new {
                true => self.logs.new_writer(self.handle.attempt.run).await,
                false => self.logs.writer(self.handle.attempt.run).await,
            };
            match opened {
                Ok(writer) => return Some(writer),
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the log cannot be opened"),
            }
            if timeout(pause, self.with.shared.reached(Stage::Stopped)).await.is_ok() {
                return None;
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Whether all of it was read.
    async fn follow(&self, writer: &RunLogWriter) -> bool {
        let mut tries_after_end = 0;
        // Some of it is gone for good.
        let mut lost = false;
        loop {
            let was_ended = self.with.shared.stage.get() >= Stage::Ended;
            tries_after_end += u32::from(was_ended);
            let collected = collect(self.engine.logs(&self.handle), &self.with, writer).await;
            let written = collected.unwritten.is_none();
            match collected.end {
                CollectEnd::Stopped => return false,
                CollectEnd::Complete if written => return !lost,
                CollectEnd::Complete | CollectEnd::TooEarly => {}
                CollectEnd::Broken(error) => {
                    lost |= error.kind == EngineErrorKind::OutputLost;
                    tracing::debug!(error = &error as &dyn std::error::Error, "the output broke off; it is read again");
                }
            }
            if tries_after_end >= TRIES_AFTER_END {
                return false;
            }
            if Box::pin(timeout(PAUSE, self.with.shared.reached(Stage::Stopped))).await.is_ok() {
                return false;
            }
        }
    }
}
