//! What every engine must do, as cases that run against any of them.
//!
//! A case takes a [`Subject`] and panics when the engine breaks the contract; it answers [`Skipped`] when the engine
//! cannot be asked for want of something around it, and [`NotApplicable`] when the engine's [`Capabilities`] say that
//! it cannot. [`engine_contract!`](crate::engine_contract) makes a test of each.
//!
//! [`Capabilities`]: super::Capabilities

mod ends;
mod faults;
mod images;
mod inputs;
mod lifecycle;
mod output;
mod script;
mod slow_registry;
mod verdict;

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep};

pub use ends::*;
pub use faults::*;
pub use images::*;
pub use inputs::*;
pub use lifecycle::*;
pub use output::*;
pub use script::{Dialect, Step};
pub use verdict::*;

use super::{
    Credentials, Engine, Exit, Handle, LaunchProgress, LaunchSpec, LogFrame, LogSource, Observation, PullPolicy,
    WorkloadPhase,
};
use crate::domain::{AttemptId, InstallationId, Resources, RunId};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// An engine to be tested, and what is needed to test it.
pub struct Subject {
    /// What it is called where a case is skipped.
    pub name: &'static str,
    /// Whose workloads the case makes: a fresh one for each case.
    pub owner: InstallationId,
    /// The engine, of that owner.
    pub engine: Arc<dyn Engine>,
    /// Another instance for the same owner, as another process would have.
    pub other: Arc<dyn Engine>,
    /// Another owner.
    pub stranger_id: InstallationId,
    /// An instance for that one.
    pub stranger: Arc<dyn Engine>,
    /// An image that can run scripts.
    pub image: String,
    /// An image that its registry does not have.
    pub missing_image: String,
    /// An image in a registry that does not answer.
    pub unreachable_image: String,
    /// An image that wants a login, and the login.
    pub private: Option<(String, Credentials)>,
    /// An image that takes long to pull.
    pub slow_image: SlowImage,
    /// How a script is written for it.
    pub dialect: Dialect,
    /// How many workloads it is given at once. 200, unless that takes it minutes.
    pub many: u8,
    /// Whether it may lose how a workload has ended that was stopped. Then it must say so.
    pub may_lose_ends: bool,
    /// What the test can do to it, or behind its back.
    pub faults: Arc<dyn Faults>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Subject {
    /// A launch of this script, with nothing special about it.
    #[must_use]
    pub fn spec(&self, steps: &[Step<'_>]) -> LaunchSpec {
        let (command, args) = self.dialect.write(steps);
        LaunchSpec {
            owner: self.owner,
            attempt: AttemptId { run: RunId::generate(), number: 1 },
            job: "contract".to_owned(),
            project: "default".to_owned(),
            image: self.image.clone(),
            pull: PullPolicy::IfMissing,
            credentials: None,
            command,
            args,
            env: Vec::new(),
            files: Vec::new(),
            resources: Resources { cpu: None, memory_mb: None, pids: None },
            kill_grace: Duration::from_secs(10),
            deadline: Duration::from_secs(3600),
        }
    }

    /// Launches.
    ///
    /// # Panics
    /// The engine refuses.
    pub async fn launch(&self, spec: &LaunchSpec) -> Handle {
        self.engine.ensure(spec, &LaunchProgress::new().0).await.expect("the launch succeeds")
    }

    /// How the workload stands.
    ///
    /// # Panics
    /// The engine does not tell.
    pub async fn observe(&self, handle: &Handle) -> Observation {
        let mut seen = self.engine.observe(std::slice::from_ref(handle)).await.expect("the engine answers");
        seen.remove(&handle.attempt).expect("an entry for each handle").expect("it can tell about this workload")
    }

    /// Waits for the workload's end.
    ///
    /// # Panics
    /// It does not end in time, or is gone.
    pub async fn end(&self, handle: &Handle) -> Exit {
        at_last("the workload has ended", || async {
            match self.observe(handle).await.phase {
                WorkloadPhase::Exited(exit) => Ok(exit),
                WorkloadPhase::Absent => panic!("the workload has ended, yet its record is gone"),
                phase => Err(phase),
            }
        })
        .await
    }

    /// Waits until the workload runs.
    ///
    /// # Panics
    /// It does not run in time, or has ended: who waits for this launches what runs until it is told to end.
    pub async fn running(&self, handle: &Handle) {
        let exit = self.started(handle).await;
        assert_eq!(exit, None, "the workload was to run until it is told to end");
    }

    /// Waits until the workload runs; its end, if a busy machine has shown nothing of it before.
    ///
    /// # Panics
    /// It does not run in time.
    pub async fn started(&self, handle: &Handle) -> Option<Exit> {
        at_last("the workload runs", || async {
            match self.observe(handle).await.phase {
                WorkloadPhase::Running(_) => Ok(None),
                WorkloadPhase::Exited(exit) => Ok(Some(exit)),
                phase => Err(phase),
            }
        })
        .await
    }

    /// Waits until the workload writes something; what that is. Then it also hears signals, for its traps are set first.
    ///
    /// # Panics
    /// It writes nothing in time.
    pub async fn begun(&self, handle: &Handle) -> LogFrame {
        let mut frames = self.engine.logs(handle);
        let first = tokio::time::timeout(PATIENCE, frames.next()).await.expect("the workload writes");
        first.expect("the workload has written").expect("the output can be read")
    }

    /// Launches and waits for the end.
    pub async fn run(&self, spec: &LaunchSpec) -> (Handle, Exit) {
        let handle = self.launch(spec).await;
        let exit = self.end(&handle).await;
        (handle, exit)
    }

    /// The workload's whole output.
    ///
    /// # Panics
    /// It cannot be read, or does not end.
    pub async fn frames(&self, handle: &Handle) -> Vec<LogFrame> {
        let frames = self.engine.logs(handle).map(|frame| frame.expect("the output can be read")).collect();
        tokio::time::timeout(PATIENCE, frames).await.expect("the output ends")
    }

    /// What the workload wrote to this stream.
    pub async fn output(&self, handle: &Handle, source: LogSource) -> Vec<u8> {
        let frames = self.frames(handle).await;
        frames.into_iter().filter(|frame| frame.source == source).flat_map(|frame| frame.bytes).collect()
    }

    /// Runs a script that must succeed; what it wrote to stdout.
    ///
    /// # Panics
    /// It does not succeed.
    pub async fn stdout(&self, spec: &LaunchSpec) -> String {
        let (handle, exit) = self.run(spec).await;
        let output = self.output(&handle, LogSource::Stdout).await;
        let output = String::from_utf8(output).expect("the output is text");
        if exit.code != Some(0) {
            let errors = self.output(&handle, LogSource::Stderr).await;
            panic!("the script ended with {exit:?}\n{output}{}", String::from_utf8_lossy(&errors));
        }
        output
    }

    /// # Errors
    /// The engine does not run shells.
    pub fn needs_shell(&self) -> Verdict {
        if self.dialect == Dialect::Simulated { Err(NotApplicable("it runs no real commands")) } else { Ok(()) }
    }

    /// # Errors
    /// The engine says that it cannot do what the case is about.
    pub fn needs(&self, can: bool, capability: &'static str) -> Verdict {
        if can { Ok(()) } else { Err(NotApplicable(capability)) }
    }

    async fn clean_up(&self) {
        for engine in [&self.engine, &self.stranger] {
            for found in engine.list().await.unwrap_or_default() {
                let _ = engine.remove(&found.handle).await;
            }
        }
    }
}

/// Waits until `look` finds something.
///
/// # Panics
/// It does not, in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    at_last(what, || look().map(|found| found.ok_or("not found"))).await
}

/// The same, where a look that is too early is worth telling.
///
/// # Panics
/// It does not, in time: with what the last look has seen instead.
async fn at_last<T, E, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    E: fmt::Debug,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < deadline, "waited in vain: {what}; seen at last: {instead:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Runs one case of the contract, keeps what it came to, and removes what it made.
pub async fn run_contract_case<F>(
    engine: &str,
    case: &str,
    subject: Result<Subject, String>,
    body: impl FnOnce(Arc<Subject>) -> F,
) where
    F: Future<Output = Verdict>,
{
    match subject {
        Err(why) => {
            record_missing(engine, case, &why);
            skipped(&format!("{case} ({engine})"), &why);
        }
        Ok(subject) => {
            let outcome = run(Arc::new(subject), body).await;
            record(engine, case, outcome.as_ref().ok().copied());
            tell(&format!("{case} ({engine})"), outcome);
        }
    }
}

/// Runs one case that only this kind of engine has, and removes what it made.
pub async fn run_case<F>(case: &str, subject: Result<Subject, String>, body: impl FnOnce(Arc<Subject>) -> F)
where
    F: Future<Output = Verdict>,
{
    match subject {
        Err(why) => skipped(case, &why),
        Ok(subject) => {
            let what = format!("{case} ({})", subject.name);
            tell(&what, run(Arc::new(subject), body).await);
        }
    }
}

async fn run<F>(subject: Arc<Subject>, body: impl FnOnce(Arc<Subject>) -> F) -> std::thread::Result<Verdict>
where
    F: Future<Output = Verdict>,
{
    let outcome = AssertUnwindSafe(body(subject.clone())).catch_unwind().await;
    subject.faults.restore().await;
    subject.clean_up().await;
    outcome
}

fn tell(what: &str, outcome: std::thread::Result<Verdict>) {
    match outcome {
        // What does not apply is no gap in what was tested.
        Ok(Ok(()) | Err(NotApplicable(_))) => {}
        Ok(Err(Skipped(why))) => skipped(what, why),
        Err(panic) => resume_unwind(panic),
    }
}

/// Every case is run by the process that was asked.
#[must_use]
pub fn nowhere_else(_case: &str) -> bool {
    false
}

/// Makes a module of tests, one for each case of the contract, for the engine that `$subject` makes
/// (`async fn() -> Result<Subject, String>`, the error being why there is none).
///
/// `$elsewhere` (`fn(&str) -> bool`, seen from within that module) is asked first, with the test's name: whether it has
/// had the case run by another process.
#[macro_export]
macro_rules! engine_contract {
    ($module:ident, $subject:ident) => {
        $crate::engine_contract!($module, $subject, $crate::engines::contract::nowhere_else);
    };
    ($module:ident, $subject:ident, $elsewhere:path) => {
        $crate::engine_contract! { @cases $module, $subject, $elsewhere:
            success, exit_code, killed_by_signal, out_of_memory, out_of_memory_of_a_child, command_not_found,
            command_not_executable, own_code_127,
            image_not_found, image_wants_login, image_with_login, registry_unreachable, image_invalid,
            slow_pull_is_told, removed_while_pulling, no_room_is_told,
            streams_apart, no_output, output_without_newline, long_lines, big_output, binary_output,
            output_is_followed,
            output_again_from_the_first, output_again_while_it_runs, output_of_a_missing_workload,
            environment_is_exact, arguments_are_exact, image_entry_point_and_arguments, files_and_secrets, files_for_another_user,
            limits_apply, init_reaps_and_forwards,
            ensure_twice_at_once, ensure_again_after_the_end, adopted_by_another_instance, taken_name,
            stop_with_term, stop_with_kill, stop_missing, stop_ended, remove_running, remove_twice, list_is_ours,
            changes_wake, observe_missing, observe_many, many_at_once, dropped_launch,
            removed_behind_its_back, second_execution_is_seen, engine_gone_and_back
        }
    };
    (@cases $module:ident, $subject:ident, $elsewhere:path: $($case:ident),*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if $elsewhere(concat!(stringify!($module), "::", stringify!($case))) {
                        return;
                    }
                    let subject = super::$subject().await;
                    let (engine, case) = (stringify!($subject), stringify!($case));
                    $crate::engines::contract::run_contract_case(engine, case, subject, |subject| async move {
                        $crate::engines::contract::$case(&subject).await
                    })
                    .await;
                }
            )*
        }
    };
}
