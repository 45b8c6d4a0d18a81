//! One attempt, from its stored intent to its stored result.
//!
//! Every step can be the last one before a crash; the next service enters here again with the same attempt. The fail
//! points mark the places where tests do so.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    collector::Collector,
    conclude::{conclude, persist},
    end,
    engines::EngineEntry,
    follow::Following,
    launch::{self, PrepareError, Prepared},
    observer::Watch,
};
use crate::{
    domain::{AttemptEnd, AttemptId, AttemptPhase, ErrorCode, LogSummary, Reports, Timestamp, WaitReason},
    engines::{EngineError, Exit, Handle, LaunchProgress, Persistence, WorkloadPhase},
    store::LaunchPlan,
};

/// How long a launch that is given up may take to be cleaned away before its slot is freed all the same; the sweep has
/// the last word.
const GIVE_UP: Duration = Duration::from_secs(30);

/// What a launch came to.
enum Launch {
    /// The engine has it.
    Launched(Handle),
    /// It never ran, and never will.
    Ended(AttemptEnd),
}

/// What waiting for a start came to.
enum Start {
    /// It runs, or has run.
    Started,
    /// It never ran, and never will.
    Never(AttemptEnd),
}

/// Drives the attempt.
pub(super) async fn run(shared: &Arc<Shared>, id: AttemptId, engine: &str, stop: CancellationToken) {
    // Boxed: what a launch needs is given back before the long wait for the end begins.
    if let Some((mut following, span)) = Box::pin(begin(shared, id, engine, stop)).await {
        tracing::Instrument::instrument(following.run(), span).await;
    }
}

/// Brings the attempt to where its workload runs; `None` when there is nothing to follow, and all is stored.
async fn begin<'s>(
    shared: &'s Arc<Shared>,
    id: AttemptId,
    engine: &str,
    stop: CancellationToken,
) -> Option<(Box<Following<'s>>, tracing::Span)> {
    let plan = persist(|| shared.store.launch_plan(id)).await?;
    shared.hub.publish(plan.run.clone());
    if plan.attempt.phase == AttemptPhase::Intended {
        shared.metrics.admitted(&plan.run, &plan.attempt);
    }
    let Some(entry) = shared.engines.get(engine) else {
        let message = format!("the engine {engine} is not configured any more: move the job, or configure it again");
        let end = AttemptEnd::Failed { code: ErrorCode::EngineRejected, message, exit_code: None };
        let about = (id, plan.attempt.created_at);
        conclude(shared, about, &end, &Reports::default(), LogSummary::default()).await;
        return None;
    };
    let span = tracing::info_span!("attempt", run = %id.run, attempt = id.number, job = %plan.run.job_name, engine);
    let drive = Drive { shared, plan, entry, stop };
    let following = tracing::Instrument::instrument(drive.run(), span.clone()).await?;
    Some((following, span))
}

struct Drive<'s> {
    shared: &'s Arc<Shared>,
    plan: LaunchPlan,
    entry: &'s EngineEntry,
    stop: CancellationToken,
}

impl<'s> Drive<'s> {
    async fn run(self) -> Option<Box<Following<'s>>> {
        let attempt = &self.plan.attempt;
        let prepared = match self.prepare().await {
            Ok(prepared) => prepared,
            Err(end) => return self.ends(&end).await,
        };
        let watch = self.entry.observer.watch(attempt.id);
        let known = attempt.handle.clone().filter(|_| attempt.phase == AttemptPhase::Launched);
        let resumed = known.is_some();
        let launch = match known {
            Some(handle) => Launch::Launched(Handle { attempt: attempt.id, id: handle }),
            None => {
                let _launching = self.shared.metrics.launching();
                self.launch(&prepared).await
            }
        };
        let handle = match launch {
            Launch::Launched(handle) => Arc::new(handle),
            Launch::Ended(end) => {
                self.ends(&end).await;
                self.entry.remove(&self.by_name()).await;
                return None;
            }
        };
        fail::fail_point!("launched", |_| std::process::abort());
        watch.launched(Arc::clone(&handle), resumed || self.stop.is_cancelled());
        if !resumed
            && self.entry.capabilities().schedules
            && let Start::Never(end) = self.until_started(&handle, &watch).await
        {
            self.ends(&end).await;
            self.entry.remove(&handle).await;
            return None;
        }
        fail::fail_point!("started", |_| std::process::abort());
        self.shared.set_waits(attempt.id, None);
        let started_at = attempt.started_at.unwrap_or_else(|| self.shared.clock.now());
        if !resumed {
            self.shared.metrics.started(attempt, started_at);
        }
        Some(Box::new(Following {
            shared: self.shared,
            entry: self.entry,
            collector: Collector::start(&self.shared.logs, &self.entry.engine, &handle, attempt, &prepared.secrets),
            handle,
            watch,
            resumed,
            began_at: attempt.created_at,
            started_at,
            deadline: self.in_real_time(started_at, self.plan.run.timeout_seconds),
            timeout_seconds: self.plan.run.timeout_seconds,
            kill_grace: Duration::from_secs(u64::from(self.plan.revision.spec.kill_grace_seconds)),
            execution: attempt.execution.clone(),
            stop: self.stop,
        }))
    }

    /// It never ran.
    async fn ends(&self, end: &AttemptEnd) -> Option<Box<Following<'s>>> {
        let attempt = (self.plan.attempt.id, self.plan.attempt.created_at);
        conclude(self.shared, attempt, end, &Reports::default(), self.plan.run.log).await;
        None
    }

    async fn prepare(&self) -> Result<Prepared, AttemptEnd> {
        let mut pause = Duration::from_millis(100);
        loop {
            match launch::prepare(self.shared, &self.plan).await {
                Ok(prepared) => return Ok(prepared),
                Err(PrepareError::Never(end)) => return Err(end),
                Err(PrepareError::NotNow(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the launch waits for the database");
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    /// Asks the engine until it has the workload, cannot have it, or nobody wants it any more.
    async fn launch(&self, prepared: &Prepared) -> Launch {
        let deadline = self.start_deadline();
        let (progress, waits) = LaunchProgress::new();
        let mut pause = Duration::from_millis(100);
        if self.stop.is_cancelled() {
            return self.give_up(cancelled()).await;
        }
        fail::fail_point!("intended", |_| std::process::abort());
        loop {
            let end = tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.give_up(cancelled()).await,
                () = sleep_until(deadline) => {
                    let waited = waits.borrow().clone();
                    return self.give_up(self.too_late(waited)).await;
                }
                ensured = self.entry.engine.ensure(&prepared.spec, &progress) => match ensured {
                    Ok(handle) => return Launch::Launched(handle),
                    Err(error) if error.is_permanent() => Some(end::of_launch_error(&error)),
                    Err(error) => {
                        self.tell_waiting(&progress, &error);
                        None
                    }
                },
                () = self.pass_on(waits.clone()) => None,
            };
            if let Some(end) = end {
                return Launch::Ended(end);
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep_until(deadline) => {}
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
            }
        }
    }

    fn tell_waiting(&self, progress: &LaunchProgress, error: &EngineError) {
        tracing::info!(error = error as &dyn std::error::Error, "the launch is tried again");
        let reason = match error.persistence {
            Persistence::Unreachable => WaitReason::EngineUnreachable,
            Persistence::Temporary | Persistence::Permanent => WaitReason::Launching,
        };
        progress.waits_for(reason, error.detail.clone());
        self.shared.set_waits(self.plan.attempt.id, Some((reason, error.detail.clone())));
    }

    /// Passes on what the launch waits for, for as long as it is polled.
    async fn pass_on(&self, mut waits: watch::Receiver<Option<(WaitReason, String)>>) {
        while waits.changed().await.is_ok() {
            let now = waits.borrow_and_update().clone();
            self.shared.set_waits(self.plan.attempt.id, now);
        }
        std::future::pending::<()>().await;
    }

    /// Waits until a workload that its engine starts later has started. Until then the run is starting, its handle is
    /// not stored, and whoever comes after a crash adopts the workload by its name.
    async fn until_started(&self, handle: &Handle, watch: &Watch) -> Start {
        let deadline = self.start_deadline();
        let mut waits = None;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.never_started(handle, cancelled()).await,
                () = sleep_until(deadline) => return self.never_started(handle, self.too_late(waits)).await,
                () = watch.seen.changed() => {}
            }
            let Some(seen) = watch.seen.get() else { continue };
            match seen.phase {
                WorkloadPhase::Pending(reason, detail) => {
                    waits = Some((reason, detail));
                    self.shared.set_waits(self.plan.attempt.id, waits.clone());
                }
                WorkloadPhase::Exited(exit) if exit.started_at.is_none() => {
                    return Start::Never(end::of_exit(exit, None));
                }
                WorkloadPhase::Absent => return Start::Never(end::of_exit(Exit::default(), None)),
                WorkloadPhase::Running(_) | WorkloadPhase::Exited(_) => {
                    // Whoever follows the workload must see it too.
                    watch.seen.mark_changed();
                    return Start::Started;
                }
            }
        }
    }

    async fn never_started(&self, handle: &Handle, end: AttemptEnd) -> Start {
        let _ = tokio::time::timeout(GIVE_UP, self.entry.remove(handle)).await;
        Start::Never(end)
    }

    fn start_deadline(&self) -> Instant {
        self.in_real_time(self.plan.attempt.created_at, self.plan.revision.spec.start_timeout_seconds)
    }

    fn too_late(&self, waited_for: Option<(WaitReason, String)>) -> AttemptEnd {
        let seconds = self.plan.revision.spec.start_timeout_seconds;
        let waited = waited_for.map(|(_, detail)| format!(": {detail}")).unwrap_or_default();
        let message = format!("the container did not start within start_timeout_seconds ({seconds} s){waited}");
        AttemptEnd::Failed { code: ErrorCode::StartTimeout, message, exit_code: None }
    }

    /// Nothing of a launch that is given up may run on: its slot is about to be freed.
    async fn give_up(&self, end: AttemptEnd) -> Launch {
        let handle = self.by_name();
        let _ = tokio::time::timeout(GIVE_UP, self.entry.remove(&handle)).await;
        Launch::Ended(end)
    }

    /// A workload whose handle is not known is known by its name all the same.
    fn by_name(&self) -> Handle {
        let attempt = self.plan.attempt.id;
        Handle { attempt, id: attempt.workload_name().to_string() }
    }

    /// A stored moment plus seconds, on the clock that timers use.
    fn in_real_time(&self, from: Timestamp, seconds: u32) -> Instant {
        let end = from.plus(Duration::from_secs(u64::from(seconds)));
        Instant::now() + end.since(self.shared.clock.now())
    }
}

fn cancelled() -> AttemptEnd {
    AttemptEnd::Failed {
        code: ErrorCode::Cancelled,
        message: "stopped before its container ran".to_owned(),
        exit_code: None,
    }
}
