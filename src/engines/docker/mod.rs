//! Docker, and Podman through its Docker API.
//!
//! One container an attempt, by the attempt's name. What the daemon remembers is the only state: this side keeps
//! nothing that it could not ask again.
//!
//! bollard logs request bodies, and with them environment secrets, at level `debug`: a subscriber must not let its
//! target below `info`.

mod changes;
mod ensure;
mod files;
mod logs;
mod observe;
mod podman_logs;
mod pull;
mod render;
mod stop;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use quick_cache::sync::Cache;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{
    Capabilities, Change, Engine, EngineError, EngineHealth, Found, Handle, LaunchProgress, LaunchSpec, LogStream,
    Observation,
    docker_api::client::{Client, usual_address},
};
use crate::domain::{AttemptId, InstallationId, Timestamp};

/// How a Docker or Podman daemon is reached and used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerConfig {
    /// `unix:///path`, `tcp://host:port` or `http://host:port`. Default: `DOCKER_HOST`, else the first of the usual
    /// sockets that is there.
    pub host: Option<String>,
    /// Whether the daemon is Podman. Default: whether `host` says so.
    pub podman: Option<bool>,
    /// The network that containers join. Default: the daemon's own, which is a bridge.
    pub network: Option<String>,
    /// How many containers are created and started at once. Starting is the daemon's slowest work; more at once only
    /// makes each slower.
    pub max_launches: usize,
    /// The longest time for one pull of an image, in seconds.
    pub pull_timeout_seconds: u64,
    /// The longest time without any progress of a pull, in seconds.
    pub pull_idle_seconds: u64,
    /// Processes and threads in one container, when the job does not say.
    pub default_pids: u32,
    /// The size of one file of output that the daemon keeps for a container until it is collected, in MB.
    pub log_file_mb: u32,
    /// How many such files it keeps. Podman keeps one, as large as all of them.
    pub log_files: u32,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            host: None,
            podman: None,
            network: None,
            max_launches: 6,
            pull_timeout_seconds: 1800,
            pull_idle_seconds: 300,
            default_pids: 4096,
            log_file_mb: 64,
            log_files: 4,
        }
    }
}

impl DockerConfig {
    /// The address to use.
    fn address(&self) -> String {
        self.host.clone().unwrap_or_else(usual_address)
    }
}

/// A Docker or Podman daemon.
pub struct DockerEngine {
    name: String,
    owner: InstallationId,
    config: DockerConfig,
    podman: bool,
    client: Arc<Client>,
    launches: Semaphore,
    pulls: Semaphore,
    turns: Turns,
    /// Since when a container runs, by its id: lists do not tell.
    running_since: Arc<Cache<String, (String, Timestamp)>>,
}

impl DockerEngine {
    /// An engine for the daemon at the configured address. The daemon need not be there yet: each call connects
    /// when it must.
    ///
    /// # Errors
    /// The address cannot be understood, or a number makes no sense.
    pub fn connect(name: impl Into<String>, owner: InstallationId, config: DockerConfig) -> Result<Self, EngineError> {
        let address = config.address();
        let client = Arc::new(Client::new(address.clone())?);
        let permits = config.max_launches.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            name: name.into(),
            owner,
            podman: config.podman.unwrap_or_else(|| address.contains("podman")),
            config,
            client,
            launches: Semaphore::new(permits),
            pulls: Semaphore::new(permits),
            turns: Turns::default(),
            running_since: Arc::new(Cache::new(16_384)),
        })
    }
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEngine").field("name", &self.name).field("host", &self.client.address()).finish()
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            memory_limit: true,
            cpu_limit: true,
            pids_limit: true,
            files: true,
            secret_files: true,
            // Whoever may inspect a container sees its environment.
            secret_env: false,
            // Newer versions of Podman tell, older ones do not.
            out_of_memory_told: !self.podman,
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
        self.ensure_container(spec, progress).await
    }

    async fn observe(
        &self,
        of: &[Handle],
    ) -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError> {
        self.observe_containers(of).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        self.watch_events()
    }

    async fn list(&self) -> Result<Vec<Found>, EngineError> {
        self.list_containers().await
    }

    async fn stop(&self, handle: &Handle, grace: Duration) -> Result<(), EngineError> {
        self.stop_container(handle, grace).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), EngineError> {
        self.remove_container(&handle.id).await
    }

    fn logs(&self, handle: &Handle) -> LogStream {
        let follow = if self.podman { podman_logs::follow } else { logs::follow };
        follow(self.client.clone(), handle.id.clone())
    }

    async fn probe(&self) -> EngineHealth {
        self.client.health().await
    }
}

/// One turn at a time for each attempt.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<AttemptId, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn; it lasts as long as the guard.
    async fn take(&self, attempt: AttemptId) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(turn) = turns.get(&attempt).and_then(Weak::upgrade) {
                turn
            } else {
                turns.retain(|_, turn| turn.strong_count() > 0);
                let turn = Arc::default();
                turns.insert(attempt, Arc::downgrade(&turn));
                turn
            }
        };
        turn.lock_owned().await
    }
}
