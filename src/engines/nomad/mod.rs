//! Nomad, through any of its agents.
//!
//! One batch job an attempt, by the attempt's name, registered only if there is none. What the servers remember is the
//! only state. A job's own status says nothing: what became of it is in its allocations.

mod changes;
mod client;
mod launch;
mod logs;
mod observe;
mod operation;
mod probe;
mod read;
mod render;
mod rights;
mod types;

use std::{
    collections::HashMap,
    env, fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use quick_cache::sync::Cache;
use reqwest::{Certificate, Identity};
use secrecy::SecretString;
use serde::Deserialize;

use super::{
    Capabilities, Change, Engine, EngineError, EngineErrorKind, EngineHealth, Exit, Found, Handle, LaunchProgress,
    LaunchSpec, LogStream, Observation, Persistence,
};
use crate::{
    domain::{AttemptId, InstallationId},
    outgoing,
};
use client::Client;
use operation::ASK_AGENT;
use types::AgentSelf;

/// How a Nomad cluster is reached and used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NomadConfig {
    /// An agent, like `https://nomad.example.com:4646`. Default: `NOMAD_ADDR`, else `http://127.0.0.1:4646`.
    pub address: Option<String>,
    /// A file with the ACL token. Default: `NOMAD_TOKEN`, else none.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates, as PEM, of who may vouch for the agent, instead of the usual ones.
    pub ca_file: Option<PathBuf>,
    /// A file with the certificate and the key, as PEM, that this service shows to the agent.
    pub client_cert_file: Option<PathBuf>,
    /// The namespace that jobs belong to. Default: the agent's own.
    pub namespace: Option<String>,
    /// The region that they run in. Default: the agent's own.
    pub region: Option<String>,
    /// Where they may run.
    pub datacenters: Vec<String>,
    /// How important they are, from 1 to 100.
    pub priority: u8,
    /// The network mode of containers. Default: the Docker driver's own, which is a bridge.
    pub network: Option<String>,
    /// Whether the cluster has Variables, which come with 1.4, and the token may write and destroy them: secrets are kept
    /// in them. Without them there are no secret files, and secrets in the environment stand in the job.
    pub variables: bool,
    /// Whether containers get an init process, which passes TERM on and reaps.
    pub init: bool,
    /// What one processor of the nodes counts, in MHz: with it, and only then, processors can be limited.
    pub cpu_mhz: Option<u32>,
    /// What a container asks for when the job does not say, in MHz.
    pub default_cpu_mhz: u64,
    /// The memory of a container when the job does not say, in MB: Nomad has none without.
    pub default_memory_mb: u32,
    /// Processes and threads in one container, when the job does not say.
    pub default_pids: u32,
    /// After how many seconds a node that does not answer is given up, with all that ran on it, where Nomad lets that
    /// be said (1.8 and later).
    pub node_lost_seconds: u32,
    /// The size of one file of output that a node keeps for a container until it is collected, in MB.
    pub log_file_mb: u32,
    /// How many such files it keeps.
    pub log_files: u32,
}

impl Default for NomadConfig {
    fn default() -> Self {
        Self {
            address: None,
            token_file: None,
            ca_file: None,
            client_cert_file: None,
            namespace: None,
            region: None,
            datacenters: vec!["dc1".to_owned()],
            priority: 50,
            network: None,
            variables: true,
            init: true,
            cpu_mhz: None,
            default_cpu_mhz: 100,
            default_memory_mb: 512,
            default_pids: 4096,
            node_lost_seconds: 60,
            log_file_mb: 64,
            log_files: 4,
        }
    }
}

/// A Nomad cluster. Cheap to clone: the clones are one.
#[derive(Clone)]
pub struct NomadEngine {
    name: String,
    owner: InstallationId,
    config: NomadConfig,
    client: Arc<Client>,
    /// How allocations have ended, by id: it stays so, whatever a node says that was lost and comes back.
    ended: Arc<Cache<String, Exit>>,
    /// Whether jobs are ours, by id and time.
    owned: Arc<Cache<(String, i64), bool>>,
}

impl NomadEngine {
    /// An engine for the cluster of the configured agent. The agent need not be there yet.
    ///
    /// # Errors
    /// A file that the settings name cannot be used, or the address cannot be understood.
    pub fn connect(name: impl Into<String>, owner: InstallationId, config: NomadConfig) -> Result<Self, EngineError> {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let address = config.address.clone().or_else(|| variable("NOMAD_ADDR"));
        let address = address.unwrap_or_else(|| "http://127.0.0.1:4646".to_owned());
        if !["http://", "https://"].iter().any(|scheme| address.starts_with(scheme)) {
            return Err(unusable(format!("`{address}` is no address of an agent: write https://host:4646"), None));
        }
        let token = match &config.token_file {
            Some(path) => {
                let text = String::from_utf8_lossy(&read(path)?).trim().to_owned();
                Some(SecretString::from(text))
            }
            None => variable("NOMAD_TOKEN").map(SecretString::from),
        };
        let mut http = outgoing::client().connect_timeout(Duration::from_secs(10)).no_proxy();
        if let Some(path) = &config.ca_file {
            let certificates = Certificate::from_pem_bundle(&read(path)?);
            let certificates =
                certificates.map_err(|error| unusable(format!("{}: no certificates", path.display()), Some(error)))?;
            http = http.tls_certs_only(certificates);
        }
        if let Some(path) = &config.client_cert_file {
            let identity = Identity::from_pem(&read(path)?);
            let identity = identity
                .map_err(|error| unusable(format!("{}: no certificate with its key", path.display()), Some(error)))?;
            http = http.identity(identity);
        }
        let http = http.build().map_err(|error| unusable("TLS cannot be set up".to_owned(), Some(error)))?;
        let client = Client::new(http, &address, token, config.namespace.clone(), config.region.clone());
        Ok(Self {
            name: name.into(),
            owner,
            config,
            client: Arc::new(client),
            ended: Arc::new(Cache::new(16_384)),
            owned: Arc::new(Cache::new(16_384)),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    std::fs::read(path).map_err(|error| unusable(format!("{} cannot be read: {error}", path.display()), None))
}

fn unusable(text: String, source: Option<reqwest::Error>) -> EngineError {
    let error = EngineError::new(EngineErrorKind::Unsupported, Persistence::Permanent, "set up the connection", text);
    match source {
        Some(source) => error.caused_by(source),
        None => error,
    }
}

impl fmt::Debug for NomadEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NomadEngine").field("name", &self.name).field("address", &self.client.address()).finish()
    }
}

#[async_trait]
impl Engine for NomadEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            memory_limit: true,
            cpu_limit: self.config.cpu_mhz.is_some(),
            pids_limit: true,
            files: true,
            secret_files: self.config.variables,
            secret_env: self.config.variables,
            out_of_memory_told: true,
            streams_apart: true,
            pull: true,
            adopt: true,
            file_owner: false,
            // Nomad's Docker driver stops to read when the container has ended, wherever it has got to.
            whole_output: false,
            output_after_stop: true,
            schedules: true,
        }
    }

    async fn ensure(&self, spec: &LaunchSpec, _progress: &LaunchProgress) -> Result<Handle, EngineError> {
        self.ensure_job(spec).await
    }

    async fn observe(
        &self,
        of: &[Handle],
    ) -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError> {
        self.observe_jobs(of).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        changes::watch(self.client.clone())
    }

    async fn list(&self) -> Result<Vec<Found>, EngineError> {
        self.list_jobs().await
    }

    async fn stop(&self, handle: &Handle, _grace: Duration) -> Result<(), EngineError> {
        self.stop_job(handle).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), EngineError> {
        self.remove_job(handle).await
    }

    fn logs(&self, handle: &Handle) -> LogStream {
        logs::follow(self.clone(), handle.clone())
    }

    async fn probe(&self) -> EngineHealth {
        // A policy for running jobs need not include what an agent tells of itself.
        let agent = self.client.get::<AgentSelf>(ASK_AGENT, "/v1/agent/self").await;
        let build = agent.ok().flatten().and_then(|agent| agent.member?.tags?.remove("build"));
        let useless = self.check().await.err().map(|error| error.detail).or_else(|| self.forbidden());
        match useless {
            None => {
                let version = Some(build.map_or_else(|| "Nomad".to_owned(), |build| format!("Nomad {build}")));
                EngineHealth { reachable: true, version, detail: self.wanting() }
            }
            detail => EngineHealth { reachable: false, version: None, detail },
        }
    }
}
