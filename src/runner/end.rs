//! From what an engine saw to what ended the attempt.

use crate::{
    domain::{AttemptEnd, ErrorCode},
    engines::{EngineError, EngineErrorKind, Exit, LaunchFailure},
};

/// What an exit means. `timed_out`: the service stopped the workload because its time was up.
pub(super) fn of_exit(exit: Exit, timed_out: Option<u32>) -> AttemptEnd {
    if let Some(seconds) = timed_out {
        let message = format!("the run took longer than its timeout of {seconds} s and was stopped");
        return AttemptEnd::Failed { code: ErrorCode::RunTimeout, message, exit_code: exit.code };
    }
    let (code, message) = match exit.failure {
        None => match exit.code {
            Some(code) => return AttemptEnd::Exited { code, out_of_memory: exit.out_of_memory },
            None => (ErrorCode::EngineLost, "the container ended, but the engine does not know how".to_owned()),
        },
        Some(LaunchFailure::CommandNotFound(detail)) => (
            ErrorCode::CommandNotFound,
            format!("the command is not in the image or cannot be executed: {detail}; check 'command' and 'args'"),
        ),
        Some(LaunchFailure::Rejected(detail)) => {
            (ErrorCode::EngineRejected, format!("the engine refused the container: {detail}"))
        }
        Some(LaunchFailure::Image(kind, detail)) => (of_kind(kind), detail),
        Some(LaunchFailure::Evicted(detail)) => {
            (ErrorCode::Evicted, format!("the engine threw the container out: {detail}"))
        }
        Some(LaunchFailure::Interrupted(detail)) => {
            (ErrorCode::EngineInterrupted, format!("the engine was interrupted: {detail}"))
        }
        Some(LaunchFailure::Lost(detail)) => {
            (ErrorCode::EngineLost, format!("the engine lost the container: {detail}"))
        }
        Some(LaunchFailure::DeadlineExceeded(detail)) => {
            (ErrorCode::RunTimeout, format!("the engine ended the container at its deadline: {detail}"))
        }
        Some(LaunchFailure::NeverStarted(detail)) => {
            (ErrorCode::EngineInterrupted, format!("the container was stopped before it ran: {detail}"))
        }
    };
    AttemptEnd::Failed { code, message, exit_code: exit.code }
}

/// The code is the same, whether the engine told at once or later.
const fn of_kind(kind: EngineErrorKind) -> ErrorCode {
    match kind {
        EngineErrorKind::ImageNotFound
        | EngineErrorKind::ImageUnauthorized
        | EngineErrorKind::ImagePull
        | EngineErrorKind::ImageInvalid => ErrorCode::ImagePullFailed,
        EngineErrorKind::CommandNotFound => ErrorCode::CommandNotFound,
        EngineErrorKind::NoCapacity => ErrorCode::Unschedulable,
        EngineErrorKind::Unreachable
        | EngineErrorKind::Rejected
        | EngineErrorKind::Conflict
        | EngineErrorKind::Unauthorized
        | EngineErrorKind::Unsupported
        | EngineErrorKind::OutputLost
        | EngineErrorKind::Internal => ErrorCode::EngineRejected,
    }
}

/// What a launch that cannot succeed means.
pub(super) fn of_launch_error(error: &EngineError) -> AttemptEnd {
    let code = of_kind(error.kind);
    AttemptEnd::Failed { code, message: error.detail.clone(), exit_code: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_told_apart() {
        let exit = |code| Exit { code, ..Exit::default() };
        assert_eq!(of_exit(exit(Some(3)), None), AttemptEnd::Exited { code: 3, out_of_memory: false });
        let code = |end| match end {
            AttemptEnd::Failed { code, .. } => code,
            AttemptEnd::Exited { .. } => panic!("not a failure"),
        };
        assert_eq!(code(of_exit(exit(None), None)), ErrorCode::EngineLost);
        assert_eq!(code(of_exit(exit(Some(137)), Some(5))), ErrorCode::RunTimeout);
        let interrupted = Exit { failure: Some(LaunchFailure::Interrupted(String::new())), ..exit(Some(137)) };
        assert_eq!(code(of_exit(interrupted, None)), ErrorCode::EngineInterrupted);
        for kind in [
            EngineErrorKind::ImageNotFound,
            EngineErrorKind::ImageUnauthorized,
            EngineErrorKind::ImagePull,
            EngineErrorKind::ImageInvalid,
        ] {
            let later = Exit { failure: Some(LaunchFailure::Image(kind, "no such image".to_owned())), ..exit(None) };
            let at_once =
                EngineError::new(kind, crate::engines::Persistence::Permanent, "pull the image", "no such image");
            assert_eq!(of_exit(later, None), of_launch_error(&at_once));
        }
    }
}
