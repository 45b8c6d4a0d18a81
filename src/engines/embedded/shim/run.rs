//! One container from its making to its end.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use libcontainer::{
    container::{Container, builder::ContainerBuilder},
    syscall::syscall::SyscallType,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, fcntl_setfl, open},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open, pidfd_send_signal, waitpid},
};

use super::{
    Blueprint, Event, Teller,
    bundle::{Bundle, Unusable},
    init::{Init, Report},
    read_blueprint,
};
use crate::{
    domain::{Clock, SystemClock},
    engines::{
        LogSource,
        embedded::{
            cgroups,
            output::Writer,
            rundir::{Ended, Failure, Order, RunDir, Status},
        },
    },
};

/// What is read from a stream at once.
const CHUNK: usize = 64 * 1024;
/// How long the command may take to be executed, once the container is made.
const EXEC: Duration = Duration::from_secs(30);

/// Why no container was begun.
pub(super) enum NotBegun {
    /// There is, or was, another shim.
    Taken,
    /// Something is wrong with the machine; nothing is left.
    Failed(String),
}

impl NotBegun {
    fn because(what: &str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Failed(format!("{what}: {error}"))
    }
}

/// Why no command runs.
enum NotStarted {
    /// The container could not be made, and may be tried again.
    NotMade(String),
    /// It was made, and that is how it ended.
    Failure(Failure),
}

impl NotStarted {
    fn not_made(error: impl fmt::Display + fmt::Debug) -> Self {
        // libcontainer's errors name their cause in their debug form alone.
        Self::NotMade(format!("the container cannot be made: {error} ({error:?})"))
    }
}

/// Makes the container, keeps it to its end, and writes down how that was.
pub(super) fn keep(dir: &RunDir, teller: &Teller) -> Result<(), NotBegun> {
    // Held until this process ends.
    let Some(_lock) = dir.lock().map_err(NotBegun::because("lock the run directory"))? else {
        return Err(NotBegun::Taken);
    };
    if dir.status().map_err(NotBegun::because("read the status"))?.is_some() {
        return Err(NotBegun::Taken);
    }
    let control = open(dir.join("control"), OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| NotBegun::Failed(format!("open the control pipe: {error}")))?;
    let blueprint = read_blueprint().map_err(NotBegun::because("read what is to be run"))?;
    if let Some(group) = &blueprint.delegated {
        let group = cgroups::below(group, &blueprint.name);
        dir.set_group(&group).map_err(NotBegun::because("remember the control group"))?;
    }
    let _lease = File::open(&blueprint.image_lease)
        .and_then(|lease| lease.lock_shared().map(|()| lease))
        .map_err(NotBegun::because("hold on to the image"))?;
    let bundle = match Bundle::mount(dir, &blueprint) {
        Err(Unusable::Machine(error)) => return Err(NotBegun::because("prepare the root file system")(error)),
        bundle => bundle,
    };
    let output = Writer::create(dir.path(), blueprint.output_bytes).map_err(NotBegun::because("keep the output"))?;

    begin(dir)?;
    let mut shim = Shim { output, deadline: deadline(&blueprint), killed: false };
    let started = match bundle {
        Err(Unusable::Image(why)) => Err(NotStarted::Failure(Failure::Rejected(why))),
        Err(Unusable::Machine(error)) => Err(NotStarted::not_made(error)),
        Ok(bundle) => start(&blueprint, &bundle),
    };
    let (ended, container) = match started {
        Err(NotStarted::NotMade(why)) => {
            // Nothing has run: it may be tried again.
            cgroups::remove(&blueprint.name);
            dir.clear_status().map_err(NotBegun::because("take the status back"))?;
            return Err(NotBegun::Failed(why));
        }
        Err(NotStarted::Failure(failure)) => (Ended { failure: Some(failure), ..Ended::default() }, None),
        Ok((container, running)) => {
            let started_at = SystemClock.now();
            // Where this cannot be written, the end cannot either, and that is found out.
            let _ = dir.set_status(&Status::Running { started_at });
            teller.tell(&Event::Started);
            (shim.watch(&blueprint, running, &control, started_at), Some(container))
        }
    };
    let status = dir.set_status(&Status::Ended(Ended { finished_at: Some(SystemClock.now()), ..ended }));
    teller.tell(&Event::Ended);
    // Told first, kept for good second: should the machine stop in between, the run counts as interrupted.
    if let Ok(file) = status {
        let _ = file.sync_data();
    }
    if let Some(mut container) = container {
        let _ = container.delete(true);
    }
    cgroups::remove(&blueprint.name);
    Ok(())
}

/// Writes down that the container is about to be made, unless it was stopped before.
fn begin(dir: &RunDir) -> Result<(), NotBegun> {
    let _deciding = dir.deciding().map_err(NotBegun::because("decide to begin"))?;
    if dir.status().map_err(NotBegun::because("read the status"))?.is_some() {
        return Err(NotBegun::Taken);
    }
    dir.set_status(&Status::Starting).map_err(NotBegun::because("write the status"))?;
    Ok(())
}

fn deadline(blueprint: &Blueprint) -> Instant {
    let far = Duration::from_secs(10 * 365 * 86_400);
    Instant::now() + Duration::from_millis(blueprint.deadline_ms).min(far)
}

/// A container whose command was executed.
struct Running {
    init: OwnedFd,
    pid: Pid,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Makes the container, and waits until its command is executed.
fn start(blueprint: &Blueprint, bundle: &Bundle) -> Result<(Container, Running), NotStarted> {
    let (stdout, container_stdout) = pipe()?;
    let (stderr, container_stderr) = pipe()?;
    let (report, container_report) = pipe()?;
    for stream in [&stdout, &stderr] {
        fcntl_setfl(stream, OFlags::NONBLOCK).map_err(NotStarted::not_made)?;
    }
    let stdin = File::open("/dev/null").map_err(NotStarted::not_made)?;
    let mut container = ContainerBuilder::new(blueprint.name.clone(), SyscallType::default())
        .with_root_path(bundle.state())
        .map_err(NotStarted::not_made)?
        .with_executor(Init::new(container_report, blueprint.limits.memory_bytes))
        .with_stdin(stdin)
        .with_stdout(container_stdout)
        .with_stderr(container_stderr)
        .as_init(bundle.path())
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(NotStarted::not_made)?;
    let pid = container.pid().and_then(|pid| Pid::from_raw(pid.as_raw()));
    let pid = pid.ok_or_else(|| NotStarted::NotMade("the container has no process".to_owned()))?;
    let init = pidfd_open(pid, PidfdFlags::empty()).map_err(NotStarted::not_made)?;
    // libcontainer makes do without a group that it may not use, and the limits would be none.
    if blueprint.delegated.is_some() && !cgroups::holds(&blueprint.name, pid) {
        let _ = pidfd_send_signal(&init, Signal::KILL);
        let text = "the container cannot be moved to its control group: start the service again".to_owned();
        return Err(NotStarted::NotMade(text));
    }
    container
        .start()
        .map_err(|error| NotStarted::Failure(Failure::Interrupted(format!("start the container: {error}"))))?;
    match wait_for_report(report) {
        Ok(Report::Executed) => {}
        failed => {
            let _ = pidfd_send_signal(&init, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
            let _ = container.delete(true);
            return Err(NotStarted::Failure(match failed {
                Ok(Report::NotFound(text)) => Failure::CommandNotFound(text),
                Ok(Report::Failed(text)) => Failure::Rejected(text),
                Ok(Report::Executed) | Err(_) => {
                    Failure::Interrupted("the container ended before its command was executed".to_owned())
                }
            }));
        }
    }
    Ok((container, Running { init, pid, stdout: Some(stdout), stderr: Some(stderr) }))
}

struct Shim {
    output: Writer,
    /// When to stop the container unasked.
    deadline: Instant,
    /// Whether the end came by our KILL.
    killed: bool,
}

impl Shim {
    /// Until the container has ended and its output is read to the end.
    fn watch(
        &mut self,
        blueprint: &Blueprint,
        mut running: Running,
        control: &OwnedFd,
        started_at: crate::domain::Timestamp,
    ) -> Ended {
        let mut kill_at = None;
        let code = loop {
            let due = kill_at.unwrap_or(self.deadline);
            let wait = due.saturating_duration_since(Instant::now());
            let ready = ready(
                &[
                    Some(running.init.as_fd()),
                    Some(control.as_fd()),
                    running.stdout.as_ref().map(AsFd::as_fd),
                    running.stderr.as_ref().map(AsFd::as_fd),
                ],
                wait,
            );
            if ready[2] {
                self.collect(&mut running.stdout, LogSource::Stdout);
            }
            if ready[3] {
                self.collect(&mut running.stderr, LogSource::Stderr);
            }
            if ready[1]
                && let Some(Order::Stop(grace)) = orders(control)
            {
                let _ = pidfd_send_signal(&running.init, Signal::TERM);
                // A second order can only hurry the end.
                let asked = Instant::now() + Duration::from_millis(grace);
                kill_at = Some(kill_at.map_or(asked, |due: Instant| due.min(asked)));
            }
            if ready[0] {
                break reap(running.pid);
            }
            if Instant::now() >= due {
                if kill_at.is_some() {
                    self.killed = true;
                    let _ = pidfd_send_signal(&running.init, Signal::KILL);
                    // Once is enough.
                    kill_at = Some(Instant::now() + Duration::from_secs(3600));
                } else {
                    let _ = pidfd_send_signal(&running.init, Signal::TERM);
                    kill_at = Some(Instant::now() + Duration::from_millis(blueprint.grace_ms));
                }
            }
        };
        // With the init every process of the container is gone, and with them the other ends.
        while running.stdout.is_some() || running.stderr.is_some() {
            let streams = [running.stdout.as_ref().map(AsFd::as_fd), running.stderr.as_ref().map(AsFd::as_fd)];
            let ready = ready(&streams, Duration::from_secs(5));
            if ready == [false, false] {
                break;
            }
            if ready[0] {
                self.collect(&mut running.stdout, LogSource::Stdout);
            }
            if ready[1] {
                self.collect(&mut running.stderr, LogSource::Stderr);
            }
        }
        let starved = code == Some(137) && !self.killed && cgroups::out_of_memory(&blueprint.name);
        Ended { code, out_of_memory: starved, failure: None, started_at: Some(started_at), finished_at: None }
    }

    /// Takes what the stream has; `None` at its end.
    fn collect(&mut self, stream: &mut Option<OwnedFd>, source: LogSource) {
        let Some(open) = stream else { return };
        let mut bytes = [0; CHUNK];
        match rustix::io::read(&*open, &mut bytes) {
            Ok(0) => *stream = None,
            Ok(length) => {
                // A full disk must not stop the script: what cannot be kept is lost, and the log says nothing of it.
                let _ = self.output.append(SystemClock.now(), source, &bytes[..length]);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => *stream = None,
        }
    }
}

/// Which of these can be read, or have ended.
fn ready<const N: usize>(of: &[Option<BorrowedFd<'_>>; N], wait: Duration) -> [bool; N] {
    let mut asked: Vec<_> = of.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let wait =
        Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: wait.subsec_nanos().into() };
    let _ = poll(&mut asked, Some(&wait));
    let mut answers = asked.iter().map(|fd| !fd.revents().is_empty());
    of.map(|fd| fd.is_some() && answers.next() == Some(true))
}

fn orders(control: &OwnedFd) -> Option<Order> {
    let mut text = [0; 4096];
    let length = rustix::io::read(control, &mut text).ok()?;
    Order::parse(&String::from_utf8_lossy(&text[..length]))
}

/// The exit code, 128 + n for signal n.
fn reap(pid: Pid) -> Option<i32> {
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            Ok(Some((_, status))) => return code(status),
            _ => return None,
        }
    }
}

fn code(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| Some(128 + status.terminating_signal()?))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), NotStarted> {
    pipe_with(PipeFlags::CLOEXEC).map_err(NotStarted::not_made)
}

/// What the container's init says of its command.
fn wait_for_report(report: OwnedFd) -> io::Result<Report> {
    if ready(&[Some(report.as_fd())], EXEC) == [false] {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut text = String::new();
    File::from(report).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
