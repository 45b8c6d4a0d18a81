//! The jobs of a project.

use askama::Template;

use super::Shell;
use crate::{
    domain::{Name, RunId},
    web::{
        format::{Ago, Badge, Span},
        plots::Sparkline,
    },
};

/// A page of jobs.
#[derive(Debug, Template)]
#[template(path = "jobs.html")]
pub struct JobsPage {
    /// What stands around it.
    pub shell: Shell,
    /// What is searched for.
    pub search: String,
    /// Whether archived jobs are shown.
    pub archived: bool,
    /// By name.
    pub jobs: Vec<JobRow>,
    /// The address of the next page.
    pub next: Option<String>,
}

/// A job in the list.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its name.
    pub name: Name,
    /// Its address: names of archived jobs may have been given to others.
    pub path: String,
    /// Its image.
    pub image: String,
    /// Whether it may be started.
    pub enabled: bool,
    /// Whether it was archived.
    pub archived: bool,
    /// Its newest run.
    pub last: Option<LastRun>,
    /// The last durations.
    pub spark: Option<Sparkline>,
}

/// A job's newest run.
#[derive(Debug, Clone, Copy)]
pub struct LastRun {
    /// The run.
    pub id: RunId,
    /// Where it stands.
    pub state: Badge,
    /// When it was triggered.
    pub created: Ago,
    /// How long it ran, or has run.
    pub duration: Option<Span>,
}
