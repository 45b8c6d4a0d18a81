//! `haulier serve`: from the configuration to a running service, and its end.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    thread,
};

use anyhow::Context as _;
use futures::{FutureExt, future::select_all};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::Level;
use tracing_subscriber::{EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::{
    exit::{INTERRUPTED, Usage},
    output::Output,
};
#[cfg(target_os = "linux")]
use crate::engines::embedded::{EmbeddedConfig, EmbeddedEngine};
use crate::{
    api::ApiConfig,
    callbacks::TargetPolicy,
    config::{Config, EngineConfig, EngineKind, LogFormat, MasterKeySource, ServeArgs, Surroundings},
    domain::InstallationId,
    engines::{
        docker::{DockerConfig, DockerEngine},
        kubernetes::{KubernetesConfig, KubernetesEngine},
        nomad::{NomadConfig, NomadEngine},
        simulated::SimulatedEngine,
        swarm::{SwarmConfig, SwarmEngine},
    },
    runner::EngineEntry,
    service::{Parts, Service},
    vault::Keyring,
};

/// The service's runtime: one worker a core, and no fewer than two.
pub(super) fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads(cores.max(2)).thread_name("haulier").enable_all().build()
}

/// Runs the service until it is told to end.
pub(super) async fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args, &Surroundings::of_this_process()).map_err(|error| Usage(error.to_string()))?;
    start_log(config.server.log_format, wanted_log().as_deref())?;
    // Listened for from here on: a signal that comes during the start ends the service too.
    let mut end = EndSignals::listen([SignalKind::interrupt(), SignalKind::terminate()])?;
    let new_key = new_key_file(&config);
    let service = tokio::select! {
        service = start(config) => service?,
        () = end.next() => return Ok(()),
    };
    welcome(&service, new_key.as_deref());
    end.next().await;
    tracing::info!("ending; containers go on, and the next service takes them up");
    tokio::select! {
        () = service.shutdown() => Ok(()),
        () = end.next() => {
            tracing::warn!("told twice to end: leaving at once");
            std::process::exit(INTERRUPTED.into())
        }
    }
}

/// The signals that end a service. From the first moment on none is lost.
pub(super) struct EndSignals(Vec<Signal>);

impl EndSignals {
    pub(super) fn listen(kinds: impl IntoIterator<Item = SignalKind>) -> io::Result<Self> {
        kinds.into_iter().map(signal).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for the next of them.
    pub(super) async fn next(&mut self) {
        select_all(self.0.iter_mut().map(|signal| signal.recv().boxed())).await;
    }
}

/// Starts a service as its configuration says.
pub(super) async fn start(config: Config) -> anyhow::Result<Service> {
    let Config {
        server,
        storage,
        secrets,
        logs,
        history,
        callbacks,
        registries,
        dashboard,
        issuers,
        telemetry,
        engines,
    } = config;
    make_data_dir(&storage.data_dir)?;
    let key_file = secrets.master_key.file().map(std::path::Path::to_owned);
    let keyring = keyring(secrets.master_key).await?;
    let default_engine = engines.default.to_string();
    let engines_dir = storage.data_dir.clone();
    Service::start(Parts {
        listen: server.listen,
        data_dir: storage.data_dir,
        database_url: storage.database_url,
        keyring,
        key_file,
        admin_token: secrets.admin_token,
        engines: Box::new(move |owner| {
            let made = engines.all.iter().map(|(name, config)| {
                let most = config.max_running.map(std::num::NonZeroU32::get);
                Ok((name.to_string(), make_engine(name, config, owner, &engines_dir)?.at_most(most)))
            });
            made.collect()
        }),
        default_engine,
        logs_dir: logs.dir,
        logs_store: logs.store,
        log_limits: logs.limits,
        history: history.limits,
        telemetry: telemetry.otlp,
        api: ApiConfig {
            public_url: server.public_url,
            max_body_bytes: server.max_body_bytes,
            callback_targets: TargetPolicy::new(callbacks.allow),
            registry_targets: TargetPolicy::of_setting(registries.allow, "registries.allow"),
            metrics_public: server.metrics_public,
            oidc: dashboard.oidc,
            issuers: issuers.all,
        },
    })
    .await
}

/// The data directory is for its owner alone: it holds the master key and what scripts wrote.
fn make_data_dir(path: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("the data directory {} cannot be made: see --data-dir", path.display()))
}

async fn keyring(source: MasterKeySource) -> anyhow::Result<Keyring> {
    let read = tokio::task::spawn_blocking(move || source.keyring()).await?;
    read.context("the master key cannot be used")
}

/// The key file that the start is about to make.
fn new_key_file(config: &Config) -> Option<std::path::PathBuf> {
    match &config.secrets.master_key {
        MasterKeySource::Default(path) if !path.exists() => Some(path.clone()),
        _ => None,
    }
}

fn make_engine(
    name: &str,
    config: &EngineConfig,
    owner: InstallationId,
    data_dir: &std::path::Path,
) -> anyhow::Result<EngineEntry> {
    let unusable = || format!("[engines.{name}] cannot be used");
    match config.kind {
        #[cfg(target_os = "linux")]
        EngineKind::Embedded => {
            let settings: EmbeddedConfig = settings(config).with_context(unusable)?;
            let program = std::env::current_exe().context("this program cannot find itself")?;
            let root = settings.root(data_dir);
            let engine = EmbeddedEngine::open(name, owner, settings, &root, &program).with_context(unusable)?;
            Ok(EngineEntry::new("embedded", Arc::new(engine)))
        }
        #[cfg(not(target_os = "linux"))]
        EngineKind::Embedded => {
            let _ = data_dir;
            anyhow::bail!("[engines.{name}]: containers without a daemon need Linux: use kind = \"docker\" here")
        }
        EngineKind::Docker => {
            let settings: DockerConfig = settings(config).with_context(unusable)?;
            let engine = DockerEngine::connect(name, owner, settings).with_context(unusable)?;
            Ok(EngineEntry::new("docker", Arc::new(engine)))
        }
        EngineKind::Kubernetes => {
            let settings: KubernetesConfig = settings(config).with_context(unusable)?;
            let engine = KubernetesEngine::connect(name, owner, settings).with_context(unusable)?;
            Ok(EngineEntry::new("kubernetes", Arc::new(engine)))
        }
        EngineKind::Swarm => {
            let settings: SwarmConfig = settings(config).with_context(unusable)?;
            let engine = SwarmEngine::connect(name, owner, settings).with_context(unusable)?;
            Ok(EngineEntry::new("swarm", Arc::new(engine)))
        }
        EngineKind::Nomad => {
            let settings: NomadConfig = settings(config).with_context(unusable)?;
            let engine = NomadEngine::connect(name, owner, settings).with_context(unusable)?;
            Ok(EngineEntry::new("nomad", Arc::new(engine)))
        }
        EngineKind::Simulated => {
            anyhow::ensure!(config.settings.is_empty(), "[engines.{name}]: a simulated engine has no settings");
            Ok(EngineEntry::new("simulated", Arc::new(SimulatedEngine::alone(owner).0)))
        }
    }
}

/// What the engine's own kind reads from its table.
fn settings<T: serde::de::DeserializeOwned>(config: &EngineConfig) -> Result<T, toml::de::Error> {
    config.settings.clone().try_into()
}

/// Which logs are wanted: `HAULIER_LOG`, else `RUST_LOG`, says it.
fn wanted_log() -> Option<String> {
    ["HAULIER_LOG", "RUST_LOG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
}

/// Logs go to stderr: the wanted ones, by default from `info` on.
pub(super) fn start_log(format: LogFormat, wanted: Option<&str>) -> anyhow::Result<()> {
    // Each try of its requests is no news.
    let filter = EnvFilter::try_new(wanted.unwrap_or("info,object_store=warn"))
        .map_err(|error| Usage(format!("HAULIER_LOG cannot be read: {error}; write it like info,haulier=debug")))?;
    // Below this, request bodies are printed, and with them the secrets that containers get.
    let talkative = |target: &str| ["bollard", "kube", "object_store"].iter().any(|one| target.starts_with(one));
    let discreet = filter_fn(move |about| !talkative(about.target()) || *about.level() <= Level::INFO);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = match format {
        LogFormat::Text => fmt::layer().with_ansi(colours).with_writer(io::stderr).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(discreet).with(lines).try_init()?;
    Ok(())
}

/// Says where the service is, and what is told only once.
fn welcome(service: &Service, new_key: Option<&std::path::Path>) {
    let url = format!("http://{}", service.address());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "listening on {url}");
    if let Some(path) = new_key {
        Output::important(format_args!(
            "\nA master key was made: {}\nBack it up apart from the database: without it, no secret can be read again.",
            path.display()
        ));
    }
    if let Some(token) = service.new_admin_token() {
        Output::important(format_args!(
            "\nAn admin token was made. It is shown only now:\n\n  export HAULIER_URL={url}\n  export HAULIER_TOKEN={}\n\n\
             Then try: haulier doctor",
            token.expose()
        ));
    }
}
