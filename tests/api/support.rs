//! A service of a test's own.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use haulier::{
    api::{ApiConfig, types::RunView},
    auth::{OidcSettings, TokenIssuerSettings},
    callbacks::TargetPolicy,
    client::Client,
    domain::{JobSpec, RunId, RunRequest, RunState},
    engines::simulated::{SimulatedControl, SimulatedEngine},
    logs::{LogLimits, ObjectSettings},
    runner::{EngineEntry, HistoryLimits},
    service::{Parts, Service},
    telemetry::TelemetrySettings,
    vault::{Keyring, MasterKey},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

pub const ADMIN: &str = "an-admin-token-for-tests";
/// Whatever is waited for must come within this time, also on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct TestApp {
    pub client: Client,
    pub engine: SimulatedControl,
    pub address: SocketAddr,
    service: Option<Service>,
    dir: Arc<TempDir>,
    database: String,
    /// The master keys that it is given.
    pub key: SecretString,
    settings: Settings,
}

/// What tests set otherwise than a service has it by itself.
#[derive(Clone, Default)]
pub struct Settings {
    pub log_limits: LogLimits,
    /// Where logs lie, if not with the other data.
    pub logs_dir: Option<PathBuf>,
    pub logs_store: Option<ObjectSettings>,
    pub history: HistoryLimits,
    pub oidc: Option<OidcSettings>,
    pub telemetry: Option<TelemetrySettings>,
    pub issuers: Vec<TokenIssuerSettings>,
    /// The master keys are in a file of its own, and not given.
    pub key_file: bool,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub async fn start_with_logs(log_limits: LogLimits) -> Self {
        Self::start_with(Settings { log_limits, ..Settings::default() }).await
    }

    pub async fn start_with(settings: Settings) -> Self {
        let dir = TempDir::new().unwrap();
        let database = format!("sqlite:{}", dir.path().join("haulier.db").display());
        Self::start_on(dir, database, settings).await
    }

    pub async fn start_on(dir: TempDir, database: String, settings: Settings) -> Self {
        let key = MasterKey::generate().unwrap().to_text();
        let engine = SimulatedControl::default();
        let dir = Arc::new(dir);
        let (service, client) = serve(&dir, &database, &key, &engine, &settings).await;
        Self { address: service.address(), client, engine, service: Some(service), dir, database, key, settings }
    }

    /// Ends the service and starts another on the same data, with the same engine.
    pub async fn restart(&mut self) {
        self.stop().await;
        let (service, client) = serve(&self.dir, &self.database, &self.key, &self.engine, &self.settings).await;
        (self.address, self.client, self.service) = (service.address(), client, Some(service));
    }

    /// The same, with other settings.
    pub async fn restart_with(&mut self, settings: Settings) {
        self.settings = settings;
        self.restart().await;
    }

    /// A second service on the same database and engine, with a data directory of its own.
    pub async fn twin(&self) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let (service, client) = serve(&dir, &self.database, &self.key, &self.engine, &self.settings).await;
        Self {
            address: service.address(),
            client,
            engine: self.engine.clone(),
            service: Some(service),
            dir,
            database: self.database.clone(),
            key: self.key.clone(),
            settings: self.settings.clone(),
        }
    }

    /// Where the service keeps its data.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub async fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.shutdown().await;
        }
    }

    pub async fn apply(&self, spec: Value) {
        let spec: JobSpec = serde_json::from_value(spec).unwrap();
        self.client.apply_job(&spec).await.unwrap();
    }

    /// Registers a job whose script is these words.
    pub async fn script(&self, name: &str, args: &[&str]) {
        self.apply(json!({"name": name, "image": "sim/ok", "args": args})).await;
    }

    pub async fn trigger(&self, job: &str) -> RunId {
        self.client.trigger(job, &RunRequest::default(), None).await.unwrap().run.id
    }

    /// Triggers a run and waits for its end.
    pub async fn outcome(&self, job: &str) -> RunView {
        let run = self.trigger(job).await;
        self.end(run).await
    }

    pub async fn end(&self, run: RunId) -> RunView {
        tokio::time::timeout(PATIENCE, self.client.wait(run)).await.expect("the run ends").unwrap()
    }

    pub async fn until(&self, run: RunId, state: RunState) -> RunView {
        let mut seen = self.client.run(run, 0).await.unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while seen.state != state {
            assert!(tokio::time::Instant::now() < deadline, "{run} is {:?}, not {state:?}", seen.state);
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen = self.client.run(run, 0).await.unwrap();
        }
        seen
    }

    /// Sends a body as it is; the answer's status and JSON.
    pub async fn raw(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, path).header("content-type", "application/json").body(body);
        answer(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.request(reqwest::Method::GET, path).send().await.unwrap()).await
    }
}

pub async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let body: Value = response.json().await.unwrap_or(Value::Null);
    if status >= 400 {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{status} {body}");
        for field in ["type", "title", "status", "code", "detail", "errors"] {
            assert!(!body[field].is_null(), "{field} is missing in {body}");
        }
        assert_eq!(body["status"], status);
        assert_ne!(body["detail"], "");
    }
    (status, body)
}

/// Pointers of the fields that the answer complains about.
pub fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

async fn serve(
    dir: &TempDir,
    database: &str,
    key: &SecretString,
    engine: &SimulatedControl,
    settings: &Settings,
) -> (Service, Client) {
    let Settings { log_limits, logs_dir, logs_store, history, oidc, telemetry, issuers, key_file } = settings.clone();
    let key_file = key_file.then(|| dir.path().join("master.key"));
    let keyring = key_file.as_deref().map_or_else(|| Keyring::parse(key), Keyring::read_or_create_file).unwrap();
    let engine = engine.clone();
    let parts = Parts {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: dir.path().to_owned(),
        database_url: database.into(),
        keyring,
        key_file,
        admin_token: Some(ADMIN.into()),
        engines: Box::new(move |owner| {
            let engine = SimulatedEngine::new(owner, engine);
            Ok(vec![("simulated".to_owned(), EngineEntry::new("simulated", Arc::new(engine)))])
        }),
        default_engine: "simulated".to_owned(),
        logs_dir,
        logs_store,
        log_limits,
        history,
        telemetry,
        api: ApiConfig {
            public_url: None,
            max_body_bytes: 1 << 20, // Receivers live on this one address of the loopback network.
            callback_targets: TargetPolicy::new(vec!["127.0.0.1/32".parse().unwrap()]),
            registry_targets: TargetPolicy::of_setting(vec!["127.0.0.1/32".parse().unwrap()], "registries.allow"),
            metrics_public: false,
            oidc,
            issuers,
        },
    };
    let service = Service::start(parts).await.unwrap();
    let client = Client::new(&format!("http://{}", service.address()), ADMIN.into(), None).unwrap();
    (service, client)
}
