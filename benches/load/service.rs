//! The service in this process, as it is in production but for where it runs.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use haulier::{
    api::ApiConfig,
    callbacks::TargetPolicy,
    engines::{
        docker::{DockerConfig, DockerEngine},
        simulated::{SimulatedControl, SimulatedEngine},
    },
    logs::LogLimits,
    runner::{EngineEntry, HistoryLimits},
    service::{Parts, Service},
    vault::{Keyring, MasterKey},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{docker::RawDocker, http::Connection};

/// The token that everybody uses here.
pub const TOKEN: &str = "an-admin-token-for-benchmarks";

/// A running service.
pub struct Bench {
    service: Service,
    folder: TempDir,
}

impl Bench {
    /// Starts a service with a simulated engine, and with a real one if there is one.
    pub async fn start(url: &str, docker: Option<&RawDocker>) -> Self {
        Self::start_keeping(url, docker, HistoryLimits::default()).await
    }

    /// The same, with a history that is kept for so long.
    pub async fn start_keeping(url: &str, docker: Option<&RawDocker>, history: HistoryLimits) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let parts = Parts { history, ..parts(url, folder.path(), docker.map(|docker| docker.host.clone())) };
        Self { service: Service::start(parts).await.expect("the service starts"), folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Its data directory.
    #[cfg(target_os = "linux")]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A connection of one's own.
    pub async fn connection(&self) -> Connection {
        Connection::open(self.address(), TOKEN).await
    }

    /// Registers a job.
    pub async fn job(&self, name: &str, mut spec: Value) {
        spec["name"] = json!(name);
        self.connection().await.json("PUT", &format!("/api/v1/jobs/{name}"), &spec.to_string()).await;
    }

    /// Ends it.
    pub async fn stop(self) {
        self.service.shutdown().await;
    }
}

#[cfg(target_os = "linux")]
fn embedded(owner: haulier::domain::InstallationId, root: &std::path::Path) -> anyhow::Result<EngineEntry> {
    use haulier::engines::embedded::{EmbeddedConfig, EmbeddedEngine};
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_haulier"));
    let engine = EmbeddedEngine::open("embedded", owner, EmbeddedConfig::default(), root, program)?;
    Ok(EngineEntry::new("embedded", Arc::new(engine)))
}

fn parts(url: &str, folder: &std::path::Path, docker: Option<String>) -> Parts {
    let root = folder.join("embedded");
    Parts {
        listen: "127.0.0.1:0".parse().expect("an address"),
        data_dir: folder.to_owned(),
        database_url: url.into(),
        keyring: keyring(url),
        key_file: None,
        admin_token: Some(TOKEN.into()),
        engines: Box::new(move |owner| {
            let engine = SimulatedEngine::new(owner, SimulatedControl::default());
            let mut engines = vec![("simulated".to_owned(), EngineEntry::new("simulated", Arc::new(engine)))];
            #[cfg(target_os = "linux")]
            engines.push(("embedded".to_owned(), embedded(owner, &root)?));
            if let Some(host) = docker {
                let config = DockerConfig { host: Some(host), ..DockerConfig::default() };
                let engine = DockerEngine::connect("docker", owner, config)?;
                engines.push(("docker".to_owned(), EngineEntry::new("docker", Arc::new(engine))));
            }
            Ok(engines)
        }),
        default_engine: "simulated".to_owned(),
        logs_dir: None,
        logs_store: None,
        log_limits: LogLimits::default(),
        history: HistoryLimits::default(),
        telemetry: None,
        api: ApiConfig {
            public_url: None,
            max_body_bytes: 1 << 20,
            callback_targets: TargetPolicy::default(),
            registry_targets: TargetPolicy::default(),
            metrics_public: false,
            oidc: None,
            issuers: Vec::new(),
        },
    }
}

/// Where the master key of a SQLite database lies: all services on it need the same.
pub fn key_file(url: &str) -> PathBuf {
    PathBuf::from(format!("{}.key", url.trim_start_matches("sqlite:")))
}

fn keyring(url: &str) -> Keyring {
    if url.starts_with("sqlite:") {
        return Keyring::read_or_create_file(&key_file(url)).expect("a key file");
    }
    Keyring::new(MasterKey::generate().expect("a key"), Vec::new())
}
