//! What an engine tells about a workload.

use bytes::Bytes;

use crate::domain::{AttemptId, Timestamp, WaitReason};

use super::{EngineErrorKind, Handle};

/// What has become of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Names this one execution (container id and start time, …); changes if the workload was ever started again.
    pub execution: Option<String>,
    /// How it stands.
    pub phase: WorkloadPhase,
}

/// How a workload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkloadPhase {
    /// Not running yet, and why.
    Pending(WaitReason, String),
    /// Running since then.
    Running(Timestamp),
    /// It ran and ended, or failed to start for good.
    Exited(Exit),
    /// The engine is certain, from a complete answer, that it has no record of it.
    Absent,
}

/// How a workload ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exit {
    /// The exit code, 128 + n for signal n; `None` when there was none.
    pub code: Option<i32>,
    /// The kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// It never got to run, or the engine ended it: why.
    pub failure: Option<LaunchFailure>,
    /// When it started, by the engine's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended, by the engine's clock.
    pub finished_at: Option<Timestamp>,
}

/// Why a workload ended other than by its own doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchFailure {
    /// The command is not in the image or cannot be executed. The engine's words.
    CommandNotFound(String),
    /// The engine refused the configuration at start. The engine's words.
    Rejected(String),
    /// The image could not be had: one of the image kinds of [`EngineErrorKind`], and the engine's words.
    Image(EngineErrorKind, String),
    /// Thrown out: to make room, or by somebody who deleted it.
    Evicted(String),
    /// The engine itself was restarted or shut down.
    Interrupted(String),
    /// The engine has given it up: its node is gone.
    Lost(String),
    /// The engine ended it at [`LaunchSpec::deadline`](super::LaunchSpec::deadline), before the service did.
    DeadlineExceeded(String),
    /// It was stopped before it ran.
    NeverStarted(String),
}

/// Something may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// With this workload.
    Workload(AttemptId),
    /// With anything: look at everything.
    Everything,
}

/// A workload that carries our owner label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which one.
    pub handle: Handle,
    /// When it was created, by the engine's clock.
    pub created_at: Timestamp,
    /// Whether it is running now.
    pub running: bool,
}

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output. A line may be split over several frames of its source; the last ends with `\n`, unless the
/// output ends without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFrame {
    /// When it was written, by the engine's clock.
    pub time: Timestamp,
    /// Where it came from.
    pub source: LogSource,
    /// The bytes, as the script wrote them.
    pub bytes: Bytes,
}
