//! Scripts that more than one kind of engine understands.

/// One thing that a workload does.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// Writes a line to stdout.
    Print(&'a str),
    /// Writes a line to stderr.
    PrintErr(&'a str),
    /// Writes to stdout, without ending the line.
    Write(&'a str),
    /// Writes the value of this variable to stdout, as a line.
    PrintEnv(&'a str),
    /// Does nothing for so many milliseconds.
    Sleep(u32),
    /// Ends with this code. The last step.
    Exit(i32),
    /// Dies by this signal. The last step.
    Signal(i32),
    /// Takes more memory than it may. The last step.
    TakeMemory,
    /// Does nothing for ever, and ends with this code on TERM. The last step.
    AwaitTerm(i32),
    /// Does nothing for ever, and ignores TERM. The last step.
    IgnoreTerm,
    /// A command for a real shell.
    Shell(&'a str),
}

/// How long who lingers waits before its end, in seconds.
const LINGER: &str = "0.7";

/// How a script is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// For `/bin/sh`.
    Shell,
    /// The same, where only who lingers has the end of its output kept.
    LingeringShell,
    /// For the simulated engine.
    Simulated,
}

impl Dialect {
    /// The command and arguments that do these steps.
    pub(super) fn write(self, steps: &[Step<'_>]) -> (Option<Vec<String>>, Vec<String>) {
        match self {
            Self::Shell | Self::LingeringShell => {
                // Traps first: whoever has read what is printed may send the signal.
                let linger = (self == Self::LingeringShell).then(|| format!("trap 'sleep {LINGER}' EXIT"));
                let traps = linger.into_iter().chain(steps.iter().filter_map(trap));
                let script = traps.chain(steps.iter().map(shell)).collect::<Vec<_>>().join("\n");
                (Some(vec!["/bin/sh".to_owned(), "-c".to_owned()]), vec![script])
            }
            Self::Simulated => (None, steps.iter().map(simulated).collect()),
        }
    }

    /// The command that does this, with the arguments that follow it.
    pub(super) fn program(self, command: &[&str]) -> Vec<String> {
        let linger = format!("\"$@\"; sleep {LINGER}");
        let around: &[&str] = match self {
            Self::Shell | Self::Simulated => &[],
            Self::LingeringShell => &["/bin/sh", "-c", &linger, "sh"],
        };
        around.iter().chain(command).map(|part| (*part).to_owned()).collect()
    }
}

fn shell(step: &Step<'_>) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    match step {
        Step::Print(text) => format!(r"printf '%s\n' {}", quoted(text)),
        Step::PrintErr(text) => format!(r"printf '%s\n' {} >&2", quoted(text)),
        Step::Write(text) => format!("printf %s {}", quoted(text)),
        Step::PrintEnv(name) => format!(r#"printf '%s\n' "${name}""#),
        Step::Sleep(millis) => format!("sleep {}", f64::from(*millis) / 1000.0),
        Step::Exit(code) => format!("exit {code}"),
        Step::Signal(signal) => format!("kill -{signal} $$"),
        // A string that doubles until the kernel has enough of it.
        Step::TakeMemory => "x=0123456789abcdef; while :; do x=$x$x; done".to_owned(),
        Step::AwaitTerm(_) => "while :; do sleep 0.05; done".to_owned(),
        Step::IgnoreTerm => "while :; do sleep 0.2; done".to_owned(),
        Step::Shell(command) => (*command).to_owned(),
    }
}

fn trap(step: &Step<'_>) -> Option<String> {
    match step {
        Step::AwaitTerm(code) => Some(format!("trap 'exit {code}' TERM")),
        Step::IgnoreTerm => Some("trap '' TERM".to_owned()),
        _ => None,
    }
}

fn simulated(step: &Step<'_>) -> String {
    match step {
        Step::Print(text) => format!("print={text}"),
        Step::PrintErr(text) => format!("print-err={text}"),
        Step::Write(text) => format!("write={text}"),
        Step::PrintEnv(name) => format!("echo-env={name}"),
        Step::Sleep(millis) => format!("sleep={millis}ms"),
        Step::Exit(code) => format!("exit={code}"),
        Step::Signal(signal) => format!("signal={signal}"),
        Step::TakeMemory => "oom".to_owned(),
        Step::AwaitTerm(code) => format!("forever-until-term={code}"),
        Step::IgnoreTerm => "hang".to_owned(),
        Step::Shell(command) => format!("shell={command}"),
    }
}
