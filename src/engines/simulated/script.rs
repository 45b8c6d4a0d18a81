//! What a simulated workload does, read from its arguments.

use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;

use crate::engines::{Exit, LaunchSpec, LogSource};

/// What the arguments came to: everything that happens, and when, counted from the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// The output.
    pub(super) output: Vec<(Duration, LogSource, Bytes)>,
    /// When it ends by itself; `None` never.
    pub(super) ends_after: Option<Duration>,
    /// How it ends by itself.
    pub(super) exit: Exit,
    /// The exit code after TERM; `None` when it ignores TERM.
    pub(super) on_term: Option<i32>,
    /// Where it waits for the test, if it does.
    pub(super) gate: Option<Gate>,
}

/// Where a script waits until the test opens the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate {
    /// How much of the output comes before it.
    pub(super) output: usize,
    /// When it is reached.
    at: Duration,
}

impl Script {
    /// Reads the launch's command and arguments; words that mean nothing are an error, as a shell would have it.
    pub(super) fn read(spec: &LaunchSpec) -> Result<Self, String> {
        let mut script = Self { on_term: Some(143), ..Self::default() };
        let mut now = Duration::ZERO;
        let mut code = 0;
        let mut forever = false;
        let mut gate = None;
        let env = |name: &str| {
            let found = spec.env.iter().rev().find(|variable| variable.name == name);
            found.map(|variable| variable.value.expose_secret().to_owned()).unwrap_or_default()
        };
        for word in spec.command.iter().flatten().chain(&spec.args) {
            let (verb, value) = word.split_once('=').unwrap_or((word, ""));
            let mut print = |source, line: String| script.output.push((now, source, Bytes::from(line)));
            match verb {
                "print" => print(LogSource::Stdout, format!("{value}\n")),
                "print-err" => print(LogSource::Stderr, format!("{value}\n")),
                "write" => print(LogSource::Stdout, value.to_owned()),
                "echo-env" => print(LogSource::Stdout, format!("{}\n", env(value))),
                "report" => print(LogSource::Stdout, format!("::haulier:{}:{value}\n", env("HAULIER_REPORT"))),
                "sleep" => now += duration(value).ok_or_else(|| format!("`{word}`: write sleep=200ms or sleep=2s"))?,
                "gate" => gate = Some(Gate { output: script.output.len(), at: now }),
                "exit" => code = number(word, value)?,
                "signal" => code = 128 + number(word, value)?,
                "on-term" => script.on_term = Some(number(word, value)?),
                "oom" => {
                    code = 137;
                    script.exit.out_of_memory = true;
                }
                "forever-until-term" => {
                    forever = true;
                    script.on_term = Some(number(word, value)?);
                }
                "forever" => forever = true,
                "hang" => {
                    forever = true;
                    script.on_term = None;
                }
                _ => return Err(format!("`{word}` is not a word that a simulated workload knows")),
            }
        }
        script.ends_after = (!forever).then_some(now);
        script.exit.code = Some(code);
        script.gate = gate;
        Ok(script)
    }

    /// The gate is opened when the script is so old: what comes behind it is put off by as long as it has waited.
    pub(super) fn open(&mut self, age: Duration) {
        let Some(gate) = self.gate.take() else { return };
        let waited = age.saturating_sub(gate.at);
        for (after, ..) in &mut self.output[gate.output..] {
            *after += waited;
        }
        self.ends_after = self.ends_after.map(|after| after + waited);
    }
}

fn number(word: &str, value: &str) -> Result<i32, String> {
    value.parse().map_err(|_| format!("`{word}`: a number belongs behind the `=`"))
}

/// Reads `200ms` or `2s`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}
