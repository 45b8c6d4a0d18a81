//! Process 1 of the container: starts the command, passes signals on, reaps what is left behind.
//!
//! It is a fork of the shim that libcontainer has put into the container. It executes nothing itself, so that a script
//! that knows nothing of signals ends on TERM like any other process.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    process::{Command, exit},
    sync::{Arc, Mutex, PoisonError},
};

use libcontainer::{
    oci_spec::runtime::Spec,
    workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError},
};
use nix::sys::signal::{SigSet, Signal as Caught};
use rustix::{
    io::Errno,
    process::{
        DumpableBehavior, Pid, Signal, WaitOptions, kill_process, set_dumpable_behavior,
        set_parent_process_death_signal, waitpid,
    },
};
use serde::{Deserialize, Serialize};

use super::seccomp;

/// What became of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It runs.
    Executed,
    /// It is not there, or cannot be executed.
    NotFound(String),
    /// The kernel refused something else.
    Failed(String),
}

/// The container's init.
#[derive(Debug, Clone)]
pub(super) struct Init {
    /// Where to report; whoever executes the command takes it and closes it.
    report: Arc<Mutex<Option<OwnedFd>>>,
}

impl Init {
    pub(super) fn new(report: OwnedFd) -> Self {
        Self { report: Arc::new(Mutex::new(Some(report))) }
    }

    fn report(&self, what: &Report) -> Result<(), ExecutorError> {
        let taken = self.report.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(pipe) = taken else { return Ok(()) };
        let text = serde_json::to_vec(what).map_err(|error| ExecutorError::Other(error.to_string()))?;
        File::from(pipe).write_all(&text).map_err(|error| ExecutorError::Other(error.to_string()))
    }

    fn start(spec: &Spec) -> Result<Pid, Report> {
        // Ends with the shim: a container that nobody watches is no use.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed("prctl", &error.into()))?;
        // And is no way out of the container: others cannot open what it has open.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| failed("prctl", &error.into()))?;
        let process = spec.process().as_ref();
        let args = process.and_then(|process| process.args().as_deref()).unwrap_or_default();
        let Some((program, rest)) = args.split_first() else {
            return Err(Report::NotFound("the image has no command: set one in the job".to_owned()));
        };
        let env = process.and_then(|process| process.env().as_deref()).unwrap_or_default();
        seccomp::apply().map_err(Report::Failed)?;
        let mut command = Command::new(program);
        command.args(rest).env_clear().envs(env.iter().filter_map(|pair| pair.split_once('=')));
        // The command inherits the mask. This process blocks everything but for that moment, so that signals wait for
        // `attend`: the kernel drops those that a process 1 neither blocks nor handles. The shim sends none so early.
        let all = SigSet::all();
        all.thread_unblock().map_err(|error| failed("sigprocmask", &error.into()))?;
        let child = command.spawn().map_err(|error| refused(program, &error))?;
        all.thread_block().map_err(|error| failed("sigprocmask", &error.into()))?;
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| Report::Failed("no child".to_owned()))
    }
}

fn failed(what: &str, error: &io::Error) -> Report {
    Report::Failed(format!("{what}: {error}"))
}

fn refused(program: &str, error: &io::Error) -> Report {
    let missing = [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::NOTDIR, Errno::ISDIR, Errno::LOOP, Errno::PERM];
    if missing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        Report::NotFound(format!("{program}: {error}: look at the job's command and at the image"))
    } else {
        failed(program, error)
    }
}

impl Executor for Init {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        match Self::start(spec) {
            Ok(child) => {
                self.report(&Report::Executed)?;
                exit(attend(child))
            }
            Err(report) => {
                self.report(&report)?;
                exit(127)
            }
        }
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    /// The command alone gets its environment; that of this process is empty.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

/// Until the command has ended; its exit code, 128 + n for signal n.
fn attend(child: Pid) -> i32 {
    let all = SigSet::all();
    loop {
        while let Ok(Some((pid, status))) = waitpid(None, WaitOptions::NOHANG) {
            if pid == child {
                return status.exit_status().or_else(|| Some(128 + status.terminating_signal()?)).unwrap_or(255);
            }
        }
        match all.wait() {
            Ok(Caught::SIGCHLD) | Err(_) => {}
            Ok(caught) => {
                if let Some(signal) = Signal::from_named_raw(caught as i32) {
                    let _ = kill_process(child, signal);
                }
            }
        }
    }
}
