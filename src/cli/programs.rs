//! Other programs that commands use.

use std::{process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::{process::Command, time::timeout};

/// Longer than any build or push that is worth waiting for.
pub(super) const PATIENCE: Duration = Duration::from_secs(2 * 3600);
/// For questions that are answered at once.
pub(super) const QUICK: Duration = Duration::from_secs(20);

/// Runs a program to its end and lets people see on stderr what it says: stdout is for our own data.
///
/// # Errors
/// It cannot be started, fails, or takes too long; `hint` says what to do.
pub(super) async fn run(command: &mut Command, hint: &str) -> anyhow::Result<()> {
    let program = name(command);
    command.stdin(Stdio::null()).stdout(std::io::stderr()).stderr(Stdio::inherit()).kill_on_drop(true);
    let status = timeout(PATIENCE, command.status()).await.with_context(|| too_slow(&program, PATIENCE))?;
    let status = status.with_context(|| format!("{program} cannot be started: {hint}"))?;
    anyhow::ensure!(status.success(), "{program} failed ({status}): {hint}");
    Ok(())
}

/// What a program prints on stdout.
///
/// # Errors
/// It cannot be started, fails (then with what it says), or takes too long.
pub(super) async fn ask(command: &mut Command) -> anyhow::Result<String> {
    let program = name(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(QUICK, command.output()).await.with_context(|| too_slow(&program, QUICK))?;
    let ended = ended.with_context(|| format!("{program} cannot be started"))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    anyhow::ensure!(ended.status.success(), "{program}: {}", said.trim().lines().last().unwrap_or("it failed"));
    Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}

fn name(command: &Command) -> String {
    command.as_std().get_program().to_string_lossy().into_owned()
}

fn too_slow(program: &str, limit: Duration) -> String {
    format!("{program} did not end within {} s", limit.as_secs())
}
