//! Process 1 of the container: starts the command, passes signals on, reaps what is left behind.
//!
//! It is a fork of the shim that libcontainer has put into the container. It executes nothing itself, so that a script
//! that knows nothing of signals ends on TERM like any other process.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
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
    /// How much memory the container may have.
    memory_bytes: Option<i64>,
    /// Where to report; whoever executes the command takes it and closes it.
    report: Arc<Mutex<Option<OwnedFd>>>,
}

impl Init {
    pub(super) fn new(report: OwnedFd, memory_bytes: Option<i64>) -> Self {
        Self { memory_bytes, report: Arc::new(Mutex::new(Some(report))) }
    }

    fn report(&self, what: &Report) -> Result<(), ExecutorError> {
        let taken = self.report.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(pipe) = taken else { return Ok(()) };
        let text = serde_json::to_vec(what).map_err(|error| ExecutorError::Other(error.to_string()))?;
        File::from(pipe).write_all(&text).map_err(|error| ExecutorError::Other(error.to_string()))
    }

    fn start(&self, spec: &Spec) -> Result<Pid, Report> {
        // Ends with the shim: a container that nobody watches is no use.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed("prctl", &error.into()))?;
        // Where nobody lets it, all weigh what they weigh.
        let readiness = self.memory_bytes.and_then(|limit| Readiness::raise(limit.try_into().ok()?).ok());
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
        if let Some(readiness) = readiness {
            let _ = readiness.restore();
        }
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| Report::Failed("no child".to_owned()))
    }
}

/// What the init of a container weighs at the most, in bytes: it is a fork of this program, and shares most of that.
const INIT_WEIGHT: u64 = 32 << 20;

/// How ready the kernel is to take this process when memory runs out, and how ready it was before.
///
/// Of the processes in a container it takes the heaviest, which must not be the init: the script would never learn that
/// a child of it has been killed. Being taken sooner needs no privilege, unlike being taken later: so the command begins
/// as readier, and the init goes back.
struct Readiness {
    file: File,
    before: String,
}

impl Readiness {
    /// Makes this process, and those that it starts, readier by what it weighs itself.
    fn raise(limit: u64) -> io::Result<Self> {
        // Otherwise the file is root's, and this process need not be root.
        set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        let mut file = File::options().read(true).write(true).open("/proc/self/oom_score_adj")?;
        let mut before = String::new();
        file.read_to_string(&mut before)?;
        let more = (INIT_WEIGHT * 1000 / limit.max(1)).min(1000);
        let raised = before.trim().parse::<i64>().map_err(io::Error::other)? + i64::try_from(more).unwrap_or(1000);
        file.write_all(raised.min(1000).to_string().as_bytes())?;
        Ok(Self { file, before })
    }

    fn restore(mut self) -> io::Result<()> {
        self.file.write_all(self.before.as_bytes())
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
        match self.start(spec) {
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
