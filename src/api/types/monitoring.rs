//! Schedules, notices, baselines, channels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{ChannelSpec, JobId, Name, Notice, NoticeId, NoticeKind, RunId, ScheduleSpec, Severity, Timestamp};

/// Where a job's schedule stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleView {
    /// The schedule; null when the job has none.
    pub schedule: Option<ScheduleSpec>,
    /// The next times, five at the most; empty when the schedule is paused or the job disabled.
    pub next: Vec<Timestamp>,
    /// The last time that was served.
    pub last_time: Option<Timestamp>,
    /// The run that was made for it.
    pub last_run: Option<RunId>,
    /// Why none was made.
    pub last_problem: Option<String>,
}

/// Something that an operator should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NoticeView {
    /// Its id.
    pub id: NoticeId,
    /// The project's name; null = it concerns the whole installation.
    pub project: Option<Name>,
    /// What it is.
    pub kind: NoticeKind,
    /// How bad it is.
    pub severity: Severity,
    /// The job's name.
    pub job: Option<Name>,
    /// The job's id.
    pub job_id: Option<JobId>,
    /// The run that showed it last.
    pub run: Option<RunId>,
    /// In words: what is wrong, and what is usual.
    pub summary: String,
    /// The figures, in seconds or numbers: `value`, `bound`, `low`, `typical`, `high`, `samples`, …
    pub figures: BTreeMap<String, f64>,
    /// How often it was found since it was opened.
    pub times: u32,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was found last.
    pub seen_at: Timestamp,
    /// When somebody took note of it.
    pub acknowledged_at: Option<Timestamp>,
    /// Who, by the token's name.
    pub acknowledged_by: Option<String>,
    /// When it was over; null while it is open.
    pub resolved_at: Option<Timestamp>,
    /// How it came to be over.
    pub resolution: Option<String>,
}

impl NoticeView {
    /// A notice of this project.
    #[must_use]
    pub fn of(project: &Name, notice: Notice) -> Self {
        let (job_id, job) = notice.job.unzip();
        Self {
            id: notice.id,
            project: notice.project.map(|_| project.clone()),
            kind: notice.kind,
            severity: notice.kind.severity(),
            job,
            job_id,
            run: notice.run,
            summary: notice.summary,
            figures: notice.figures,
            times: notice.times,
            opened_at: notice.opened_at,
            seen_at: notice.seen_at,
            acknowledged_at: notice.acknowledged_at,
            acknowledged_by: notice.acknowledged_by,
            resolved_at: notice.resolved_at,
            resolution: notice.resolution,
        }
    }
}

/// What is usual for a job now. Null where its history is too short to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BaselineView {
    /// How many of its last runs are remembered.
    pub samples: u32,
    /// From a good run's first container to its end, in seconds.
    pub duration_seconds: Option<BandView>,
    /// From being made until its first container ran, in seconds.
    pub queue_seconds: Option<BandView>,
    /// Rows that a good run reports.
    pub rows: Option<BandView>,
    /// Usually from one run to the next, in seconds.
    pub interval_seconds: Option<f64>,
    /// By when the next run should be made, from when the last ones were.
    pub expected_by: Option<Timestamp>,
}

/// What is usual for one quantity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BandView {
    /// Less is unusual.
    pub low: f64,
    /// The middle.
    pub typical: f64,
    /// More is unusual.
    pub high: f64,
    /// How many runs say so.
    pub samples: u32,
}

/// A channel that notices are sent to; its address and its password are never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// Its name.
    pub name: Name,
    /// What it is, and what it is told.
    pub spec: ChannelSpec,
    /// Of the address: scheme, host and port, or the mail server.
    pub target: String,
    /// When it was set.
    pub updated_at: Timestamp,
    /// When what waits for it is sent; null when nothing does.
    pub due_at: Option<Timestamp>,
    /// When something was last delivered.
    pub delivered_at: Option<Timestamp>,
    /// Why the last try failed; null after one that did not.
    pub last_error: Option<String>,
    /// When.
    pub failed_at: Option<Timestamp>,
}

/// A channel to be set. What stands apart from `spec` is sealed; left out, it stays as it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelRequest {
    /// What it is, and what it is told.
    pub spec: ChannelSpec,
    /// For kinds `webhook`, `slack` and `teams`: the address. Written, never read back.
    #[serde(default)]
    #[schema(write_only)]
    pub url: Option<String>,
    /// For kind `email`: the password at the mail server. Written, never read back.
    #[serde(default)]
    #[schema(write_only)]
    pub password: Option<String>,
}

impl std::fmt::Debug for ChannelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelRequest").field("spec", &self.spec).finish_non_exhaustive()
    }
}
