//! One attempt, from its stored intent to its stored result.
//!
//! Every step can be the last one before a crash; the next service enters here again with the same attempt. The fail
//! points mark the places where tests do so.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    collector::Collector,
    end,
    engines::EngineEntry,
    launch::{self, PrepareError, Prepared},
    observer::Watch,
};
use crate::{
    domain::{
        Attempt, AttemptEnd, AttemptId, AttemptPhase, AttemptResult, ErrorCode, LogSummary, Reports, Run, Timestamp,
        WaitReason,
    },
    engines::{EngineError, Exit, Handle, LaunchProgress, Persistence, WorkloadPhase},
    store::{LaunchPlan, StoreError},
};

/// How long after the end the rest of the log may take.
const DRAIN: Duration = Duration::from_secs(10);
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
    let Some(plan) = persist(|| shared.store.launch_plan(id)).await.map(Box::new) else { return };
    shared.hub.publish(plan.run.clone());
    let Some(entry) = shared.engines.get(engine) else {
        let message = format!("the engine {engine} is not configured any more: move the job, or configure it again");
        let end = AttemptEnd::Failed { code: ErrorCode::EngineRejected, message, exit_code: None };
        Box::pin(conclude(shared, &plan, &end, &Reports::default(), LogSummary::default())).await;
        return;
    };
    let span = tracing::info_span!("attempt", run = %id.run, attempt = id.number, job = %plan.run.job_name, engine);
    tracing::Instrument::instrument(Drive { shared, plan, entry, stop }.run(), span).await;
}

struct Drive<'a> {
    shared: &'a Arc<Shared>,
    plan: Box<LaunchPlan>,
    entry: &'a EngineEntry,
    stop: CancellationToken,
}

impl Drive<'_> {
    async fn run(self) {
        let attempt = &self.plan.attempt;
        let prepared = match Box::pin(self.prepare()).await {
            Ok(prepared) => prepared,
            Err(end) => {
                Box::pin(conclude(self.shared, &self.plan, &end, &Reports::default(), self.plan.run.log)).await;
                return;
            }
        };
        let mut watch = self.entry.observer.watch(attempt.id);
        let known = attempt.handle.clone().filter(|_| attempt.phase == AttemptPhase::Launched);
        let resumed = known.is_some();
        let launch = match known {
            Some(handle) => Launch::Launched(Handle { attempt: attempt.id, id: handle }),
            None => Box::pin(self.launch(&prepared)).await,
        };
        let handle = match launch {
            Launch::Launched(handle) => handle,
            Launch::Ended(end) => {
                Box::pin(conclude(self.shared, &self.plan, &end, &Reports::default(), self.plan.run.log)).await;
                Box::pin(self.remove(&self.by_name())).await;
                return;
            }
        };
        fail::fail_point!("launched", |_| std::process::abort());
        watch.launched(handle.clone(), resumed || self.stop.is_cancelled());
        if !resumed
            && self.entry.capabilities().schedules
            && let Start::Never(end) = Box::pin(self.until_started(&handle, &mut watch)).await
        {
            Box::pin(conclude(self.shared, &self.plan, &end, &Reports::default(), self.plan.run.log)).await;
            self.remove(&handle).await;
            return;
        }
        fail::fail_point!("started", |_| std::process::abort());
        self.shared.set_waits(attempt.id, None);
        let secrets = prepared.secrets;
        self.follow(secrets, handle, watch, resumed).await;
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
    async fn until_started(&self, handle: &Handle, watch: &mut Watch) -> Start {
        let deadline = self.start_deadline();
        let mut waits = None;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.never_started(handle, cancelled()).await,
                () = sleep_until(deadline) => return self.never_started(handle, self.too_late(waits)).await,
                changed = watch.seen.changed() => {
                    if changed.is_err() {
                        sleep(Duration::from_secs(1)).await;
                    }
                }
            }
            let Some(seen) = watch.seen.borrow_and_update().clone() else { continue };
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
        let _ = tokio::time::timeout(GIVE_UP, self.remove(handle)).await;
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
        let _ = tokio::time::timeout(GIVE_UP, self.remove(&handle)).await;
        Launch::Ended(end)
    }

    /// A workload whose handle is not known is known by its name all the same.
    fn by_name(&self) -> Handle {
        let attempt = self.plan.attempt.id;
        Handle { attempt, id: attempt.workload_name().to_string() }
    }

    async fn remove(&self, handle: &Handle) {
        let mut pause = Duration::from_millis(200);
        for _ in 0..8 {
            match self.entry.engine.remove(handle).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the workload could not be removed yet");
                    sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        tracing::warn!(workload = %handle.attempt.workload_name(), "the workload is left to the sweep");
    }

    /// Follows the workload to its end, and stores its answer.
    async fn follow(self, secrets: Vec<SecretString>, handle: Handle, mut watch: Watch, resumed: bool) {
        let (shared, attempt) = (self.shared, &self.plan.attempt);
        let mut collector = Collector::start(&shared.logs, &self.entry.engine, &handle, attempt, &secrets);
        let started_at = attempt.started_at.unwrap_or_else(|| shared.clock.now());
        let told_launched = async {
            if !resumed && let Some(run) = persist(|| shared.store.launched(attempt.id, &handle.id, started_at)).await {
                shared.hub.publish(run);
            }
        };
        let ((), end) = tokio::join!(told_launched, self.until_end(&handle, &mut watch, &mut collector, started_at));
        drop(watch);
        fail::fail_point!("ended", |_| std::process::abort());
        let (reports, log) = Box::pin(collector.finish(DRAIN)).await;
        fail::fail_point!("collected", |_| std::process::abort());
        Box::pin(conclude(shared, &self.plan, &end, &reports, log)).await;
        fail::fail_point!("concluded", |_| std::process::abort());
        Box::pin(self.remove(&handle)).await;
    }

    async fn until_end(
        &self,
        handle: &Handle,
        watch: &mut Watch,
        collector: &mut Collector,
        started_at: Timestamp,
    ) -> AttemptEnd {
        let deadline = self.in_real_time(started_at, self.plan.run.timeout_seconds);
        let mut timed_out = None;
        let mut stopping: Option<Instant> = None;
        let mut execution: Option<String> = self.plan.attempt.execution.clone();
        loop {
            let next_stop = stopping.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
            tokio::select! {
                changed = watch.seen.changed() => {
                    if changed.is_err() {
                        sleep(Duration::from_secs(1)).await;
                    }
                    let Some(seen) = watch.seen.borrow_and_update().clone() else { continue };
                    Box::pin(self.check_execution(&mut execution, seen.execution)).await;
                    match seen.phase {
                        WorkloadPhase::Running(_) => {}
                        WorkloadPhase::Pending(reason, detail) => {
                            self.shared.set_waits(self.plan.attempt.id, Some((reason, detail)));
                        }
                        WorkloadPhase::Exited(exit) => return end::of_exit(exit, timed_out),
                        WorkloadPhase::Absent => {
                            return end::of_exit(Exit::default(), timed_out);
                        }
                    }
                }
                () = self.stop.cancelled(), if stopping.is_none() => stopping = Some(Instant::now()),
                () = sleep_until(deadline), if timed_out.is_none() => {
                    timed_out = Some(self.plan.run.timeout_seconds);
                    stopping.get_or_insert_with(Instant::now);
                }
                () = sleep_until(next_stop), if stopping.is_some() => {
                    let grace = Duration::from_secs(u64::from(self.plan.revision.spec.kill_grace_seconds));
                    let asked = tokio::time::timeout(grace + Duration::from_secs(30), self.stop_it(handle, grace));
                    let _ = asked.await;
                    watch.look_again();
                    stopping = Some(Instant::now() + Duration::from_secs(5));
                }
                reports = collector.reported() => Box::pin(self.tell_progress(&reports)).await,
            }
        }
    }

    async fn stop_it(&self, handle: &Handle, grace: Duration) {
        if let Err(error) = self.entry.engine.stop(handle, grace).await {
            tracing::info!(error = &error as &dyn std::error::Error, "the workload could not be stopped yet");
        }
    }

    /// Two executions for one attempt: something started it behind our back. The first result counts.
    async fn check_execution(&self, known: &mut Option<String>, seen: Option<String>) {
        let Some(seen) = seen else { return };
        match known {
            None => {
                // Only in memory: a handle already names the container; a restart of the service reads it anew.
                *known = Some(seen);
            }
            Some(known) if *known != seen => {
                let detail = format!("the container was started again behind Haulier's back: {known}, then {seen}");
                tracing::error!("{detail}");
                let (id, now) = (self.plan.attempt.id, self.shared.clock.now());
                persist(|| self.shared.store.warn(id, now, &detail)).await;
                *known = seen;
            }
            Some(_) => {}
        }
    }

    async fn tell_progress(&self, reports: &Reports) {
        match self.shared.store.report_progress(self.plan.attempt.id, reports).await {
            Ok(Some(run)) => self.shared.hub.publish(run),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "progress could not be stored"),
        }
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

/// Judges the end, stores what follows, tells the world.
async fn conclude(shared: &Arc<Shared>, plan: &LaunchPlan, end: &AttemptEnd, reports: &Reports, log: LogSummary) {
    let id = plan.attempt.id;
    let result = AttemptResult::judge(end, reports);
    let now = shared.clock.now();
    let concluded = persist(|| shared.store.conclude(id, result.clone(), reports.clone(), log, now)).await;
    let Some(concluded) = concluded else { return };
    shared.launch(concluded.admitted);
    tell_end(&plan.attempt, &concluded.run, &result);
    let (run, finished) = (concluded.run, log);
    let terminal = run.life.phase.is_terminal();
    let id = run.id;
    shared.hub.publish(run);
    if terminal {
        let logs = shared.logs.clone();
        shared.tasks.spawn(async move {
            if let Err(error) = logs.finish(id).await {
                tracing::error!(run = %id, bytes = finished.bytes, error = &error as &dyn std::error::Error, "the log could not be put away; it stays readable");
            }
        });
    }
}

fn tell_end(attempt: &Attempt, run: &Run, result: &AttemptResult) {
    let state = run.life.state().as_str();
    match &result.verdict {
        Ok(_) => tracing::info!(state, slice = attempt.slice, "the attempt ended well"),
        Err(error) => {
            tracing::info!(state, code = error.code.as_str(), exit_code = result.exit_code, "{}", error.message);
        }
    }
}

/// Does a piece of database work until it succeeds: what happened must be stored, however long the database is away.
async fn persist<T, F>(work: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = Duration::from_millis(100);
    loop {
        // Boxed, as all that is soon over: an attempt that just runs is to take little memory.
        match Box::pin(work()).await {
            Ok(value) => return value,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the database failed; it is tried again");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
        }
    }
}
