//! Runs as rows of tables.

use crate::{
    domain::{Name, Progress, Run, RunId, Timestamp, Waiting},
    web::format::{Ago, Badge, Span},
};

/// How far something is, as a bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// Filled, in percent.
    pub percent: u32,
    /// In words.
    pub text: String,
}

impl Bar {
    /// What the script told; `None` when it did not say of how much.
    #[must_use]
    pub fn of(progress: &Progress) -> Option<Self> {
        let total = progress.total.filter(|total| *total > 0.0)?;
        let done = progress.done?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
        let percent = (done / total * 100.0).clamp(0.0, 100.0) as u32;
        Some(Self { percent, text: progress.text.clone().unwrap_or_default() })
    }
}

/// A run in a list.
#[derive(Debug, Clone)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// The job's name.
    pub job: Name,
    /// Where it stands.
    pub state: Badge,
    /// When it was triggered.
    pub created: Ago,
    /// When it ended.
    pub finished: Option<Ago>,
    /// How long it ran, or has run.
    pub duration: Option<Span>,
    /// How long it has waited, if it waits.
    pub waited: Option<Span>,
    /// The engine.
    pub engine: String,
    /// By whom.
    pub by: String,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// How far it is.
    pub progress: Option<Bar>,
}

impl RunRow {
    /// A run as it is now.
    #[must_use]
    pub fn of(run: &Run, now: Timestamp) -> Self {
        let ended = run.finished_at;
        Self {
            id: run.id,
            job: run.job_name.clone(),
            state: Badge(run.life.state()),
            created: Ago::new(run.created_at, now),
            finished: ended.map(|at| Ago::new(at, now)),
            duration: run.started_at.map(|start| Span(ended.unwrap_or(now).since(start))),
            waited: (ended.is_none() && run.started_at.is_none()).then(|| Span(now.since(run.queued_at))),
            engine: run.engine.clone(),
            by: run.created_by.clone(),
            error: run.error.as_ref().map(|error| error.message.clone()),
            progress: run.progress.as_ref().and_then(Bar::of),
        }
    }

    /// Enough of the id to tell runs of a page apart.
    #[must_use]
    pub fn short(&self) -> String {
        short(&self.id)
    }
}

/// The end of an id: its beginning is the time, which runs of a page share.
#[must_use]
pub fn short(id: &RunId) -> String {
    let text = id.to_string();
    text[text.len() - 8..].to_owned()
}

/// A run that waits, and why.
#[derive(Debug, Clone)]
pub struct WaitingRow {
    /// The run.
    pub run: RunRow,
    /// In words.
    pub why: String,
    /// Its place in the job's queue.
    pub position: Option<u32>,
    /// Who holds what it waits for.
    pub holders: Vec<RunId>,
}

impl WaitingRow {
    /// A run and what it waits for.
    #[must_use]
    pub fn of(run: &Run, waiting: Option<Waiting>, now: Timestamp) -> Self {
        let row = RunRow::of(run, now);
        match waiting {
            None => {
                Self { run: row, why: "its turn comes in a moment".to_owned(), position: None, holders: Vec::new() }
            }
            Some(waiting) => {
                Self { run: row, why: waiting.detail, position: waiting.position, holders: waiting.holders }
            }
        }
    }
}
