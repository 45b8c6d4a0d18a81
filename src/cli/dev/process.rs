//! One pass of the script: started, listened to, and ended when it must be.

use std::{
    io::{self, Write},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};
use tokio_util::io::ReaderStream;

use super::{inject::Injection, summary};
use crate::{
    cli::output::Output,
    domain::{AttemptEnd, Clock, ErrorCode, JobSpec, Reports, SystemClock},
    engines::{LogFrame, LogSource},
    logs::{Assembler, Line, LineRedactor, REPORT_TOO_LONG, ReportPrefix, take_report},
};

/// How long output is waited for once the script has ended: what it left behind may hold its pipes open.
const LAST_OUTPUT: Duration = Duration::from_secs(2);
/// Later than anyone waits.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// What is to be run.
#[derive(Debug)]
pub(super) struct Script {
    command: Command,
    /// Removes its container, if it is in one.
    remove: Option<Command>,
    timeout: Duration,
    grace: Duration,
}

impl Script {
    /// For a job; `remove` removes its container, if it is in one.
    pub(super) fn new(
        mut command: Command,
        given: Vec<(String, String)>,
        remove: Option<Command>,
        spec: &JobSpec,
    ) -> Self {
        command.envs(given);
        Self {
            command,
            remove,
            timeout: Duration::from_secs(u64::from(spec.timeout_seconds)),
            grace: Duration::from_secs(u64::from(spec.kill_grace_seconds)),
        }
    }
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) end: AttemptEnd,
    pub(super) reports: Reports,
    /// Somebody pressed Ctrl-C.
    pub(super) interrupted: bool,
}

/// Runs the script to its end: prints what it prints, and takes its reports.
///
/// # Errors
/// Its output cannot be printed.
pub(super) async fn run(script: Script, injection: &Injection, out: Output) -> anyhow::Result<Ended> {
    let Script { mut command, remove, timeout, grace } = script;
    // A group of its own, so that Ctrl-C reaches it through us alone, as a cancel would.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(not_started(&command, &error)),
    };
    let mut stopping = Stopping { group: child.id().and_then(group), remove, grace, killed_at: None, begun: false };
    let mut frames = frames(&mut child);
    let mut listener = Listener::new(injection, out);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (mut status, mut open, mut interrupted, mut timed_out) = (None, true, false, false);
    let mut deadline = Instant::now() + timeout;
    while status.is_none() || open {
        tokio::select! {
            frame = frames.next(), if open => match frame {
                Some(frame) => listener.take(&frame)?,
                None => open = false,
            },
            ended = child.wait(), if status.is_none() => {
                status = Some(ended?);
                deadline = Instant::now() + LAST_OUTPUT;
            }
            () = sleep_until(stopping.killed_at.unwrap_or(deadline).min(deadline)) => {
                if status.is_some() {
                    break;
                }
                if stopping.begun {
                    stopping.kill().await;
                } else {
                    timed_out = true;
                    out.note(format_args!("timeout_seconds = {}: it is told to end", timeout.as_secs()));
                    stopping.begin();
                    deadline = Instant::now() + NEVER;
                }
            }
            _ = interrupt.recv() => { interrupted = true; stopping.again(out).await; }
            _ = terminate.recv() => { interrupted = true; stopping.again(out).await; }
        }
    }
    // What it left behind ends with it, as it would in its container.
    if let Some(group) = stopping.group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let reports = listener.finish()?;
    let end = if timed_out { out_of_time(timeout) } else { exited(status) };
    Ok(Ended { end, reports, interrupted })
}

fn group(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

fn not_started(command: &Command, error: &io::Error) -> Ended {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    let message = format!("{program} cannot be started: {error}: install it, or correct `command` in haulier.yaml");
    let end = AttemptEnd::Failed { code: ErrorCode::CommandNotFound, message, exit_code: Some(code) };
    Ended { end, reports: Reports::default(), interrupted: false }
}

fn out_of_time(timeout: Duration) -> AttemptEnd {
    let message = format!("it ran longer than timeout_seconds = {}: raise it in haulier.yaml", timeout.as_secs());
    AttemptEnd::Failed { code: ErrorCode::ExitCode, message, exit_code: None }
}

fn exited(status: Option<ExitStatus>) -> AttemptEnd {
    use std::os::unix::process::ExitStatusExt;
    let code = status.and_then(|status| status.code().or_else(|| status.signal().map(|signal| 128 + signal)));
    AttemptEnd::Exited { code: code.unwrap_or(255), out_of_memory: false }
}

/// Both streams, as the engines give them.
fn frames(child: &mut Child) -> impl Stream<Item = LogFrame> + Unpin + use<> {
    let frame = |source: LogSource| {
        move |bytes: io::Result<Bytes>| async move {
            bytes.ok().map(|bytes| LogFrame { time: SystemClock.now(), source, bytes })
        }
    };
    let stdout = stream::iter(child.stdout.take()).flat_map(ReaderStream::new).filter_map(frame(LogSource::Stdout));
    let stderr = stream::iter(child.stderr.take()).flat_map(ReaderStream::new).filter_map(frame(LogSource::Stderr));
    stream::select(Box::pin(stdout), Box::pin(stderr))
}

/// Tells the script to end, and then makes it.
struct Stopping {
    group: Option<Pid>,
    remove: Option<Command>,
    grace: Duration,
    killed_at: Option<Instant>,
    begun: bool,
}

impl Stopping {
    fn begin(&mut self) {
        self.begun = true;
        self.killed_at = Some(Instant::now() + self.grace);
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::TERM);
        }
    }

    async fn kill(&mut self) {
        self.killed_at = Some(Instant::now() + NEVER);
        if let Some(remove) = &mut self.remove {
            let _ = remove.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        }
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// The first time politely; whoever asks again means it.
    async fn again(&mut self, out: Output) {
        if self.begun {
            self.kill().await;
        } else {
            let grace = self.grace.as_secs();
            out.note(format_args!("it is told to end, and has {grace} s (Ctrl-C again ends it at once)"));
            self.begin();
        }
    }
}

/// Turns output into lines on the terminal and into reports.
struct Listener<'a> {
    injection: &'a Injection,
    out: Output,
    assembler: Option<Assembler>,
    stdout: LineRedactor,
    stderr: LineRedactor,
    reports: Reports,
}

impl<'a> Listener<'a> {
    fn new(injection: &'a Injection, out: Output) -> Self {
        Self {
            injection,
            out,
            assembler: Some(Assembler::new(ReportPrefix::new(&injection.nonce))),
            stdout: LineRedactor::default(),
            stderr: LineRedactor::default(),
            reports: Reports::default(),
        }
    }

    fn take(&mut self, frame: &LogFrame) -> io::Result<()> {
        let mut lines = Vec::new();
        if let Some(assembler) = &mut self.assembler {
            assembler.push(frame, |line| lines.push(line));
        }
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    fn finish(mut self) -> io::Result<Reports> {
        let mut lines = Vec::new();
        if let Some(assembler) = self.assembler.take() {
            assembler.finish(|line| lines.push(line));
        }
        lines.into_iter().try_for_each(|line| self.line(line))?;
        Ok(self.reports)
    }

    fn line(&mut self, line: Line) -> io::Result<()> {
        let redactor = &self.injection.redactor;
        match line {
            Line::Text(piece) => {
                let to_stdout = piece.source == LogSource::Stdout;
                let line = if to_stdout { &mut self.stdout } else { &mut self.stderr };
                let mut text = line.piece(redactor, piece.text, !piece.partial);
                if !piece.partial {
                    text.push('\n');
                }
                if to_stdout && !self.out.is_json() {
                    self.out.raw(text.as_bytes())
                } else {
                    io::stderr().lock().write_all(text.as_bytes())
                }
            }
            Line::Report(json) => {
                let before = (self.reports.progress.clone(), self.reports.invalid.is_some());
                take_report(&json, redactor, &mut self.reports);
                summary::progress(self.out, &before.0, &self.reports);
                if let Some(problem) = self.reports.invalid.as_ref().filter(|_| !before.1) {
                    Output::important(format_args!("a report cannot be taken: {problem}"));
                }
                Ok(())
            }
            Line::ReportTooLong => {
                self.reports.reject(REPORT_TOO_LONG);
                Output::important(REPORT_TOO_LONG);
                Ok(())
            }
        }
    }
}
