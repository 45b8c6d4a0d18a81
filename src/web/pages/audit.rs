//! Who changed what.

use askama::Template;

use super::Shell;

/// A page of changes.
#[derive(Debug, Template)]
#[template(path = "audit.html")]
pub struct AuditPage {
    /// What stands around it.
    pub shell: Shell,
    /// The newest first.
    pub entries: Vec<AuditRow>,
    /// The address of the next page.
    pub next: Option<String>,
}

/// A change.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// When, to the second.
    pub at: String,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
}
