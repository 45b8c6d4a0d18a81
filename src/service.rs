//! Puts the parts together: database, keys, engines, runner, API, one listener.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures::future::OptionFuture;
use secrecy::{ExposeSecret, SecretString};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Api, ApiConfig},
    auth::TokenSecret,
    background::Background,
    callbacks::Deliverer,
    domain::{Clock, InstallationId, Name, Project, ProjectId, Scope, SystemClock, Token, TokenId},
    engines::EngineError,
    logs::{LogLimits, LogStore, ObjectSettings, Objects},
    monitor::{Courier, MetricsPush, Sender, Watcher},
    runner::{EngineEntry, Engines, HistoryLimits, Runner},
    store::Store,
    telemetry::{Exporter, TelemetrySettings, Tracer},
    vault::{Keyring, ProjectKeys},
    web,
};

/// How long requests under way may take when the service ends.
const GOODBYE: Duration = Duration::from_secs(10);

/// Makes the engines, once it is known whose they are.
pub type MakeEngines = Box<dyn FnOnce(InstallationId) -> anyhow::Result<Vec<(String, EngineEntry)>> + Send>;

/// What a service is made of.
pub struct Parts {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where all that has no place of its own lies.
    pub data_dir: PathBuf,
    /// `sqlite:PATH` or `postgres://…`.
    pub database_url: SecretString,
    /// The master keys.
    pub keyring: Keyring,
    /// The file that they came from, if they did.
    pub key_file: Option<PathBuf>,
    /// The first admin token; made when it is left out and there is none.
    pub admin_token: Option<SecretString>,
    /// The engines.
    pub engines: MakeEngines,
    /// The name of the engine that jobs use when they name none.
    pub default_engine: String,
    /// Where logs lie, if not in the data directory. Services that share a database share it, too, or an object store.
    pub logs_dir: Option<PathBuf>,
    /// The object store in which logs are kept, if there is one.
    pub logs_store: Option<ObjectSettings>,
    /// Bounds of logs.
    pub log_limits: LogLimits,
    /// How long ended runs and the audit log are kept.
    pub history: HistoryLimits,
    /// Where traces and metrics are sent; `None` = nowhere.
    pub telemetry: Option<TelemetrySettings>,
    /// Settings of the API.
    pub api: ApiConfig,
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    new_admin_token: Option<TokenSecret>,
    api: Api,
    runner: Runner,
    deliverer: Deliverer,
    watcher: Watcher,
    courier: Courier,
    spans: Option<Background>,
    metrics: Option<MetricsPush>,
    store: Store,
    stop: CancellationToken,
    server: JoinHandle<()>,
    /// Held for as long as the service runs: two services on one data directory would write the same logs.
    _lock: std::fs::File,
}

impl Service {
    /// Starts a service. When this returns, it answers.
    ///
    /// # Errors
    /// A part cannot be started: says which, and what to do.
    pub async fn start(parts: Parts) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        std::fs::create_dir_all(&parts.data_dir)
            .with_context(|| format!("the data directory {} cannot be made", parts.data_dir.display()))?;
        let lock = lock(&parts.data_dir)?;
        let store = Store::open(&parts.database_url)
            .await
            .context("the database cannot be opened: see HAULIER_DATABASE_URL")?;
        // Of several services on one database, none may change keys that the others do not have yet.
        let key_file = parts.key_file.filter(|_| !store.is_shared());
        let keys = ProjectKeys::new(parts.keyring, store.clone()).rotating_in(key_file);
        ensure_default_project(&store, &keys, clock.as_ref()).await?;
        let new_admin_token = ensure_admin(&store, parts.admin_token, clock.as_ref()).await?;
        let logs_dir = parts.logs_dir.clone().unwrap_or_else(|| parts.data_dir.join("logs"));
        let mut logs = LogStore::open(logs_dir, parts.log_limits).context("the logs cannot be opened")?;
        if parts.logs_dir.is_some() {
            logs.claim_directory(store.installation()).context("the logs cannot be kept there: see logs.dir")?;
        }
        if let Some(settings) = &parts.logs_store {
            logs = logs.with_objects(Objects::open(settings).context("see logs.store and logs.store_options")?);
            logs.claim_objects(store.installation()).await.context("the logs cannot be kept there: see logs.store")?;
        }
        let engines = (parts.engines)(store.installation())?;
        anyhow::ensure!(
            engines.iter().any(|(name, _)| *name == parts.default_engine),
            "the default engine {} is not configured: see default_engine",
            parts.default_engine
        );
        let capacities = engines.iter().filter_map(|(name, entry)| Some((name.clone(), entry.max_running?))).collect();
        store.set_engine_capacities(capacities).await.context("the engines cannot be stored")?;
        let engines = Engines::new(parts.default_engine, engines);
        let exporter = parts.telemetry.as_ref().map(Exporter::new).transpose().context("telemetry cannot be sent")?;
        let (tracer, spans) = match (&parts.telemetry, &exporter) {
            (Some(settings), Some(exporter)) if settings.traces => {
                let (tracer, spans) = Tracer::start(exporter.clone(), settings.sample_ratio, Arc::clone(&clock));
                (tracer, Some(spans))
            }
            _ => (Tracer::default(), None),
        };
        let runner = Runner::new(
            store.clone(),
            engines,
            keys.clone(),
            logs.clone(),
            parts.history,
            Arc::clone(&clock),
            tracer.clone(),
        );
        let listener = TcpListener::bind(parts.listen)
            .await
            .with_context(|| format!("cannot listen on {}: is it in use? see --listen", parts.listen))?;
        let address = listener.local_addr()?;
        runner.start();
        let deliverer = Deliverer::start(
            store.clone(),
            keys.clone(),
            runner.hub(),
            Arc::clone(&clock),
            parts.api.callback_targets.clone(),
        )?;
        let watcher = Watcher::start(store.clone(), runner.clone(), Arc::clone(&clock), parts.data_dir, parts.logs_dir);
        let (policy, url) = (parts.api.callback_targets.clone(), parts.api.public_url.clone());
        let sender = Arc::new(Sender::new(store.clone(), keys.clone(), Arc::clone(&clock), policy, url)?);
        let courier = Courier::start(store.clone(), Arc::clone(&sender), Arc::clone(&clock));
        let api = Api::new(store.clone(), runner.clone(), keys, logs, sender, clock, parts.api)?;
        let stop = CancellationToken::new();
        let routes = api.router(web::no_route()).merge(web::router(&api));
        let routes = if tracer.is_on() { routes.layer(api::Observing(api::TraceRequests(tracer))) } else { routes };
        let every = parts.telemetry.and_then(|settings| settings.metrics_interval);
        let metrics =
            exporter.zip(every).map(|(exporter, every)| MetricsPush::start(Arc::clone(&api.scraper), exporter, every));
        let server = tokio::spawn(api::serve(listener, routes, stop.clone()));
        Ok(Self {
            address,
            new_admin_token,
            api,
            runner,
            deliverer,
            watcher,
            courier,
            spans,
            metrics,
            store,
            stop,
            server,
            _lock: lock,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin token that was made because there was none. Show it once.
    #[must_use]
    pub const fn new_admin_token(&self) -> Option<&TokenSecret> {
        self.new_admin_token.as_ref()
    }

    /// How many workloads there are on its engines, those that have ended and are not removed yet included.
    ///
    /// # Errors
    /// An engine cannot tell.
    pub async fn workloads(&self) -> Result<usize, EngineError> {
        let mut all = 0;
        for (_, entry) in self.runner.engines().iter() {
            all += entry.engine.list().await?.len();
        }
        Ok(all)
    }

    /// Ends the service: answers what waits, leaves containers as they are, closes the database.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.api.end_waiting();
        if tokio::time::timeout(GOODBYE, self.server).await.is_err() {
            tracing::warn!("some requests did not end in time");
        }
        self.runner.shutdown().await;
        self.deliverer.shutdown().await;
        self.watcher.shutdown().await;
        self.courier.shutdown().await;
        let metrics = OptionFuture::from(self.metrics.map(MetricsPush::shutdown));
        let spans = OptionFuture::from(self.spans.map(|spans| spans.shutdown("sending spans")));
        tokio::join!(metrics, spans);
        self.store.close().await;
    }
}

fn lock(data_dir: &std::path::Path) -> anyhow::Result<std::fs::File> {
    use anyhow::Context as _;
    let path = data_dir.join("lock");
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => anyhow::bail!(
            "another service uses the data directory {}: stop it, or choose another with --data-dir",
            data_dir.display()
        ),
    }
}

async fn ensure_default_project(store: &Store, keys: &ProjectKeys, clock: &dyn Clock) -> anyhow::Result<()> {
    let name = Name::default_project();
    match store.project(&name).await? {
        // Opening its key tells a wrong master key now, not at the first run.
        Some((project, _)) => Ok(keys.check(project.id).await?),
        None => {
            let id = ProjectId::generate();
            let project = Project { id, name, images: Vec::new(), created_at: clock.now() };
            store.create_project(&project, keys.new_data_key(id)?).await?;
            Ok(())
        }
    }
}

/// Makes sure that somebody can administer the installation; the token's secret when it was made here.
async fn ensure_admin(
    store: &Store,
    chosen: Option<SecretString>,
    clock: &dyn Clock,
) -> anyhow::Result<Option<TokenSecret>> {
    let (secret, made) = match chosen {
        Some(text) => {
            anyhow::ensure!(
                !text.expose_secret().is_empty(),
                "HAULIER_ADMIN_TOKEN is empty: unset it, or give a token"
            );
            let secret = TokenSecret::chosen(&text);
            (
                secret.ok_or_else(|| {
                    anyhow::anyhow!("HAULIER_ADMIN_TOKEN is too short or has spaces: use 16 visible characters or more")
                })?,
                false,
            )
        }
        None if store.has_tokens().await? => return Ok(None),
        None => (TokenSecret::generate()?, true),
    };
    let token = Token {
        id: TokenId::generate(),
        name: "admin".parse()?,
        project: None,
        scopes: vec![Scope::Admin],
        jobs: Vec::new(),
        created_at: clock.now(),
        expires_at: None,
        revoked_at: None,
    };
    store.create_token(&token, secret.hash()).await?;
    Ok(made.then_some(secret))
}
