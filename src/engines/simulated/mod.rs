//! An engine without containers, for tests and benchmarks of everything above it.
//!
//! The image says how the launch goes, the arguments what the workload does:
//!
//! | image | what happens |
//! |---|---|
//! | `sim/ok` | it is launched |
//! | `sim/slow-pull` | it is launched after a pull of one second |
//! | `sim/private` | the image wants a login; any will do |
//! | `sim/missing`, `sim/forbidden`, `sim/no-registry`, `sim/no-command` | it cannot be launched |
//!
//! Arguments are done in their order: `print=TEXT`, `print-err=TEXT`, `write=TEXT` (without a line's end),
//! `echo-env=NAME`, `report=JSON`, `sleep=200ms`, `gate` (waits until the test opens it); and in any place: `exit=3`,
//! `signal=9`, `oom`, `forever`, `hang` (for ever, ignoring TERM), `on-term=7`, `forever-until-term=7` (both in one).
//!
//! A workload costs a record and one entry in a heap: how it stands is computed from the clock when asked.

mod control;
mod logs;
mod script;
mod world;

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use futures::{
    StreamExt, future,
    stream::{self, BoxStream},
};
use tokio_stream::wrappers::{BroadcastStream, WatchStream};

pub use control::SimulatedControl;

use super::{
    Capabilities, Change, Engine, EngineError, EngineErrorKind, EngineHealth, Found, Handle, LaunchProgress,
    LaunchSpec, LogStream, Observation, Persistence,
};
use crate::domain::{AttemptId, InstallationId, WaitReason};
use script::Script;

/// One service's view of a simulated world. Engines made from the same control share the world.
#[derive(Debug, Clone)]
pub struct SimulatedEngine {
    owner: InstallationId,
    control: SimulatedControl,
}

impl SimulatedEngine {
    /// An engine in the world of this control.
    #[must_use]
    pub const fn new(owner: InstallationId, control: SimulatedControl) -> Self {
        Self { owner, control }
    }

    /// An engine in a world of its own.
    #[must_use]
    pub fn alone(owner: InstallationId) -> (Self, SimulatedControl) {
        let control = SimulatedControl::default();
        (Self::new(owner, control.clone()), control)
    }

    async fn pull(&self, spec: &LaunchSpec, progress: &LaunchProgress) -> Result<(), EngineError> {
        use EngineErrorKind as Kind;
        use Persistence::{Permanent, Temporary};
        let refuse = |kind, persistence, text: &str| {
            Err(EngineError::new(kind, persistence, "pull the image", format!("{}: {text}", spec.image)))
        };
        match spec.image.split(':').next().unwrap_or_default() {
            "sim/ok" | "sim/no-command" => Ok(()),
            "sim/private" if spec.credentials.is_some() => Ok(()),
            "sim/private" | "sim/forbidden" => refuse(Kind::ImageUnauthorized, Permanent, "the image wants a login"),
            "sim/no-registry" => refuse(Kind::ImagePull, Temporary, "connection refused"),
            "sim/slow-pull" => {
                progress.waits_for(WaitReason::PullingImage, format!("pulling {}", spec.image));
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(())
            }
            _ => refuse(Kind::ImageNotFound, Permanent, "there is no such image"),
        }
    }
}

#[async_trait]
impl Engine for SimulatedEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            memory_limit: true,
            cpu_limit: true,
            pids_limit: true,
            files: true,
            secret_files: true,
            secret_env: true,
            out_of_memory_told: true,
            streams_apart: true,
            pull: true,
            adopt: true,
            file_owner: true,
            whole_output: true,
            output_after_stop: true,
            schedules: false,
        }
    }

    async fn ensure(&self, spec: &LaunchSpec, progress: &LaunchProgress) -> Result<Handle, EngineError> {
        self.control.reach("ensure the workload")?;
        self.control.refuse_if_told()?;
        if let Some(handle) = self.control.world().adopt(spec)? {
            return Ok(handle);
        }
        self.pull(spec, progress).await?;
        self.control.reach("ensure the workload")?;
        if spec.image.starts_with("sim/no-command") {
            let text = "the image has no such command";
            let kind = EngineErrorKind::CommandNotFound;
            return Err(EngineError::new(kind, Persistence::Permanent, "start the workload", text));
        }
        let script = Script::read(spec).map_err(|text| {
            EngineError::new(EngineErrorKind::Rejected, Persistence::Permanent, "read the arguments", text)
        })?;
        let handle = self.control.launch(spec, script)?;
        self.control.forget_answer_if_told()?;
        Ok(handle)
    }

    async fn observe(
        &self,
        of: &[Handle],
    ) -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError> {
        self.control.reach("observe the workloads")?;
        let world = self.control.world();
        Ok(of.iter().map(|handle| (handle.attempt, Ok(world.observe(handle)))).collect())
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        if self.control.reach("watch the workloads").is_err() {
            return stream::empty().boxed();
        }
        let broken = WatchStream::new(self.control.reachable()).filter(|reachable| future::ready(!reachable));
        BroadcastStream::new(self.control.subscribe())
            // Some were missed.
            .map(|change| change.unwrap_or(Change::Everything))
            .take_until(broken.into_future())
            .boxed()
    }

    async fn list(&self) -> Result<Vec<Found>, EngineError> {
        self.control.reach("list the workloads")?;
        Ok(self.control.world().list(self.owner))
    }

    async fn stop(&self, handle: &Handle, grace: Duration) -> Result<(), EngineError> {
        self.control.reach("stop the workload")?;
        self.control.end(&handle.id, |workload, now| workload.terminate(now, grace));
        Ok(())
    }

    async fn remove(&self, handle: &Handle) -> Result<(), EngineError> {
        self.control.reach("remove the workload")?;
        self.control.world().remove(&handle.id);
        Ok(())
    }

    fn logs(&self, handle: &Handle) -> LogStream {
        logs::follow(self.control.clone(), handle.id.clone())
    }

    async fn probe(&self) -> EngineHealth {
        match self.control.reach("ask whether it is there") {
            Ok(()) => EngineHealth { reachable: true, version: Some("Simulated 1".to_owned()), detail: None },
            Err(error) => EngineHealth { reachable: false, version: None, detail: Some(error.detail) },
        }
    }
}
