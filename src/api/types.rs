//! What goes over the wire; shared with the client.

mod keys;
mod monitoring;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    domain::{
        ImagePattern, JobId, JobSpec, LogSummary, Name, Progress, ProjectId, RunError, RunEvent, RunId, RunState,
        Scope, Timestamp, TokenId, TraceParent, Waiting,
    },
    engines::{Capabilities, EngineHealth},
    logs::LogRecord,
};

pub use keys::*;
pub use monitoring::*;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Give it as `cursor` to get the next page; null after the last.
    pub next_cursor: Option<String>,
}

/// A job with its present revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// The project's name.
    pub project: Name,
    /// The number of the present revision.
    pub revision: u32,
    /// The specification. Values of secrets are null.
    pub spec: JobSpec,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When its present revision was made.
    pub updated_at: Timestamp,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
}

/// One revision of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevisionView {
    /// From 1.
    pub number: u32,
    /// The specification. Values of secrets are null.
    pub spec: JobSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// By which token.
    pub created_by: String,
}

/// A run. Every field is always there, null when there is nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// The project's name.
    pub project: Name,
    /// The job's name.
    pub job: Name,
    /// The job's id.
    pub job_id: JobId,
    /// The revision it is pinned to.
    pub revision: u32,
    /// The engine it is launched on.
    pub engine: String,
    /// Where it stands.
    pub state: RunState,
    /// Whether it never changes again.
    pub finished: bool,
    /// Why it does not run yet.
    pub waiting: Option<Waiting>,
    /// The last attempt's exit code.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub error: Option<RunError>,
    /// What the script reported as output.
    pub output: Option<Value>,
    /// What the script reported as metrics.
    pub metrics: BTreeMap<String, f64>,
    /// How far the script says it is.
    pub progress: Option<Progress>,
    /// The present attempt; 0 before the first.
    pub attempt: u32,
    /// The present slice, from 1.
    pub slice: u32,
    /// What it was triggered with.
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// Labels, the job's included.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: IndexMap<String, String>,
    /// Who asked.
    #[schema(value_type = BTreeMap<String, String>)]
    pub source: IndexMap<String, String>,
    /// Where it stands in its caller's trace (W3C Trace Context).
    pub traceparent: Option<TraceParent>,
    /// Higher goes first.
    pub priority: i32,
    /// Not to be started earlier.
    pub not_before: Option<Timestamp>,
    /// How long an attempt may run.
    pub timeout_seconds: u32,
    /// Its lease.
    pub abandon_after_seconds: Option<u32>,
    /// The run that this one repeats.
    pub retry_of: Option<RunId>,
    /// By which token it was triggered.
    pub created_by: String,
    /// Who asked for its end.
    pub stopped_by: Option<String>,
    /// When it was triggered.
    pub created_at: Timestamp,
    /// When it last joined the queue.
    pub queued_at: Timestamp,
    /// When its first container started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// From start to end, in milliseconds; up to now while it runs.
    pub duration_ms: Option<u64>,
    /// Its log.
    pub log: LogSummary,
}

/// One launch of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// From 1.
    pub number: u32,
    /// The slice it works on.
    pub slice: u32,
    /// The engine's name.
    pub engine: String,
    /// Its name on the engine.
    pub workload: String,
    /// When it was intended.
    pub created_at: Timestamp,
    /// When its container started.
    pub started_at: Option<Timestamp>,
    /// When its result was stored.
    pub ended_at: Option<Timestamp>,
    /// Exit code, if there was one.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub error: Option<RunError>,
}

/// A run's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timeline {
    /// Everything that happened, in order.
    pub events: Vec<RunEvent>,
    /// Its attempts.
    pub attempts: Vec<AttemptView>,
}

/// Which runs are to be cancelled. At least one field must be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CancelRequest {
    /// Of this job, by id or name.
    pub job: Option<String>,
    /// In one of these states.
    pub states: Vec<RunState>,
    /// With all of these labels.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: IndexMap<String, String>,
    /// With all of these in their source.
    #[schema(value_type = BTreeMap<String, String>)]
    pub source: IndexMap<String, String>,
    /// Triggered before.
    pub until: Option<Timestamp>,
    /// Really all live runs of the project.
    pub all: bool,
}

/// How many runs were asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cancelled {
    /// That many.
    pub cancelled: u32,
}

/// A page of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogView {
    /// Records in the order in which they came.
    pub records: Vec<LogRecord>,
    /// Where to go on reading.
    pub next_offset: u64,
    /// Whether there is no more and will be no more.
    pub end: bool,
}

/// A job's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StateView {
    /// 0 = there is none yet.
    pub version: i64,
    /// The document.
    #[schema(value_type = Object)]
    pub state: Map<String, Value>,
    /// The run that committed it; null when it was set by hand.
    pub run: Option<RunId>,
    /// When.
    pub updated_at: Option<Timestamp>,
    /// By which token.
    pub updated_by: Option<String>,
}

/// A state to be set by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateRequest {
    /// The document.
    #[schema(value_type = Object)]
    pub state: Map<String, Value>,
    /// The version that it replaces; any, when left out.
    #[serde(default)]
    pub expected_version: Option<i64>,
}

/// A named limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitView {
    /// Its name.
    pub name: Name,
    /// The sum of weights that may be held at once.
    pub capacity: u32,
    /// The sum of weights held now.
    pub held: u32,
    /// Who holds it; at most 100. Null in lists.
    pub holders: Option<Vec<Holder>>,
    /// How many runs wait for it, counted up to 1,000. Null in lists.
    pub waiting: Option<u32>,
    /// When it was last set.
    pub updated_at: Timestamp,
}

/// A run that holds a part of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// The run.
    pub run: RunId,
    /// How much.
    pub weight: u32,
}

/// A limit to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRequest {
    /// 0 to 10000. 0 = nothing starts.
    #[schema(maximum = 10000)]
    pub capacity: u32,
}

/// A project's secret: its name, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// Its name.
    pub name: Name,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// When it stops being valid where it comes from, if that was told.
    pub expires_at: Option<Timestamp>,
}

/// A secret's value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// 1 byte to 64 KiB.
    #[schema(write_only)]
    pub value: String,
    /// When it stops being valid where it comes from: it is told in time, and goes on being used.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for SecretRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretRequest(***)")
    }
}

/// A registry that the project's jobs may pull from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistryView {
    /// Its name.
    pub name: Name,
    /// Host, with port if any.
    pub server: String,
    /// User name.
    pub username: String,
    /// When it was last set.
    pub updated_at: Timestamp,
}

/// A registry login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryRequest {
    /// Host, with port if any, as it stands in image references: `registry.example.com:5000`.
    pub server: String,
    /// User name.
    pub username: String,
    /// Password or token. Written, never read back.
    #[schema(write_only)]
    pub password: String,
    /// Whether to log in at the registry first, and to refuse what it refuses.
    #[serde(default = "checked")]
    pub check: bool,
}

const fn checked() -> bool {
    true
}

impl std::fmt::Debug for RegistryRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryRequest").field("server", &self.server).finish_non_exhaustive()
    }
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectView {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: Name,
    /// Images its jobs may use; empty = all.
    pub images: Vec<ImagePattern>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A project to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectRequest {
    /// Its name.
    pub name: Name,
    /// Images its jobs may use; empty = all.
    #[serde(default)]
    pub images: Vec<ImagePattern>,
}

/// What may be changed of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectPatch {
    /// Images its jobs may use; empty = all.
    pub images: Vec<ImagePattern>,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its id; not secret.
    pub id: TokenId,
    /// Its name.
    pub name: Name,
    /// The project's name; null = the whole installation.
    pub project: Option<Name>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only jobs it reaches; empty = all of the project.
    pub jobs: Vec<JobId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What people call it.
    pub name: Name,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only jobs it is to reach, by id or name; empty = all of the project.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// When it is to stop working.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// For the whole installation, not for one project. Only an installation's admin may ask for it.
    #[serde(default)]
    pub instance: bool,
}

/// A token that was just made: the only time its secret is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewTokenView {
    /// The secret that clients send.
    pub secret: String,
    /// The token.
    pub token: TokenView,
}

impl std::fmt::Debug for NewTokenView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewTokenView").field("token", &self.token).finish_non_exhaustive()
    }
}

/// A configured engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineView {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether jobs that name no engine use it.
    pub default: bool,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How it was when it was last asked; null before the first time.
    pub health: Option<EngineHealth>,
    /// When it was last asked.
    pub checked_at: Option<Timestamp>,
    /// Workloads of this service that are watched on it.
    pub workloads: u32,
    /// The most runs at once on it; null when its configuration sets no `max_running`.
    pub max_running: Option<u32>,
    /// Runs that are starting or running on it.
    pub active: u32,
    /// Runs that wait to be started on it, counted up to 10,000.
    pub queued: u32,
}

/// What signs the project's callbacks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookSecret {
    /// `whsec_…`, for a library of the Standard Webhooks specification.
    pub secret: String,
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSecret").finish_non_exhaustive()
    }
}

/// A change that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// When.
    pub at: Timestamp,
    /// By which token.
    pub actor: String,
    /// What, like `job.apply`.
    pub action: String,
    /// To what.
    pub target: String,
}

/// Who the caller is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// What they are called in histories.
    pub name: String,
    /// What they may do in that project.
    pub scopes: Vec<Scope>,
    /// The token; null for whoever another issuer vouches for.
    pub token: Option<TokenView>,
    /// The project that requests are about.
    pub project: Name,
    /// The service's version.
    pub version: String,
}
