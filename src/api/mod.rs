//! The HTTP API: one file a resource, one function an endpoint.
//!
//! **Architecture Invariant:** HTTP status codes are known here (and in the dashboard) alone.

mod audit;
mod await_run;
mod callbacks;
mod channels;
mod docs;
mod drain;
pub(crate) mod engines;
mod events;
pub(crate) mod extract;
mod health;
mod jobs;
mod keys;
pub(crate) mod limits;
mod listen;
pub(crate) mod logs;
mod metrics;
pub(crate) mod notices;
mod observed;
mod problem;
mod projects;
mod registries;
mod registry_probe;
mod resolve;
mod revisions;
mod run_changes;
pub(crate) mod runs;
pub(crate) mod schedules;
mod secrets;
mod spans;
mod states;
pub(crate) mod tokens;
pub(crate) mod trigger;
pub mod types;
mod views;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
};
use quick_cache::sync::Cache;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use docs::document;
pub use extract::{JobRef, PROJECT_HEADER};
pub use listen::serve;
pub use observed::Observing;
pub use problem::Problem;
pub use spans::TraceRequests;

use crate::{
    auth::{Authenticator, Oidc, OidcSettings, TokenIssuerSettings, TokenIssuers},
    callbacks::TargetPolicy,
    domain::{Clock, Name, Project, ProjectId},
    logs::LogStore,
    metrics::{HttpMetrics, Instruments},
    monitor::{Scraper, Sender},
    runner::Runner,
    store::{Store, StoreError},
    vault::ProjectKeys,
};

/// Where everything lies.
pub const BASE: &str = "/api/v1";
/// The longest that a request may wait for a change.
pub const LONGEST_WAIT: Duration = Duration::from_secs(55);

/// What handlers need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

/// Settings of the API.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// How the service is reached from outside, for absolute links: `https://haulier.example.com`. By default taken
    /// from the request's `Host`.
    pub public_url: Option<String>,
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
    /// Where callbacks may go.
    pub callback_targets: TargetPolicy,
    /// Which registries the service itself may ask.
    pub registry_targets: TargetPolicy,
    /// Whether anybody may read the metrics.
    pub metrics_public: bool,
    /// How people sign in at the dashboard without a token.
    pub oidc: Option<OidcSettings>,
    /// Whose tokens are believed besides our own.
    pub issuers: Vec<TokenIssuerSettings>,
}

/// The parts of [`Api`].
#[derive(Debug)]
pub struct Inner {
    pub(crate) store: Store,
    pub(crate) runner: Runner,
    pub(crate) keys: ProjectKeys,
    pub(crate) logs: LogStore,
    pub(crate) auth: Authenticator,
    pub(crate) clock: Arc<dyn Clock>,
    public_url: Option<String>,
    max_body_bytes: usize,
    callback_targets: TargetPolicy,
    registry_probe: registry_probe::RegistryProbe,
    metrics_public: bool,
    http: HttpMetrics,
    pub(crate) scraper: Arc<Scraper>,
    sender: Arc<Sender>,
    projects: Cache<ProjectId, Arc<Project>>,
    jobs: Cache<(ProjectId, JobRef), Arc<resolve::ResolvedJob>>,
    pub(crate) shutdown: tokio_util::sync::CancellationToken,
}

impl std::ops::Deref for Api {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl Api {
    /// An API over these parts.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        store: Store,
        runner: Runner,
        keys: ProjectKeys,
        logs: LogStore,
        sender: Arc<Sender>,
        clock: Arc<dyn Clock>,
        config: ApiConfig,
    ) -> anyhow::Result<Self> {
        let oidc = config.oidc.map(|settings| Oidc::new(settings, Arc::clone(&clock))).transpose()?;
        let issuers = TokenIssuers::new(config.issuers, Arc::clone(&clock))?;
        let auth = Authenticator::new(store.clone(), Arc::clone(&clock), oidc, issuers);
        let registry_probe = registry_probe::RegistryProbe::new(config.registry_targets)?;
        let (runs, timings, http) = (runner.metrics().clone(), store.timings().clone(), HttpMetrics::default());
        let instruments = Instruments { runs, logs: logs.metrics(), store: timings, http: http.clone() };
        let scraper = Scraper::new(store.clone(), runner.clone(), Arc::clone(&clock), &instruments);
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                runner,
                keys,
                logs,
                auth,
                clock,
                public_url: config.public_url,
                max_body_bytes: config.max_body_bytes,
                callback_targets: config.callback_targets,
                registry_probe,
                metrics_public: config.metrics_public,
                http,
                scraper: Arc::new(scraper),
                sender,
                projects: Cache::new(1000),
                jobs: Cache::new(5000),
                shutdown: tokio_util::sync::CancellationToken::new(),
            }),
        })
    }

    /// Answers waiting requests with what is known, because the service is about to end.
    pub fn end_waiting(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn project_by_id(&self, id: ProjectId) -> Result<Option<Arc<Project>>, StoreError> {
        if let Some(project) = self.projects.get(&id) {
            return Ok(Some(project));
        }
        // On the heap, here and below: each request has room for this, and hardly one comes to it.
        let Some((project, _)) = Box::pin(self.store.project_by_id(id)).await? else { return Ok(None) };
        let project = Arc::new(project);
        self.projects.insert(id, Arc::clone(&project));
        Ok(Some(project))
    }

    pub(crate) async fn project_by_name(&self, name: &Name) -> Result<Option<Arc<Project>>, StoreError> {
        // Names of projects never change, and there are few.
        if let Some((_, project)) = self.projects.iter().find(|(_, project)| project.name == *name) {
            return Ok(Some(project));
        }
        Ok(Box::pin(self.store.project(name)).await?.map(|(project, _)| {
            let project = Arc::new(project);
            self.projects.insert(project.id, Arc::clone(&project));
            project
        }))
    }

    /// All routes, and what answers where there is none.
    pub fn router(&self, no_route: Router) -> Router {
        let (router, _) = routes().split_for_parts();
        let nosniff =
            SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        router
            .merge(docs::router())
            .fallback_service(no_route)
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
            .layer(Observing(metrics::Measure(self.http.clone())))
            .layer(DefaultBodyLimit::max(self.max_body_bytes))
            .layer(nosniff)
            .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
                use axum::response::IntoResponse;
                Problem::internal(&std::io::Error::other("a handler panicked")).into_response()
            }))
            .with_state(self.clone())
    }
}

/// All routes with their descriptions.
fn routes() -> OpenApiRouter<Api> {
    let api = OpenApiRouter::new()
        .routes(routes!(jobs::list, jobs::create))
        .routes(routes!(jobs::read, jobs::apply, jobs::patch, jobs::archive))
        .routes(routes!(revisions::list))
        .routes(routes!(revisions::read))
        .routes(routes!(revisions::restore))
        .routes(routes!(trigger::trigger))
        .routes(routes!(schedules::read))
        .routes(routes!(notices::baseline))
        .routes(routes!(notices::list))
        .routes(routes!(notices::acknowledge))
        .routes(routes!(channels::list))
        .routes(routes!(channels::set, channels::remove))
        .routes(routes!(channels::test))
        .routes(routes!(states::read, states::set))
        .routes(routes!(states::history))
        .routes(routes!(runs::list))
        .routes(routes!(runs::read))
        .routes(routes!(await_run::read))
        .routes(routes!(callbacks::read))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::cancel_matching))
        .routes(routes!(trigger::retry))
        .routes(routes!(events::timeline))
        .routes(routes!(logs::read))
        .routes(routes!(logs::stream))
        .routes(routes!(run_changes::stream))
        .routes(routes!(limits::list))
        .routes(routes!(limits::read, limits::set, limits::remove))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::remove))
        .routes(routes!(registries::list))
        .routes(routes!(registries::set, registries::remove))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::read, projects::patch))
        .routes(routes!(keys::list))
        .routes(routes!(keys::rotate))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::whoami))
        .routes(routes!(callbacks::secret))
        .routes(routes!(engines::list))
        .routes(routes!(audit::list));
    OpenApiRouter::with_openapi(docs::base())
        .nest(BASE, api)
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::read))
}
