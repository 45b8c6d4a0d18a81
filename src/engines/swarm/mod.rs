//! Docker Swarm, through one of its managers.
//!
//! One service an attempt, by the attempt's name: one replica, never restarted. (Swarm's own jobs would run failed work
//! again whenever a manager restarts.) A service's tasks are all that is known of it; what this side keeps is only a
//! cache of what it has seen.

mod changes;
mod ensure;
mod images;
mod logs;
mod observe;
mod read;
mod render;
mod snapshot;
mod stop;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use quick_cache::sync::Cache;
use serde::Deserialize;

use super::{
    Capabilities, Change, Credentials, Engine, EngineError, EngineHealth, Found, Handle, LaunchProgress, LaunchSpec,
    LogStream, Observation,
    docker_api::client::{Client, usual_address},
};
use crate::domain::{AttemptId, InstallationId, Timestamp};
use images::Verdict;
use snapshot::Cluster;

/// How a swarm is reached and used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SwarmConfig {
    /// A manager's daemon: `unix:///path`, `tcp://host:port` or `http://host:port`. Default: `DOCKER_HOST`, else the
    /// first of the usual sockets that is there.
    pub host: Option<String>,
    /// The network that containers join: an attachable or overlay network of the swarm, or `host`. Default: each
    /// node's own bridge.
    pub network: Option<String>,
    /// Where containers may run, as placement constraints like `node.labels.zone==a`.
    pub constraints: Vec<String>,
    /// After how many seconds a node that is down is given up, with all that ran on it.
    pub node_lost_seconds: u64,
    /// Processes and threads in one container, when the job does not say.
    pub default_pids: u32,
    /// The size of one file of output that a node keeps for a container until it is collected, in MB.
    pub log_file_mb: u32,
    /// How many such files it keeps.
    pub log_files: u32,
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            host: None,
            network: None,
            constraints: Vec::new(),
            node_lost_seconds: 60,
            default_pids: 4096,
            log_file_mb: 64,
            log_files: 4,
        }
    }
}

/// A Docker swarm.
pub struct SwarmEngine {
    name: String,
    config: SwarmConfig,
    client: Arc<Client>,
    cluster: Arc<Cluster>,
    /// Since when a task ran, by its id: an ended task does not tell.
    started: Cache<String, Timestamp>,
    /// The logins of launches under way. Who asks a registry why a node could not pull needs them.
    logins: Cache<AttemptId, Credentials>,
    /// What a registry said when it was asked about a task's image, by the task's id.
    verdicts: Cache<String, Verdict>,
    /// Why a task ended with a code that says too little, by the task's id.
    explained: Cache<String, Option<super::LaunchFailure>>,
}

impl SwarmEngine {
    /// An engine for the swarm whose manager is at the configured address. The manager need not be there yet: each
    /// call connects when it must.
    ///
    /// # Errors
    /// The address cannot be understood.
    pub fn connect(name: impl Into<String>, owner: InstallationId, config: SwarmConfig) -> Result<Self, EngineError> {
        let client = Arc::new(Client::new(config.host.clone().unwrap_or_else(usual_address))?);
        Ok(Self {
            name: name.into(),
            cluster: Arc::new(Cluster::new(client.clone(), owner)),
            client,
            config,
            started: Cache::new(16_384),
            logins: Cache::new(4096),
            verdicts: Cache::new(4096),
            explained: Cache::new(4096),
        })
    }
}

impl fmt::Debug for SwarmEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwarmEngine").field("name", &self.name).field("host", &self.client.address()).finish()
    }
}

#[async_trait]
impl Engine for SwarmEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            memory_limit: true,
            cpu_limit: true,
            pids_limit: true,
            files: true,
            secret_files: true,
            // A service shows its environment.
            secret_env: false,
            // Only the exit code tells.
            out_of_memory_told: false,
            streams_apart: true,
            pull: true,
            adopt: true,
            file_owner: false,
            whole_output: true,
            output_after_stop: true,
            schedules: true,
        }
    }

    async fn ensure(&self, spec: &LaunchSpec, _progress: &LaunchProgress) -> Result<Handle, EngineError> {
        self.ensure_service(spec).await
    }

    async fn observe(
        &self,
        of: &[Handle],
    ) -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError> {
        self.observe_services(of).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        changes::watch(self.cluster.clone())
    }

    async fn list(&self) -> Result<Vec<Found>, EngineError> {
        self.list_services().await
    }

    async fn stop(&self, handle: &Handle, _grace: Duration) -> Result<(), EngineError> {
        self.stop_service(handle).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), EngineError> {
        self.remove_service(handle).await
    }

    fn logs(&self, handle: &Handle) -> LogStream {
        logs::follow(self.client.clone(), self.cluster.clone(), handle.clone())
    }

    async fn probe(&self) -> EngineHealth {
        let health = self.client.health().await;
        if !health.reachable {
            return health;
        }
        match self.cluster.nodes(Duration::ZERO).await {
            Ok(nodes) => EngineHealth {
                version: health.version.map(|version| format!("{version}, a swarm of {} nodes", nodes.len())),
                ..health
            },
            Err(error) => EngineHealth { reachable: false, detail: Some(error.detail), ..health },
        }
    }
}
