//! The engines: how they are, and how much they have to do.

use askama::Template;

use super::{Meter, Shell};
use crate::web::format::Ago;

/// All engines.
#[derive(Debug, Template)]
#[template(path = "engines.html")]
pub struct EnginesPage {
    /// What stands around it.
    pub shell: Shell,
    /// By name.
    pub engines: Vec<EngineRow>,
}

/// An engine.
#[derive(Debug, Clone)]
pub struct EngineRow {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether jobs that name no engine use it.
    pub default: bool,
    /// Whether it answered; `None` before it was first asked.
    pub reachable: Option<bool>,
    /// What it says it is.
    pub version: Option<String>,
    /// Why it does not answer, and what to do.
    pub detail: Option<String>,
    /// When it was last asked.
    pub checked: Option<Ago>,
    /// Runs on it.
    pub active: u32,
    /// Runs that wait for it.
    pub queued: u32,
    /// Its `max_running` and what is used of it.
    pub meter: Option<Meter>,
    /// What it can do, in words.
    pub can: Vec<&'static str>,
    /// What it cannot.
    pub cannot: Vec<&'static str>,
}
