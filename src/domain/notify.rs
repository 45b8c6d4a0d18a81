//! What is told of a job, and to whom.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Name, NoticeKind, Problems, validate::check_range};

/// What is told of a job's runs, and to whom. What is left out follows from the job's own history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySpec {
    /// Kinds of notices that are not wanted.
    pub mute: Vec<NoticeKind>,
    /// The project's channels that are told; all of them when left out.
    pub channels: Vec<Name>,
    /// How many failures in a row make the job count as failing.
    #[schema(minimum = 2, maximum = 100)]
    pub failing_after: u32,
    /// A run that takes longer is slow, whatever the history says. In seconds.
    #[schema(minimum = 1)]
    pub slow_after_seconds: Option<u32>,
    /// A run that succeeds sooner is suspicious, whatever the history says. In seconds.
    #[schema(minimum = 1)]
    pub short_below_seconds: Option<u32>,
    /// The reported metric that counts rows.
    pub rows_metric: String,
    /// Fewer rows are suspicious, whatever the history says.
    pub min_rows: Option<f64>,
    /// The job is overdue when its last run was made so long ago, whatever the history says. In seconds.
    #[schema(minimum = 60)]
    pub overdue_after_seconds: Option<u32>,
    /// A run that waits longer in the queue is stuck, whatever the history says. In seconds.
    #[schema(minimum = 1)]
    pub stuck_after_seconds: Option<u32>,
}

impl Default for NotifySpec {
    fn default() -> Self {
        Self {
            mute: Vec::new(),
            channels: Vec::new(),
            failing_after: 3,
            slow_after_seconds: None,
            short_below_seconds: None,
            rows_metric: "rows".to_owned(),
            min_rows: None,
            overdue_after_seconds: None,
            stuck_after_seconds: None,
        }
    }
}

impl NotifySpec {
    /// Whether this kind is wanted.
    #[must_use]
    pub fn wants(&self, kind: NoticeKind) -> bool {
        !self.mute.contains(&kind)
    }

    pub(super) fn check(&self, p: &mut Problems) {
        const YEAR: u32 = 366 * 86_400;
        p.require(self.channels.len() <= 16, "/notify/channels", "at most 16 channels");
        p.require(self.mute.len() <= 16, "/notify/mute", "at most 16 kinds");
        check_range("/notify/failing_after", Some(self.failing_after), 2, 100, p);
        check_range("/notify/slow_after_seconds", self.slow_after_seconds, 1, YEAR, p);
        check_range("/notify/short_below_seconds", self.short_below_seconds, 1, YEAR, p);
        check_range("/notify/overdue_after_seconds", self.overdue_after_seconds, 60, YEAR, p);
        check_range("/notify/stuck_after_seconds", self.stuck_after_seconds, 1, YEAR, p);
        check_range("/notify/min_rows", self.min_rows, 0.0, 1e15, p);
        p.require((1..=63).contains(&self.rows_metric.len()), "/notify/rows_metric", "a metric's name, like rows");
    }
}
