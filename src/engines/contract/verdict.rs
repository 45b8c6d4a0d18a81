//! What a case came to, told where people and scripts look.

use std::{env, fs::OpenOptions, io, io::Write};

use serde::Serialize;

/// Why a case was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAsked {
    /// The environment lacks something: nothing is known.
    Skipped(&'static str),
    /// The engine says that it cannot: this capability, or this kind of engine, makes the question meaningless.
    NotApplicable(&'static str),
}

pub use NotAsked::{NotApplicable, Skipped};

/// What a case comes to.
pub type Verdict = Result<(), NotAsked>;

/// One line of the file that `HAULIER_TEST_CONTRACT` names.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    engine: &'a str,
    case: &'a str,
    outcome: &'static str,
    reason: &'a str,
}

/// Keeps what a case of the contract came to. `None`: it failed.
pub(super) fn record(engine: &str, case: &str, verdict: Option<Verdict>) {
    let (outcome, reason) = match verdict {
        None => ("failed", ""),
        Some(Ok(())) => ("passed", ""),
        Some(Err(Skipped(why))) => ("skipped", why),
        Some(Err(NotApplicable(capability))) => ("not applicable", capability),
    };
    record_line(&Outcome { engine, case, outcome, reason });
}

/// Keeps that a case could not be asked, for want of the engine.
pub(super) fn record_missing(engine: &str, case: &str, reason: &str) {
    record_line(&Outcome { engine, case, outcome: "skipped", reason });
}

fn record_line(outcome: &Outcome<'_>) {
    let line = serde_json::to_string(outcome).unwrap_or_default();
    append("HAULIER_TEST_CONTRACT", &format!("{line}\n"));
}

/// Says aloud that something was not tested: on stderr, and in the file that `HAULIER_TEST_SKIPS` names.
pub fn skipped(what: &str, why: &str) {
    let line = format!("skipped: {what}: {why}\n");
    // Not `eprint!`, which the test harness would swallow.
    let _ = io::stderr().write_all(line.as_bytes());
    append("HAULIER_TEST_SKIPS", &line);
}

/// One write, so that lines of tests that run at once do not mix.
fn append(variable: &str, line: &str) {
    if let Some(path) = env::var_os(variable) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
