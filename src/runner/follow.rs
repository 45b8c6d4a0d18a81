//! A workload that runs, until its answer is stored.
//!
//! Many attempts are here at once, and most just wait: what they hold is kept small. What is soon over is boxed, so that
//! no room for it is carried all the while.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    collector::Collector,
    conclude::{conclude, persist},
    end,
    engines::EngineEntry,
    observer::Watch,
};
use crate::{
    domain::{AttemptEnd, Reports, Timestamp},
    engines::{Exit, Handle, WorkloadPhase},
};

/// How long after the end the rest of the log may take.
const DRAIN: Duration = Duration::from_secs(10);
/// How long beyond its grace an engine may take to stop a workload, before it is asked anew.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How long after a workload was asked to stop it is asked again, if it is still there.
const STOP_AGAIN: Duration = Duration::from_secs(5);

/// An attempt whose workload runs, or has run.
pub(super) struct Following<'s> {
    pub(super) shared: &'s Arc<Shared>,
    pub(super) entry: &'s EngineEntry,
    /// Shared: each live run needs it in several places.
    pub(super) handle: Arc<Handle>,
    pub(super) watch: Watch,
    pub(super) collector: Collector,
    /// Whether an earlier service has stored the start.
    pub(super) resumed: bool,
    /// When it was wanted.
    pub(super) began_at: Timestamp,
    pub(super) started_at: Timestamp,
    /// When its time is up.
    pub(super) deadline: Instant,
    pub(super) timeout_seconds: u32,
    pub(super) kill_grace: Duration,
    /// The execution that was seen first, as its engine names it.
    pub(super) execution: Option<String>,
    pub(super) stop: CancellationToken,
}

impl Following<'_> {
    /// Follows the workload to its end, and stores its answer.
    pub(super) async fn run(&mut self) {
        let (shared, id) = (self.shared, self.handle.attempt);
        let started = (!self.resumed).then_some(self.started_at);
        let told = Box::pin(tell_launched(shared, Arc::clone(&self.handle), started));
        let ((), end) = tokio::join!(told, self.until_end());
        fail::fail_point!("ended", |_| std::process::abort());
        let (reports, log) = Box::pin(self.collector.finish(DRAIN)).await;
        fail::fail_point!("collected", |_| std::process::abort());
        let ended = Box::pin(conclude(shared, (id, self.began_at), &end, &reports, log)).await;
        fail::fail_point!("concluded", |_| std::process::abort());
        // Should this machine be lost, the engine still has the output.
        Box::pin(shared.logs.until_safe(id.run, ended)).await;
        Box::pin(self.entry.remove(&self.handle)).await;
    }

    async fn until_end(&mut self) -> AttemptEnd {
        let mut timed_out = None;
        let mut stop_at: Option<Instant> = None;
        loop {
            let due = match (timed_out, stop_at) {
                (None, stop_at) => stop_at.map_or(self.deadline, |at| at.min(self.deadline)),
                (Some(_), stop_at) => stop_at.unwrap_or(self.deadline),
            };
            // One timer for all: each has its price in every live run.
            let tell_at = self.collector.tell_at();
            let wake_at = tell_at.map_or(due, |at| at.min(due));
            tokio::select! {
                () = self.watch.seen.changed() => {
                    let Some(seen) = self.watch.seen.get() else { continue };
                    if let Some(execution) = seen.execution {
                        Box::pin(self.check_execution(execution)).await;
                    }
                    match seen.phase {
                        WorkloadPhase::Running(_) => {}
                        WorkloadPhase::Pending(reason, detail) => {
                            self.shared.set_waits(self.handle.attempt, Some((reason, detail)));
                        }
                        WorkloadPhase::Exited(exit) => return end::of_exit(exit, timed_out),
                        WorkloadPhase::Absent => return end::of_exit(Exit::default(), timed_out),
                    }
                }
                () = self.stop.cancelled(), if stop_at.is_none() => stop_at = Some(Instant::now()),
                () = sleep_until(wake_at) => {
                    let now = Instant::now();
                    if tell_at.is_some_and(|at| at <= now)
                        && let Some(reports) = self.collector.take_untold()
                    {
                        Box::pin(self.tell_progress(&reports)).await;
                    }
                    if now < due {
                        continue;
                    }
                    if now >= self.deadline {
                        timed_out = Some(self.timeout_seconds);
                    }
                    if stop_at.is_none_or(|at| at <= now) {
                        Box::pin(self.ask_to_stop()).await;
                        stop_at = Some(Instant::now() + STOP_AGAIN);
                    }
                }
                () = self.collector.reported(), if tell_at.is_none() => {}
            }
        }
    }

    async fn ask_to_stop(&self) {
        let stop = self.entry.engine.stop(&self.handle, self.kill_grace);
        if let Ok(Err(error)) = timeout(self.kill_grace + STOP_PATIENCE, stop).await {
            tracing::info!(error = &error as &dyn std::error::Error, "the workload could not be stopped yet");
        }
        self.watch.look_again();
    }

    /// Two executions for one attempt: something started it behind our back. The first result counts.
    async fn check_execution(&mut self, seen: String) {
        // Only in memory: a handle already names the container; a restart of the service reads it anew.
        if let Some(known) = self.execution.replace(seen.clone())
            && known != seen
        {
            let detail = format!("the container was started again behind Haulier's back: {known}, then {seen}");
            tracing::error!("{detail}");
            let now = self.shared.clock.now();
            persist(|| self.shared.store.warn(self.handle.attempt, now, &detail)).await;
        }
    }

    async fn tell_progress(&self, reports: &Reports) {
        match self.shared.store.report_progress(self.handle.attempt, reports).await {
            Ok(Some(run)) => self.shared.hub.publish(run),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "progress could not be stored"),
        }
    }
}

/// Stores the start, unless that was done before.
async fn tell_launched(shared: &Arc<Shared>, handle: Arc<Handle>, started_at: Option<Timestamp>) {
    if let Some(started_at) = started_at
        && let Some(run) = persist(|| shared.store.launched(handle.attempt, &handle.id, started_at)).await
    {
        shared.hub.publish(run);
    }
}
