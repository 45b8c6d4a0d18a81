//! What happens now, and what went wrong lately.

use askama::Template;

use super::{EngineRow, NoticeRow, RunRow, Shell, WaitingRow};
use crate::web::plots::{ActivityPlot, Hour};

/// The first page.
#[derive(Debug, Template)]
#[template(path = "overview.html")]
pub struct OverviewPage {
    /// What stands around it.
    pub shell: Shell,
    /// Figures of the last 24 hours.
    pub totals: Totals,
    /// What is wrong, the newest first.
    pub notices: Vec<NoticeRow>,
    /// Jobs of which runs ended badly in the last 24 hours, the latest first.
    pub failed: Vec<FailedRow>,
    /// What runs, the oldest first.
    pub active: Vec<RunRow>,
    /// Whether more runs than these.
    pub more_active: bool,
    /// What waits, and why.
    pub queued: Vec<WaitingRow>,
    /// Whether more waits than this.
    pub more_queued: bool,
    /// What ended, by the hour.
    pub activity: ActivityPlot,
    /// The engines.
    pub engines: Vec<EngineRow>,
    /// Whether any job was ever registered.
    pub has_jobs: bool,
}

/// A job of which runs ended badly.
#[derive(Debug, Clone)]
pub struct FailedRow {
    /// The latest of them.
    pub run: RunRow,
    /// How many others there are, as far as was looked.
    pub others: usize,
}

/// Figures at the top.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Active runs, as far as they were counted.
    pub active: u64,
    /// Waiting runs, likewise.
    pub queued: u64,
    /// What ended in the last 24 hours.
    pub day: Hour,
    /// Beyond this, active and waiting runs were not counted.
    pub cap: u64,
}

impl Totals {
    fn up_to(count: u64, cap: u64) -> String {
        let more = if count >= cap { "+" } else { "" };
        format!("{}{more}", crate::web::format::count(count))
    }

    /// How many are active.
    #[must_use]
    pub fn active(&self) -> String {
        Self::up_to(self.active, self.cap)
    }

    /// How many wait.
    #[must_use]
    pub fn queued(&self) -> String {
        Self::up_to(self.queued, self.cap)
    }

    /// How many ended badly.
    #[must_use]
    pub fn failed(&self) -> String {
        self.of_day(self.day.failed)
    }

    /// How many succeeded.
    #[must_use]
    pub fn succeeded(&self) -> String {
        self.of_day(self.day.succeeded)
    }

    fn of_day(&self, count: u64) -> String {
        let more = if self.day.capped { "+" } else { "" };
        format!("{}{more}", crate::web::format::count(count))
    }

    /// The part of runs that succeeded, in percent; cancelled ones do not count.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    pub fn rate(&self) -> Option<String> {
        let whole = self.day.succeeded + self.day.failed;
        (whole > 0).then(|| {
            // Rounded down: 100 % means that nothing failed.
            let tenths = (self.day.succeeded as f64 / whole as f64 * 1000.0).floor() / 10.0;
            format!("{tenths} %")
        })
    }
}
