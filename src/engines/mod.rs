//! Container engines behind one trait.
//!
//! **Architecture Invariant:** an engine's own vocabulary (container, task, allocation, pod) stays in its module.
//! Everything else sees a [`LaunchSpec`] going in and an [`Observation`] coming out.

#[doc(hidden)]
pub mod contract;
pub mod docker;
mod docker_api;
#[cfg(target_os = "linux")]
pub mod embedded;
mod error;
#[cfg(target_os = "linux")]
pub mod images;
pub mod kubernetes;
mod launch;
pub mod nomad;
mod observe;
#[cfg(target_os = "linux")]
pub mod reexec;
pub mod simulated;
pub mod swarm;

use std::{collections::HashMap, fmt, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use error::{EngineError, EngineErrorKind, Persistence};
pub use launch::{Credentials, Handle, LaunchFile, LaunchProgress, LaunchSpec, LaunchVariable, PullPolicy, label};
pub use observe::{Change, Exit, Found, LaunchFailure, LogFrame, LogSource, Observation, WorkloadPhase};

use crate::domain::AttemptId;

/// What an attempt's output arrives as: in the order in which the engine keeps it, from the first byte.
pub type LogStream = BoxStream<'static, Result<LogFrame, EngineError>>;

/// What an engine must guarantee, also when two incarnations of one attempt meet.
///
/// Every call returns within a bounded time (its own timeouts), may be made again after any error, and may be made by
/// two service processes at once.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// What this engine can do. Constant while the service runs.
    fn capabilities(&self) -> Capabilities;

    /// Makes sure that the workload of this attempt exists and was started, once, ever.
    ///
    /// Idempotent on the workload name: where it exists and carries our labels for this attempt it is adopted; it is
    /// started only if it never was. Pulls the image when needed and tells so through `progress`.
    ///
    /// An engine that [schedules](Capabilities::schedules) returns as soon as it has taken the workload on; what that
    /// waits for, and why it cannot start, is then [observed](Self::observe), with the same meaning as the errors here.
    ///
    /// # Errors
    /// [`Persistence::Permanent`] when trying again cannot help; then nothing of the workload runs.
    /// Anything else leaves it open whether the workload exists: call again.
    async fn ensure(&self, spec: &LaunchSpec, progress: &LaunchProgress) -> Result<Handle, EngineError>;

    /// What has become of these workloads. One entry for each handle asked for.
    ///
    /// # Errors
    /// The engine as a whole could not be asked; an error about one workload stands in its entry.
    async fn observe(&self, of: &[Handle])
    -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError>;

    /// Wakes the observer. A hint, never the truth: it may miss, repeat and reorder. The stream ends when the
    /// connection does; the caller then lists everything and opens another.
    fn changes(&self) -> BoxStream<'static, Change>;

    /// Every workload on the engine that carries our owner label, running or not.
    ///
    /// # Errors
    /// The list could not be had **whole**.
    async fn list(&self) -> Result<Vec<Found>, EngineError>;

    /// Asks the workload to end (TERM), and ends it after `grace` (KILL); an engine that keeps the grace with the
    /// workload takes [`LaunchSpec::kill_grace`] for it. Returns when it has ended or the signal is on its way. Its
    /// end can be read afterwards, and so can its output, [mostly](Capabilities::output_after_stop); what never ran
    /// may be gone. A workload that is missing or has ended is
    /// success.
    ///
    /// # Errors
    /// The engine could not be asked.
    async fn stop(&self, handle: &Handle, grace: Duration) -> Result<(), EngineError>;

    /// Removes the workload and all that was made for it, whatever its state. Missing is success.
    ///
    /// # Errors
    /// Something may be left; call again.
    async fn remove(&self, handle: &Handle) -> Result<(), EngineError>;

    /// The workload's output from its first byte, followed until it ends. The stream's end says nothing about the
    /// workload's state, and an error may be answered by calling again: the frames come again from the first
    /// that is still there. [`EngineErrorKind::OutputLost`] comes before the first frame behind a gap.
    fn logs(&self, handle: &Handle) -> LogStream;

    /// Whether the engine answers, and as what.
    async fn probe(&self) -> EngineHealth;
}

/// What an engine can do. A job that asks for more is refused when it is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact that clients read by name")]
pub struct Capabilities {
    /// Memory limits are enforced.
    pub memory_limit: bool,
    /// CPU limits are enforced.
    pub cpu_limit: bool,
    /// A limit on the number of processes is enforced.
    pub pids_limit: bool,
    /// Files can be placed in the container.
    pub files: bool,
    /// Secrets given as files stay invisible to whoever may only inspect the workload.
    pub secret_files: bool,
    /// Secrets given as environment variables stay invisible to whoever may only inspect the workload.
    pub secret_env: bool,
    /// A kill for want of memory is told apart from other kills.
    pub out_of_memory_told: bool,
    /// stdout and stderr are told apart.
    pub streams_apart: bool,
    /// Images are pulled from registries, with credentials.
    pub pull: bool,
    /// Workloads survive a restart of the service.
    pub adopt: bool,
    /// Files belong to the user that the image runs as, with exactly the mode asked for. Otherwise whoever runs in the
    /// container may read them.
    pub file_owner: bool,
    /// Output that comes in a rush is kept whole. Otherwise megabytes written at once may lose some.
    pub whole_output: bool,
    /// The output of a workload that was stopped can be read from its first byte afterwards. Otherwise only who followed
    /// it has it whole.
    pub output_after_stop: bool,
    /// Places workloads by itself: takes one on at once and starts it later, when there is room and the image is there.
    pub schedules: bool,
}

/// An engine's answer to "are you there".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineHealth {
    /// Whether it answered in time.
    pub reachable: bool,
    /// The engine's name and version as it gives them, like `Docker 20.10.24 (API 1.41)`.
    pub version: Option<String>,
    /// Why it is not reachable, or what it must do without; and what to do.
    pub detail: Option<String>,
}
