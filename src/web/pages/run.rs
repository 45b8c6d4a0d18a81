//! A run: what it does, what it did, why.

use askama::Template;

use super::{Fact, LogView, RunRow, Shell, WaitingRow};
use crate::{
    domain::{RunError, RunId},
    web::plots::TimelinePlot,
};

/// The page that orchestrators link to.
#[derive(Debug, Template)]
#[template(path = "run.html")]
pub struct RunPage {
    /// What stands around it.
    pub shell: Shell,
    /// The run.
    pub run: RunRow,
    /// The job's address.
    pub job_path: String,
    /// Whether it never changes again.
    pub finished: bool,
    /// Why it does not run yet.
    pub waiting: Option<WaitingRow>,
    /// Why it did not succeed.
    pub error: Option<RunError>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Where its time went.
    pub timeline: TimelinePlot,
    /// What there is to know.
    pub facts: Vec<Fact>,
    /// The run that it repeats.
    pub retry_of: Option<RunId>,
    /// Labels and source.
    pub labels: Vec<(String, String)>,
    /// What it was triggered with, as JSON.
    pub parameters: Option<String>,
    /// What the script reported, as JSON.
    pub output: Option<String>,
    /// What the script measured.
    pub metrics: Vec<(String, String)>,
    /// What happened.
    pub events: Vec<EventRow>,
    /// What it wrote.
    pub log: LogView,
}

/// Something that happened to a run.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// When.
    pub at: String,
    /// How long after what happened before.
    pub after: String,
    /// What.
    pub what: &'static str,
    /// In words.
    pub detail: String,
    /// In which attempt.
    pub attempt: Option<u32>,
}
