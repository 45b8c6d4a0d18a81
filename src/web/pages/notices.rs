//! Notices: what an operator should know.

use askama::Template;

use super::Shell;
use crate::{
    domain::{NoticeId, NoticeKind, RunId, Severity},
    web::format::Ago,
};

/// Open notices, and those that are over.
#[derive(Debug, Template)]
#[template(path = "notices.html")]
pub struct NoticesPage {
    /// What stands around it.
    pub shell: Shell,
    /// Whether those are shown that are over.
    pub over: bool,
    /// The newest first.
    pub notices: Vec<NoticeRow>,
    /// The address of the next page.
    pub next: Option<String>,
}

/// A notice.
#[derive(Debug, Clone)]
pub struct NoticeRow {
    /// Its id.
    pub id: NoticeId,
    /// What it is, in words.
    pub what: String,
    /// How bad it is.
    pub severity: Severity,
    /// The job's name and address.
    pub job: Option<(String, String)>,
    /// The run that showed it last.
    pub run: Option<RunId>,
    /// What is wrong, with the figures, and what is usual.
    pub summary: String,
    /// How often it was found.
    pub times: u32,
    /// When it was opened.
    pub opened: Ago,
    /// When it was found last.
    pub seen: Ago,
    /// Who took note of it, and when.
    pub acknowledged: Option<(String, Ago)>,
    /// How it came to be over, and when.
    pub resolved: Option<(String, Ago)>,
}

impl NoticeRow {
    /// The shape that says how bad it is.
    #[must_use]
    pub const fn glyph(&self) -> &'static str {
        match self.severity {
            Severity::Critical => "critical",
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A kind of notice in words.
#[must_use]
pub const fn words(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Failed => "failed",
        NoticeKind::Failing => "keeps failing",
        NoticeKind::Slow => "slow",
        NoticeKind::Short => "suspiciously short",
        NoticeKind::FewRows => "few rows",
        NoticeKind::Overdue => "overdue",
        NoticeKind::Stuck => "stuck in the queue",
        NoticeKind::EngineUnreachable => "engine does not answer",
        NoticeKind::LimitHeld => "limit held very long",
        NoticeKind::DiskFull => "disk nearly full",
        NoticeKind::TokenExpiring => "token about to expire",
        NoticeKind::SecretExpiring => "secret about to expire",
    }
}
