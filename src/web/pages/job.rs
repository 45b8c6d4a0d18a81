//! A job: how it does, what it is, what it was.

use askama::Template;

use super::{RunRow, Shell};
use crate::{
    domain::RunId,
    web::{
        format::{Ago, Span},
        plots::{Band, DurationPlot},
    },
};

/// A part of a job's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// How it does.
    Runs,
    /// What it is.
    Configuration,
    /// What it was.
    Revisions,
    /// What its runs keep.
    State,
}

impl Tab {
    /// Tabs in order, and what stands on them.
    pub const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Runs, "", "Overview"),
        (Self::Configuration, "/configuration", "Configuration"),
        (Self::Revisions, "/revisions", "Revisions"),
        (Self::State, "/state", "State"),
    ];
}

/// What stands at the top of each of a job's pages.
#[derive(Debug, Clone)]
pub struct JobHead {
    /// Its name.
    pub name: String,
    /// Its address.
    pub path: String,
    /// Its image.
    pub image: String,
    /// The number of its present revision.
    pub revision: u32,
    /// Whether it may be started.
    pub enabled: bool,
    /// Whether it was archived.
    pub archived: bool,
    /// Which part this is.
    pub tab: Option<Tab>,
}

impl JobHead {
    /// Whether runs can be started.
    #[must_use]
    pub const fn can_run(&self) -> bool {
        self.enabled && !self.archived
    }

    /// Whether this is that part of the job's pages.
    #[must_use]
    pub fn shows(&self, tab: &Tab) -> bool {
        self.tab.as_ref() == Some(tab)
    }
}

/// A thing to know, and what it is.
#[derive(Debug, Clone)]
pub struct Fact {
    /// What.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Whether the value is code.
    pub code: bool,
}

impl Fact {
    /// In words.
    #[must_use]
    pub fn words(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), code: false }
    }

    /// As code.
    #[must_use]
    pub fn code(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), code: true }
    }
}

/// How a job does.
#[derive(Debug, Template)]
#[template(path = "job.html")]
pub struct JobPage {
    /// What stands around it.
    pub shell: Shell,
    /// The job.
    pub head: JobHead,
    /// Its last durations.
    pub plot: Option<DurationPlot>,
    /// What is normal.
    pub band: Option<Band>,
    /// Its last runs.
    pub runs: Vec<RunRow>,
    /// When it starts by itself; empty when it does not.
    pub schedule: Vec<Fact>,
    /// What bounds it, in short.
    pub facts: Vec<Fact>,
}

/// What a job is, without secrets.
#[derive(Debug, Template)]
#[template(path = "job_configuration.html")]
pub struct ConfigurationPage {
    /// What stands around it.
    pub shell: Shell,
    /// The job.
    pub head: JobHead,
    /// What is set, in groups.
    pub groups: Vec<(&'static str, Vec<Fact>)>,
    /// Environment, by name.
    pub env: Vec<(String, String)>,
    /// Names of secrets, where each comes from, how the script gets it.
    pub secrets: Vec<(String, String, &'static str)>,
    /// Paths of files, with mode and size.
    pub files: Vec<(String, String, String)>,
    /// What the script finds as `HAULIER_CONFIG`.
    pub config: Option<String>,
}

/// What a job was.
#[derive(Debug, Template)]
#[template(path = "job_revisions.html")]
pub struct RevisionsPage {
    /// What stands around it.
    pub shell: Shell,
    /// The job.
    pub head: JobHead,
    /// The newest first.
    pub revisions: Vec<RevisionRow>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// The two that are compared: the older, the newer, and what differs.
    pub difference: Option<(u32, u32, Vec<Change>)>,
}

/// A revision in the list.
#[derive(Debug, Clone)]
pub struct RevisionRow {
    /// Its number.
    pub number: u32,
    /// When it was made.
    pub created: Ago,
    /// By whom.
    pub by: String,
    /// Its image.
    pub image: String,
}

/// A field that differs between two revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where, as a JSON pointer.
    pub field: String,
    /// What it was; `None` when it was not there.
    pub old: Option<String>,
    /// What it became; `None` when it is not there any more.
    pub new: Option<String>,
}

/// What a job's runs keep for each other.
#[derive(Debug, Template)]
#[template(path = "job_state.html")]
pub struct StatePage {
    /// What stands around it.
    pub shell: Shell,
    /// The job.
    pub head: JobHead,
    /// The newest first; the first is the present one.
    pub versions: Vec<StateRow>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// A version of a job's state.
#[derive(Debug, Clone)]
pub struct StateRow {
    /// Its number.
    pub version: i64,
    /// The document, written for people.
    pub document: String,
    /// The run that committed it.
    pub run: Option<RunId>,
    /// When.
    pub at: Ago,
    /// By whom.
    pub by: String,
}

impl JobPage {
    fn normal(&self) -> Option<String> {
        self.band.map(|band| format!("{} to {}, usually {}", Span(band.low), Span(band.high), Span(band.median)))
    }
}
