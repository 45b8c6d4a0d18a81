//! How a run can end badly.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The stable code of a run that did not succeed. Once published, a code keeps its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The script ended with an exit code other than 0.
    ExitCode,
    /// The script reported an error, yet ended with exit code 0.
    ScriptError,
    /// The kernel killed the script because it went over its memory.
    OutOfMemory,
    /// The image could not be pulled: missing, login needed, or the registry failed.
    ImagePullFailed,
    /// The project's allow-list does not name the image.
    ImageNotAllowed,
    /// The image has no such command, or it cannot be executed.
    CommandNotFound,
    /// The engine has no room that could ever fit the run.
    Unschedulable,
    /// The container was not running within the start timeout.
    StartTimeout,
    /// The engine threw the container out to make room.
    Evicted,
    /// The engine lost the container: its record is gone, or its node died.
    EngineLost,
    /// The engine was restarted or shut down and took the container with it.
    EngineInterrupted,
    /// The engine refused the container's configuration.
    EngineRejected,
    /// The service could not be certain that only one container ran.
    DuplicateExecution,
    /// A report line of the script could not be read.
    ReportInvalid,
    /// Another writer changed the job's state meanwhile.
    StateConflict,
    /// The script asked to be continued more often than the job allows.
    SliceLimit,
    /// The run waited in the queue longer than allowed.
    QueueTimeout,
    /// The run took longer than its timeout.
    RunTimeout,
    /// Nobody asked for the run for longer than its lease.
    Abandoned,
    /// A newer run of the job took its place.
    Superseded,
    /// Someone cancelled the run.
    Cancelled,
    /// The configuration could not be prepared, for example because a secret it names is gone.
    ConfigInvalid,
}

impl ErrorCode {
    /// The code as it is written in JSON and stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExitCode => "exit_code",
            Self::ScriptError => "script_error",
            Self::OutOfMemory => "out_of_memory",
            Self::ImagePullFailed => "image_pull_failed",
            Self::ImageNotAllowed => "image_not_allowed",
            Self::CommandNotFound => "command_not_found",
            Self::Unschedulable => "unschedulable",
            Self::StartTimeout => "start_timeout",
            Self::Evicted => "evicted",
            Self::EngineLost => "engine_lost",
            Self::EngineInterrupted => "engine_interrupted",
            Self::EngineRejected => "engine_rejected",
            Self::DuplicateExecution => "duplicate_execution",
            Self::ReportInvalid => "report_invalid",
            Self::StateConflict => "state_conflict",
            Self::SliceLimit => "slice_limit",
            Self::QueueTimeout => "queue_timeout",
            Self::RunTimeout => "run_timeout",
            Self::Abandoned => "abandoned",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::ConfigInvalid => "config_invalid",
        }
    }

    /// Reads a stored code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
    }

    /// Whether the infrastructure failed, not the script. Such failures are retried on their own account and never
    /// use up the job's `max_attempts`.
    #[must_use]
    pub const fn is_infrastructure(self) -> bool {
        matches!(self, Self::Evicted | Self::EngineLost | Self::EngineInterrupted)
    }

    /// Whether another run with the same parameters may end better without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::ExitCode
            | Self::ScriptError
            | Self::OutOfMemory
            | Self::ImagePullFailed
            | Self::StartTimeout
            | Self::Evicted
            | Self::EngineLost
            | Self::EngineInterrupted
            | Self::StateConflict
            | Self::QueueTimeout
            | Self::RunTimeout
            | Self::Abandoned
            | Self::Unschedulable => true,
            Self::ImageNotAllowed
            | Self::CommandNotFound
            | Self::EngineRejected
            | Self::DuplicateExecution
            | Self::ReportInvalid
            | Self::SliceLimit
            | Self::Superseded
            | Self::Cancelled
            | Self::ConfigInvalid => false,
        }
    }

    /// Whether a job's retry policy may name this code.
    #[must_use]
    pub const fn may_be_retried_by_policy(self) -> bool {
        matches!(
            self,
            Self::ExitCode
                | Self::ScriptError
                | Self::OutOfMemory
                | Self::ImagePullFailed
                | Self::StartTimeout
                | Self::StateConflict
                | Self::RunTimeout
        )
    }
}

/// Why a run did not succeed. Code and message are never blank: orchestrators show them as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunError {
    /// The stable code.
    pub code: ErrorCode,
    /// What happened and what to do, for people.
    pub message: String,
    /// Whether the same run may succeed when started again.
    pub retryable: bool,
    /// The code the script itself gave in its report, if any.
    pub reported_code: Option<String>,
}

impl RunError {
    /// An error with the code's usual answer to whether trying again can help.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retryable: code.is_retryable(), reported_code: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_form_is_the_json_form() {
        for code in ["exit_code", "out_of_memory", "engine_interrupted", "config_invalid", "superseded"] {
            let parsed = ErrorCode::parse(code).unwrap();
            assert_eq!(parsed.as_str(), code);
            assert_eq!(serde_json::to_value(parsed).unwrap(), code);
        }
        assert_eq!(ErrorCode::parse("no_such_code"), None);
    }
}
