//! What the command line ends with.

use std::io;

use crate::{
    client::ClientError,
    domain::{ErrorCode, RunId, RunState},
};

use super::output::Output;
use crate::api::types::RunView;

/// All went well.
pub const OK: u8 = 0;
/// It did not, for a reason without a code of its own.
pub const FAILED: u8 = 1;
/// The command line, or a file given with it, is wrong.
pub const USAGE: u8 = 2;
/// The service cannot be reached.
pub const UNREACHABLE: u8 = 69;
/// There is no token, or it does not allow this.
pub const REFUSED: u8 = 77;
/// The run timed out.
pub const TIMED_OUT: u8 = 124;
/// The run failed without an exit code of its container.
pub const RUN_FAILED: u8 = 125;
/// The run was cancelled, or waiting for it was interrupted.
pub const INTERRUPTED: u8 = 130;
/// Whoever read the output closed it.
pub const CLOSED_PIPE: u8 = 141;

/// What `--help` says about exit codes.
pub const HELP: &str = "\
Exit codes:
  0    all went well
  1    it did not
  2    the command line, or a file given with it, is wrong
  69   the service cannot be reached
  77   there is no token, or it does not allow this
  141  whoever read the output closed it (as in `| head`)
With `run --wait` and `run --follow`, the run's end:
  0    it succeeded
  N    it failed: the container's exit code
  124  it timed out
  125  it failed without an exit code (image, engine, report, state)
  130  it was cancelled, or the waiting was interrupted and the run left alone";

/// The command line, or a file given with it, is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The exit code that tells how a run ended.
#[must_use]
pub fn of_run(run: &RunView) -> u8 {
    match run.state {
        RunState::Succeeded => OK,
        RunState::TimedOut => TIMED_OUT,
        RunState::Cancelled => INTERRUPTED,
        RunState::Failed => of_container(run),
        // It has not ended.
        RunState::Queued | RunState::Starting | RunState::Running | RunState::Cancelling => FAILED,
    }
}

/// The container's own code, where that is why the run failed.
fn of_container(run: &RunView) -> u8 {
    let own = run.error.as_ref().is_none_or(|error| {
        matches!(error.code, ErrorCode::ExitCode | ErrorCode::OutOfMemory | ErrorCode::CommandNotFound)
    });
    let code = run.exit_code.filter(|_| own).and_then(|code| u8::try_from(code).ok());
    code.filter(|code| *code != OK).unwrap_or(RUN_FAILED)
}

/// Waiting was interrupted, and the run was left alone.
#[derive(Debug, thiserror::Error)]
#[error("the run goes on: haulier logs -f {0} follows it, haulier cancel {0} ends it")]
pub struct LeftRunning(pub RunId);

/// Tells an error on stderr; the exit code for it.
#[must_use]
pub fn report(error: &anyhow::Error) -> u8 {
    let causes = || error.chain();
    let closed = causes()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if closed {
        return CLOSED_PIPE;
    }
    if let Some(left) = error.downcast_ref::<LeftRunning>() {
        Output::important(left);
        return INTERRUPTED;
    }
    let refusal = causes().find_map(|cause| cause.downcast_ref::<ClientError>());
    match refusal {
        Some(ClientError::Problem(problem)) if problem.status == 401 => {
            Output::error("the service does not take this token: look at HAULIER_TOKEN, or ask an admin for another");
        }
        _ => Output::error(&format!("{error:#}")),
    }
    if causes().any(<dyn std::error::Error>::is::<Usage>) {
        return USAGE;
    }
    match refusal {
        Some(ClientError::Unreachable { .. } | ClientError::NotHaulier { .. }) => UNREACHABLE,
        Some(ClientError::Settings(_)) => USAGE,
        Some(ClientError::Problem(problem)) if matches!(problem.status, 401 | 403) => REFUSED,
        Some(ClientError::Problem(_)) | None => FAILED,
    }
}
