//! A run: what was asked for, and where it stands.

use std::{collections::BTreeMap, time::Duration};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Job, JobId, JobSpec, Lifecycle, Name, Problems, Progress, ProjectId, RunError, RunId, Timestamp, TraceParent,
    validate::{FieldError, check_env, check_labels, check_range},
};

/// What a caller asks for when it triggers a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunRequest {
    /// Given to the script as `HAULIER_PARAMETERS`; above 128 KiB, which no variable can hold, in the file that
    /// `HAULIER_PARAMETERS_FILE` names. At most 256 KiB as JSON.
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// Added to the job's environment; wins over it. Sealed at rest.
    pub env: BTreeMap<String, String>,
    /// Instead of the job's `timeout_seconds`.
    #[schema(minimum = 1, maximum = 2592000)]
    pub timeout_seconds: Option<u32>,
    /// Higher goes first, -100 to 100.
    #[schema(minimum = -100, maximum = 100)]
    pub priority: i32,
    /// Not to be started earlier.
    pub not_before: Option<Timestamp>,
    /// Added to the job's labels; win over them.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: IndexMap<String, String>,
    /// What to do when the idempotency key was used before.
    pub if_exists: IfExists,
    /// Cancel the run when nobody asked for it for so long. 30 to 86400.
    #[schema(minimum = 30, maximum = 86400)]
    pub abandon_after_seconds: Option<u32>,
    /// Who asks, for people and filters: `{"kind": "adf", "pipeline": "…"}`. At most 16 values of 256 bytes.
    #[schema(value_type = BTreeMap<String, String>)]
    pub source: IndexMap<String, String>,
    /// Told the run's end, by a signed request (Standard Webhooks). Never shown again.
    pub callback_url: Option<String>,
    /// Told the run's end as Data Factory's WebHook activity wants it, which adds this itself.
    #[serde(rename = "callBackUri")]
    pub call_back_uri: Option<String>,
}

/// What to do when the idempotency key was used before with the same request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IfExists {
    /// Answer with the earlier run.
    #[default]
    Return,
    /// Answer with the earlier run, unless it ended other than well: then make a new one.
    ReturnUnlessFailed,
}

impl RunRequest {
    /// Everything that is wrong with the request by itself.
    ///
    /// # Errors
    /// What is wrong, with pointers.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut problems = Problems::default();
        let p = &mut problems;
        let size = serde_json::to_string(&self.parameters).map_or(usize::MAX, |text| text.len());
        p.require(
            size <= 256 * 1024,
            "/parameters",
            "at most 256 KiB as JSON: put large input where the script can read it",
        );
        check_env("/env", self.env.iter(), p);
        check_range("/timeout_seconds", self.timeout_seconds, 1, 2_592_000, p);
        check_range("/priority", Some(self.priority), -100, 100, p);
        check_range("/abandon_after_seconds", self.abandon_after_seconds, 30, 86_400, p);
        check_labels("/labels", self.labels.iter(), p);
        check_labels("/source", self.source.iter(), p);
        p.require(self.source.len() <= 16, "/source", "at most 16 values");
        let one = self.callback_url.is_none() || self.call_back_uri.is_none();
        p.require(one, "/callback_url", "give it or callBackUri, not both");
        problems.into_result()
    }
}

/// A run: one requested execution of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id; also the order in which runs were made.
    pub id: RunId,
    /// The project.
    pub project: ProjectId,
    /// The job.
    pub job: JobId,
    /// The job's name when the run was made.
    pub job_name: Name,
    /// The revision it is pinned to.
    pub revision: u32,
    /// The engine it is launched on.
    pub engine: String,
    /// Where it stands.
    pub life: Lifecycle,
    /// Who asked for the stop.
    pub stopped_by: Option<String>,
    /// Parameters, as JSON text.
    pub parameters: String,
    /// Labels, the job's included.
    pub labels: IndexMap<String, String>,
    /// Who asked.
    pub source: IndexMap<String, String>,
    /// Where it stands in its caller's trace.
    pub traceparent: Option<TraceParent>,
    /// The token's name that triggered it.
    pub created_by: String,
    /// The run that this one repeats.
    pub retry_of: Option<RunId>,
    /// Higher goes first.
    pub priority: i32,
    /// Not to be started earlier.
    pub not_before: Option<Timestamp>,
    /// Why it waits, if it was sent back to the queue.
    pub requeue_reason: Option<WaitReason>,
    /// The attempt's time limit in seconds.
    pub timeout_seconds: u32,
    /// When it leaves the queue unserved.
    pub queue_deadline: Option<Timestamp>,
    /// Its lease.
    pub abandon_after_seconds: Option<u32>,
    /// When it was triggered.
    pub created_at: Timestamp,
    /// When it last joined the queue.
    pub queued_at: Timestamp,
    /// When its first container started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The last attempt's exit code.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub error: Option<RunError>,
    /// What the script reported as output, as JSON text.
    pub output: Option<String>,
    /// What the script reported as metrics.
    pub metrics: BTreeMap<String, f64>,
    /// How far the script says it is.
    pub progress: Option<Progress>,
    /// Its log.
    pub log: LogSummary,
}

impl Run {
    /// A run that waits in the queue since `now`, with nothing asked for beyond the job: one hour, no parameters.
    ///
    /// [`Run::of_job`] is for runs of a job as it is now.
    #[must_use]
    pub fn fresh(
        project: ProjectId,
        job: JobId,
        job_name: Name,
        revision: u32,
        engine: String,
        created_by: String,
        now: Timestamp,
    ) -> Self {
        Self {
            id: RunId::generate(),
            project,
            job,
            job_name,
            revision,
            engine,
            life: Lifecycle::default(),
            stopped_by: None,
            parameters: "{}".to_owned(),
            labels: IndexMap::new(),
            source: IndexMap::new(),
            traceparent: None,
            created_by,
            retry_of: None,
            priority: 0,
            not_before: None,
            requeue_reason: None,
            timeout_seconds: 3600,
            queue_deadline: None,
            abandon_after_seconds: None,
            created_at: now,
            queued_at: now,
            started_at: None,
            finished_at: None,
            exit_code: None,
            error: None,
            output: None,
            metrics: BTreeMap::new(),
            progress: None,
            log: LogSummary::default(),
        }
    }

    /// A run that waits in the queue since `now`, as the job's present specification says. `default_engine` runs jobs
    /// that name none.
    #[must_use]
    pub fn of_job(job: &Job, spec: &JobSpec, default_engine: &str, created_by: String, now: Timestamp) -> Self {
        let engine = spec.engine.as_ref().map_or(default_engine, |name| name.as_str()).to_owned();
        let run = Self::fresh(job.project, job.id, job.name.clone(), job.revision, engine, created_by, now);
        let deadline = |seconds| now.plus(Duration::from_secs(u64::from(seconds)));
        Self {
            labels: spec.labels.clone(),
            timeout_seconds: spec.timeout_seconds,
            queue_deadline: spec.queue_timeout_seconds.map(deadline),
            ..run
        }
    }
}

/// What is known of a run's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogSummary {
    /// Size of the JSON lines, in bytes.
    pub bytes: u64,
    /// Whether all that the script wrote was read to its end.
    pub complete: bool,
    /// Whether the size limit cut it.
    pub truncated: bool,
}

/// Why a run does not run yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Its turn comes in a moment.
    Queued,
    /// The job's `max_parallel` or a named limit is held by others.
    Limit,
    /// `not_before` lies ahead.
    NotBefore,
    /// A failed attempt is made again after a pause.
    BackingOff,
    /// The engine is bringing the container up.
    Launching,
    /// The image is being pulled.
    PullingImage,
    /// The engine does not answer.
    EngineUnreachable,
    /// The engine has no room now.
    NoCapacity,
}

impl WaitReason {
    /// The reason as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Limit => "limit",
            Self::NotBefore => "not_before",
            Self::BackingOff => "backing_off",
            Self::Launching => "launching",
            Self::PullingImage => "pulling_image",
            Self::EngineUnreachable => "engine_unreachable",
            Self::NoCapacity => "no_capacity",
        }
    }

    /// Reads a stored reason.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(Value::String(text.to_owned())).ok()
    }
}

/// Why a run waits, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// The kind of reason.
    pub reason: WaitReason,
    /// In words.
    pub detail: String,
    /// Its place in the job's queue, from 1.
    pub position: Option<u32>,
    /// Runs that hold what it waits for; at most 10 are named.
    pub holders: Vec<RunId>,
}

/// An entry of a run's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: RunEventKind,
    /// Which attempt it belongs to.
    pub attempt: Option<u32>,
    /// In words.
    pub detail: String,
}

/// Kinds of entries in a run's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunEventKind {
    /// The run was asked for.
    Triggered,
    /// It got its slots, and an attempt was intended.
    Admitted,
    /// The container started.
    Started,
    /// The attempt ended.
    AttemptEnded,
    /// Another attempt follows after a pause.
    Retrying,
    /// A slice was completed; the next follows.
    Continued,
    /// Somebody, or a rule, wants it to end.
    StopRequested,
    /// The run ended.
    Finished,
    /// Something that an operator should look at.
    Warning,
}

impl RunEventKind {
    /// The kind as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Admitted => "admitted",
            Self::Started => "started",
            Self::AttemptEnded => "attempt_ended",
            Self::Retrying => "retrying",
            Self::Continued => "continued",
            Self::StopRequested => "stop_requested",
            Self::Finished => "finished",
            Self::Warning => "warning",
        }
    }

    /// Reads a stored kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(Value::String(text.to_owned())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_are_the_json_names() {
        for reason in [WaitReason::Queued, WaitReason::Limit, WaitReason::BackingOff, WaitReason::EngineUnreachable] {
            assert_eq!(WaitReason::parse(reason.as_str()), Some(reason));
        }
        for kind in [RunEventKind::Triggered, RunEventKind::AttemptEnded, RunEventKind::Warning] {
            assert_eq!(RunEventKind::parse(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn requests_are_bounded() {
        let request: RunRequest = serde_json::from_str(
            r#"{"priority": 101, "timeout_seconds": 0, "abandon_after_seconds": 1, "env": {"a-b": ""}}"#,
        )
        .unwrap();
        assert_eq!(request.check().unwrap_err().len(), 4);
        assert!(serde_json::from_str::<RunRequest>(r#"{"parametres": {}}"#).is_err());
    }
}
