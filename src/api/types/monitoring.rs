//! Schedules, notices, baselines, channels.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{RunId, ScheduleSpec, Timestamp};

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
