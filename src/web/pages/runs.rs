//! Runs, filtered.

use askama::Template;

use super::{RunRow, Shell};
use crate::{domain::RunState, web::format::Badge};

/// What the list is bounded to, as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunsFilter {
    /// A job's name or id.
    pub job: String,
    /// A state.
    pub state: Option<RunState>,
    /// `key=value`.
    pub label: String,
    /// `key=value`.
    pub source: String,
}

impl RunsFilter {
    /// Whether it is bounded to this state.
    #[must_use]
    pub fn has(&self, state: &Badge) -> bool {
        self.state == Some(state.0)
    }

    /// Whether everything is shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A page of runs.
#[derive(Debug, Template)]
#[template(path = "runs.html")]
pub struct RunsPage {
    /// What stands around it.
    pub shell: Shell,
    /// What is shown.
    pub filter: RunsFilter,
    /// The newest first.
    pub runs: Vec<RunRow>,
    /// The address of the next page.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub later: bool,
}

impl RunsPage {
    fn states() -> impl Iterator<Item = Badge> {
        use RunState::{Cancelled, Cancelling, Failed, Queued, Running, Starting, Succeeded, TimedOut};
        [Queued, Starting, Running, Cancelling, Succeeded, Failed, Cancelled, TimedOut].into_iter().map(Badge)
    }
}
