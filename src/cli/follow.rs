//! Waits for a run's end, prints its log meanwhile, and does what Ctrl-C says.

use std::{convert::Infallible, io, thread};

use futures::TryStreamExt;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use super::{
    exit::{self, LeftRunning},
    input, logs,
    output::Output,
    text::millis,
};
use crate::{
    api::types::RunView,
    client::Client,
    domain::{RunId, RunState},
};

/// How to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Say how it stands.
    Wait,
    /// And print the log.
    Follow,
}

/// Waits for the run's end; the exit code that tells how it ended.
pub(super) async fn to_the_end(client: &Client, out: Output, run: RunView, how: How) -> anyhow::Result<u8> {
    let id = run.id;
    if how == How::Wait && !out.is_json() {
        out.data(id)?;
    } else {
        out.note(format_args!("run {id}"));
    }
    let watching = async {
        let log = async { if how == How::Follow { print_log(client, out, id).await } else { Ok(()) } };
        let (run, ()) = tokio::try_join!(watch(client, out, run), log)?;
        anyhow::Ok(run)
    };
    let run = tokio::select! {
        run = watching => run?,
        left = interrupted(client, out, id) => match left? {},
    };
    if out.is_json() {
        out.json(&run)?;
    }
    out.note(ending(&run));
    Ok(exit::of_run(&run))
}

/// Follows the run's state to its end, and says what changes.
async fn watch(client: &Client, out: Output, mut run: RunView) -> anyhow::Result<RunView> {
    let mut told = String::new();
    while !run.finished {
        let standing = standing(&run);
        if standing != told {
            out.note(format_args!("{standing}"));
            told = standing;
        }
        run = client.wait_for(run.id, patience(run.state)).await?;
    }
    Ok(run)
}

/// How long to wait for an answer that may say no more than that nothing has changed. What waits says why every few
/// seconds; what runs is asked seldom.
const fn patience(state: RunState) -> u32 {
    match state {
        RunState::Queued | RunState::Starting => 3,
        _ => 50,
    }
}

fn standing(run: &RunView) -> String {
    match &run.waiting {
        Some(waiting) => format!("{}: {}", run.state.as_str(), waiting.detail),
        None => run.state.as_str().to_owned(),
    }
}

/// How the run ended, in a line.
pub(super) fn ending(run: &RunView) -> String {
    let took = run.duration_ms.map(|time| format!(" after {}", millis(time))).unwrap_or_default();
    let why = run.error.as_ref().map(|error| format!(": {} ({})", error.message, error.code.as_str()));
    format!("{}{took}{}", run.state.as_str(), why.unwrap_or_default())
}

async fn print_log(client: &Client, out: Output, run: RunId) -> anyhow::Result<()> {
    let mut records = std::pin::pin!(client.log_records(run, true));
    while let Some(record) = records.try_next().await? {
        // Then stdout is for the run's JSON.
        logs::print_apart(out, &record, out.is_json())?;
    }
    Ok(())
}

/// Returns when the run is to be left running. What is cancelled is waited for elsewhere.
async fn interrupted(client: &Client, out: Output, run: RunId) -> anyhow::Result<Infallible> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    loop {
        tokio::select! {
            _ = interrupt.recv() => if !input::someone_is_there() { return Err(LeftRunning(run).into()) },
            _ = terminate.recv() => return Err(LeftRunning(run).into()),
        }
        Output::question("\ncancel the run? [y/N] (Ctrl-C again leaves it running) ");
        tokio::select! {
            yes = answer() => if yes {
                client.cancel(run).await?;
                out.note("cancelling: waiting for its end");
            },
            _ = interrupt.recv() => { Output::question("\n"); return Err(LeftRunning(run).into()) }
            _ = terminate.recv() => return Err(LeftRunning(run).into()),
        }
    }
}

/// Whether the next line says yes. Read by a thread of its own, which nobody waits for.
async fn answer() -> bool {
    let (send, answer) = oneshot::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = io::stdin().read_line(&mut line);
        let _ = send.send(matches!(line.trim(), "y" | "Y" | "yes"));
    });
    answer.await.unwrap_or(false)
}
