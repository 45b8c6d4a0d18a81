//! The typed HTTP client, shared by the command line and the tests.

use std::time::Duration;

use futures::{Stream, StreamExt};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{BASE, PROJECT_HEADER, Problem, types::*},
    domain::{JobSpec, Name, NoticeId, RunId, RunRequest, Timestamp, TokenId},
    logs::LogRecord,
};

/// How long a request may take beyond what it asked to wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one long-poll waits, in seconds.
const POLL_SECONDS: u32 = 50;
/// How often a request that failed on the way, and that may be repeated, is repeated.
const TRIES: u32 = 4;

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The service refused it.
    #[error("{}{}", .0.detail, fields(.0))]
    Problem(Box<Problem>),
    /// The service could not be reached.
    #[error("cannot reach the service at {url}: {reason}; is it running? see --url / HAULIER_URL")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// Why not.
        reason: String,
    },
    /// Something answered that is not this service.
    #[error("what answered at {url} is not Haulier, or another version of it (status {status})")]
    NotHaulier {
        /// Where.
        url: String,
        /// Its status.
        status: u16,
    },
    /// The address or the token cannot be used.
    #[error("{0}")]
    Settings(String),
}

fn fields(problem: &Problem) -> String {
    match problem.errors.as_slice() {
        [] | [_] => String::new(),
        errors => errors.iter().map(|error| format!("\n  {}: {}", error.pointer, error.detail)).collect(),
    }
}

impl ClientError {
    /// The problem's code, if the service told one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// The HTTP status, if there was one.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            Self::NotHaulier { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Speaks to one service as one caller in one project. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: SecretString,
    project: Option<Name>,
}

/// A triggered run.
#[derive(Debug, Clone, PartialEq)]
pub struct Triggered {
    /// The run.
    pub run: RunView,
    /// Whether it was known before, by its idempotency key.
    pub replayed: bool,
}

impl Client {
    /// A client for the service at `url`, like `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(url: &str, token: SecretString, project: Option<Name>) -> Result<Self, ClientError> {
        let parsed = reqwest::Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        if parsed.is_none() {
            return Err(ClientError::Settings(format!("{url:?} is no address: write it like http://127.0.0.1:8080")));
        }
        let http = crate::outgoing::client()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| ClientError::Settings(error.to_string()))?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), token, project })
    }

    /// The service's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same caller in another project.
    #[must_use]
    pub fn in_project(&self, project: Name) -> Self {
        Self { project: Some(project), ..self.clone() }
    }

    /// A request to a path below `/api/v1`, with everything but a body.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{BASE}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose_secret()))
            .timeout(PATIENCE);
        match &self.project {
            Some(project) => request.header(PROJECT_HEADER, project.as_str()),
            None => request,
        }
    }

    /// Sends a request; what the service refuses is an error.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        match response.json::<Problem>().await {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(ClientError::NotHaulier { url: self.url.clone(), status: status.as_u16() }),
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes).map_err(|_| ClientError::NotHaulier { url: self.url.clone(), status })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, path)).await
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        let reason = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
        ClientError::Unreachable { url: self.url.clone(), reason }
    }

    /// Whether the service answers well at a path outside of `/api/v1`, like `/healthz`.
    ///
    /// # Errors
    /// It does not.
    pub async fn probe(&self, path: &str) -> Result<(), ClientError> {
        let request = self.http.get(format!("{}{path}", self.url)).timeout(Duration::from_secs(10));
        self.send(request).await.map(|_| ())
    }

    /// Who the caller is.
    ///
    /// # Errors
    /// See [`ClientError`]; so for all that follow.
    pub async fn whoami(&self) -> Result<WhoAmI, ClientError> {
        self.get("/whoami").await
    }

    /// Applies a specification; whether the job was made by it.
    pub async fn apply_job(&self, spec: &JobSpec) -> Result<(JobView, bool), ClientError> {
        let request = self.request(Method::PUT, &format!("/jobs/{}", spec.name)).json(spec);
        let response = self.send(request).await?;
        let created = response.status() == StatusCode::CREATED;
        let view = response.json().await.map_err(|error| self.unreachable(&error))?;
        Ok((view, created))
    }

    /// What applying a specification would come to: everything is checked, nothing changed.
    pub async fn dry_run(&self, spec: &JobSpec) -> Result<JobView, ClientError> {
        let request = self.request(Method::PUT, &format!("/jobs/{}", spec.name)).query(&[("dry_run", true)]);
        self.json(request.json(spec)).await
    }

    /// A page of jobs.
    pub async fn jobs(&self, archived: bool, cursor: Option<&str>) -> Result<Page<JobView>, ClientError> {
        let request = self.request(Method::GET, "/jobs").query(&[("archived", archived)]);
        self.json(with_cursor(request, cursor)).await
    }

    /// A job.
    pub async fn job(&self, job: &str) -> Result<JobView, ClientError> {
        self.get(&format!("/jobs/{}", escape(job))).await
    }

    /// Changes fields of a job.
    pub async fn patch_job(&self, job: &str, patch: &Value) -> Result<JobView, ClientError> {
        self.json(self.request(Method::PATCH, &format!("/jobs/{}", escape(job))).json(patch)).await
    }

    /// Archives a job.
    pub async fn archive_job(&self, job: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("/jobs/{}", escape(job)))).await.map(|_| ())
    }

    /// When a job starts by itself.
    pub async fn schedule(&self, job: &str) -> Result<ScheduleView, ClientError> {
        self.get(&format!("/jobs/{}/schedule", escape(job))).await
    }

    /// A page of a job's revisions.
    pub async fn revisions(&self, job: &str, cursor: Option<&str>) -> Result<Page<RevisionView>, ClientError> {
        let request = self.request(Method::GET, &format!("/jobs/{}/revisions", escape(job)));
        self.json(with_cursor(request, cursor)).await
    }

    /// Makes an earlier revision the present one.
    pub async fn restore_revision(&self, job: &str, number: u32) -> Result<JobView, ClientError> {
        self.json(self.request(Method::POST, &format!("/jobs/{}/revisions/{number}/restore", escape(job)))).await
    }

    /// Triggers a run. Without a key one is made, so that a request that broke off can be sent again.
    pub async fn trigger(&self, job: &str, request: &RunRequest, key: Option<&str>) -> Result<Triggered, ClientError> {
        let key = key.map_or_else(|| format!("client/{}", uuid::Uuid::now_v7()), str::to_owned);
        let mut tries = 1;
        let response = loop {
            let request = self.request(Method::POST, &format!("/jobs/{}/runs", escape(job))).json(request);
            match self.send(request.header("idempotency-key", &key)).await {
                Err(error) if tries < TRIES && is_passing(&error) => {
                    tokio::time::sleep(Duration::from_millis(200) * 2u32.pow(tries)).await;
                    tries += 1;
                }
                response => break response?,
            }
        };
        let replayed = response.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
        let run = response.json().await.map_err(|error| self.unreachable(&error))?;
        Ok(Triggered { run, replayed })
    }

    /// A run; waits up to `wait_seconds` for its end.
    pub async fn run(&self, run: RunId, wait_seconds: u32) -> Result<RunView, ClientError> {
        let request = self.request(Method::GET, &format!("/runs/{run}")).query(&[("wait", wait_seconds)]);
        self.json(request.timeout(PATIENCE + Duration::from_secs(u64::from(wait_seconds)))).await
    }

    /// Waits for a run's end, however long it takes and though the service may be away for a while.
    pub async fn wait(&self, run: RunId) -> Result<RunView, ClientError> {
        loop {
            let view = self.wait_for(run, POLL_SECONDS).await?;
            if view.finished {
                return Ok(view);
            }
        }
    }

    /// A run, at its end or as it is after so many seconds, though the service may be away for a while.
    pub async fn wait_for(&self, run: RunId, seconds: u32) -> Result<RunView, ClientError> {
        patiently(|| self.run(run, seconds)).await
    }

    /// A page of runs; `query` has the filters of `GET /runs`.
    pub async fn runs(&self, query: &[(&str, String)]) -> Result<Page<RunView>, ClientError> {
        self.json(self.request(Method::GET, "/runs").query(query)).await
    }

    /// Asks a run to end.
    pub async fn cancel(&self, run: RunId) -> Result<RunView, ClientError> {
        self.json(self.request(Method::POST, &format!("/runs/{run}/cancel"))).await
    }

    /// Asks runs to end.
    pub async fn cancel_matching(&self, request: &CancelRequest) -> Result<Cancelled, ClientError> {
        self.json(self.request(Method::POST, "/runs/cancel").json(request)).await
    }

    /// Runs a run anew.
    pub async fn retry(&self, run: RunId) -> Result<RunView, ClientError> {
        let key = format!("client/{}", uuid::Uuid::now_v7());
        self.json(self.request(Method::POST, &format!("/runs/{run}/retry")).header("idempotency-key", key)).await
    }

    /// A run's timeline.
    pub async fn timeline(&self, run: RunId) -> Result<Timeline, ClientError> {
        self.get(&format!("/runs/{run}/events")).await
    }

    /// A page of a run's log; waits up to `wait_seconds` when there is nothing yet.
    pub async fn log(&self, run: RunId, offset: u64, wait_seconds: u32) -> Result<LogView, ClientError> {
        let request = self.request(Method::GET, &format!("/runs/{run}/logs"));
        let request = request.query(&[("offset", offset), ("wait", u64::from(wait_seconds))]);
        self.json(request.timeout(PATIENCE + Duration::from_secs(u64::from(wait_seconds)))).await
    }

    /// A run's log from the first line; with `follow`, until the run has ended, though the service may be away for a
    /// while.
    pub fn log_records(&self, run: RunId, follow: bool) -> impl Stream<Item = Result<LogRecord, ClientError>> {
        let client = self.clone();
        let wait = if follow { POLL_SECONDS } else { 0 };
        futures::stream::try_unfold(Some(0), move |offset| {
            let client = client.clone();
            async move {
                let Some(offset) = offset else { return Ok::<_, ClientError>(None) };
                let page = if follow {
                    patiently(|| client.log(run, offset, wait)).await?
                } else {
                    client.log(run, offset, wait).await?
                };
                let last = page.end || (!follow && page.records.is_empty());
                let records = futures::stream::iter(page.records.into_iter().map(Ok));
                Ok(Some((records, (!last).then_some(page.next_offset))))
            }
        })
        .flat_map(|records| match records {
            Ok(records) => records.left_stream(),
            Err(error) => futures::stream::iter([Err(error)]).right_stream(),
        })
    }

    /// A job's state.
    pub async fn state(&self, job: &str) -> Result<StateView, ClientError> {
        self.get(&format!("/jobs/{}/state", escape(job))).await
    }

    /// Sets a job's state.
    pub async fn set_state(&self, job: &str, request: &StateRequest) -> Result<StateView, ClientError> {
        self.json(self.request(Method::PUT, &format!("/jobs/{}/state", escape(job))).json(request)).await
    }

    /// A page of a job's state's versions.
    pub async fn state_history(&self, job: &str, cursor: Option<&str>) -> Result<Page<StateView>, ClientError> {
        let request = self.request(Method::GET, &format!("/jobs/{}/state/history", escape(job)));
        self.json(with_cursor(request, cursor)).await
    }

    /// A page of limits.
    pub async fn limits(&self, cursor: Option<&str>) -> Result<Page<LimitView>, ClientError> {
        self.json(with_cursor(self.request(Method::GET, "/limits"), cursor)).await
    }

    /// A limit.
    pub async fn limit(&self, name: &str) -> Result<LimitView, ClientError> {
        self.get(&format!("/limits/{}", escape(name))).await
    }

    /// Sets a limit.
    pub async fn set_limit(&self, name: &str, capacity: u32) -> Result<LimitView, ClientError> {
        let request = self.request(Method::PUT, &format!("/limits/{}", escape(name)));
        self.json(request.json(&LimitRequest { capacity })).await
    }

    /// Removes a limit.
    pub async fn remove_limit(&self, name: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("/limits/{}", escape(name)))).await.map(|_| ())
    }

    /// Names of secrets.
    pub async fn secrets(&self, cursor: Option<&str>) -> Result<Page<SecretView>, ClientError> {
        self.json(with_cursor(self.request(Method::GET, "/secrets"), cursor)).await
    }

    /// Sets a secret; `expires_at`: when it stops being valid where it comes from, if that is to be told in time.
    pub async fn set_secret(
        &self,
        name: &str,
        value: &SecretString,
        expires_at: Option<Timestamp>,
    ) -> Result<(), ClientError> {
        let body = SecretRequest { value: value.expose_secret().to_owned(), expires_at };
        self.send(self.request(Method::PUT, &format!("/secrets/{}", escape(name))).json(&body)).await.map(|_| ())
    }

    /// Removes a secret.
    pub async fn remove_secret(&self, name: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("/secrets/{}", escape(name)))).await.map(|_| ())
    }

    /// Registries.
    pub async fn registries(&self) -> Result<Page<RegistryView>, ClientError> {
        self.get("/registries").await
    }

    /// Sets a registry login.
    pub async fn set_registry(&self, name: &str, request: &RegistryRequest) -> Result<(), ClientError> {
        self.send(self.request(Method::PUT, &format!("/registries/{}", escape(name))).json(request)).await.map(|_| ())
    }

    /// Removes a registry login.
    pub async fn remove_registry(&self, name: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("/registries/{}", escape(name)))).await.map(|_| ())
    }

    /// All projects.
    pub async fn projects(&self) -> Result<Page<ProjectView>, ClientError> {
        self.get("/projects").await
    }

    /// Makes a project.
    pub async fn create_project(&self, request: &ProjectRequest) -> Result<ProjectView, ClientError> {
        self.json(self.request(Method::POST, "/projects").json(request)).await
    }

    /// Changes a project.
    pub async fn patch_project(&self, name: &str, request: &ProjectPatch) -> Result<ProjectView, ClientError> {
        self.json(self.request(Method::PATCH, &format!("/projects/{}", escape(name))).json(request)).await
    }

    /// The master keys, by their names.
    pub async fn keys(&self) -> Result<Page<MasterKeyView>, ClientError> {
        self.get("/keys").await
    }

    /// Changes to a new master key.
    pub async fn rotate_keys(&self) -> Result<RotationView, ClientError> {
        self.json(self.request(Method::POST, "/keys/rotate")).await
    }

    /// Tokens of the project, or of the installation.
    pub async fn tokens(&self, instance: bool, cursor: Option<&str>) -> Result<Page<TokenView>, ClientError> {
        let request = self.request(Method::GET, "/tokens").query(&[("instance", instance)]);
        self.json(with_cursor(request, cursor)).await
    }

    /// Makes a token.
    pub async fn create_token(&self, request: &TokenRequest) -> Result<NewTokenView, ClientError> {
        self.json(self.request(Method::POST, "/tokens").json(request)).await
    }

    /// Revokes a token.
    pub async fn revoke_token(&self, token: TokenId, instance: bool) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &format!("/tokens/{token}")).query(&[("instance", instance)]);
        self.send(request).await.map(|_| ())
    }

    /// The engines.
    pub async fn engines(&self) -> Result<Page<EngineView>, ClientError> {
        self.get("/engines").await
    }

    /// A page of notices; `query` has the filters of `GET /notices`.
    pub async fn notices(&self, query: &[(&str, String)]) -> Result<Page<NoticeView>, ClientError> {
        self.json(self.request(Method::GET, "/notices").query(query)).await
    }

    /// Takes note of a notice.
    pub async fn acknowledge_notice(&self, notice: NoticeId) -> Result<NoticeView, ClientError> {
        self.json(self.request(Method::POST, &format!("/notices/{notice}/acknowledge"))).await
    }

    /// What is usual for a job.
    pub async fn baseline(&self, job: &str) -> Result<BaselineView, ClientError> {
        self.get(&format!("/jobs/{}/baseline", escape(job))).await
    }

    /// A page of channels.
    pub async fn channels(&self, cursor: Option<&str>) -> Result<Page<ChannelView>, ClientError> {
        self.json(with_cursor(self.request(Method::GET, "/channels"), cursor)).await
    }

    /// Sets a channel.
    pub async fn set_channel(&self, name: &str, request: &ChannelRequest) -> Result<ChannelView, ClientError> {
        self.json(self.request(Method::PUT, &format!("/channels/{}", escape(name))).json(request)).await
    }

    /// Has a test sent to a channel.
    pub async fn test_channel(&self, name: &str) -> Result<(), ClientError> {
        let request = self.request(Method::POST, &format!("/channels/{}/test", escape(name)));
        // A mail server may take its time.
        self.send(request.timeout(3 * PATIENCE)).await.map(|_| ())
    }

    /// Removes a channel.
    pub async fn remove_channel(&self, name: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("/channels/{}", escape(name)))).await.map(|_| ())
    }

    /// A page of the project's changes, or of those of the installation.
    pub async fn audit(&self, instance: bool, cursor: Option<&str>) -> Result<Page<AuditView>, ClientError> {
        let request = self.request(Method::GET, "/audit").query(&[("instance", instance)]);
        self.json(with_cursor(request, cursor)).await
    }
}

fn with_cursor(request: RequestBuilder, cursor: Option<&str>) -> RequestBuilder {
    match cursor {
        Some(cursor) => request.query(&[("cursor", cursor)]),
        None => request,
    }
}

/// Repeats what failed on the way, for about two minutes.
async fn patiently<T, R>(request: impl Fn() -> R) -> Result<T, ClientError>
where
    R: Future<Output = Result<T, ClientError>>,
{
    let mut failures = 0;
    loop {
        match request().await {
            Err(error) if is_passing(&error) && failures < 60 => {
                failures += 1;
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            answer => return answer,
        }
    }
}

/// Whether the same request may succeed a moment later.
const fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Problem(problem) => matches!(problem.status, 429 | 500 | 502 | 503 | 504),
        ClientError::NotHaulier { status, .. } => matches!(status, 502..=504),
        ClientError::Settings(_) => false,
    }
}

/// A text as one part of a path.
fn escape(text: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
