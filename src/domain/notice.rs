//! What an operator should know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobId, Name, NoticeId, ProjectId, RunId, Timestamp};

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// The job's last run failed or timed out.
    Failed,
    /// Several runs of the job failed one after the other.
    Failing,
    /// A run takes, or took, longer than is usual for the job.
    Slow,
    /// A run succeeded much sooner than is usual.
    Short,
    /// A run succeeded with no rows, or far fewer than is usual.
    FewRows,
    /// The job should have been run by now.
    Overdue,
    /// A run waits in the queue longer than is usual.
    Stuck,
    /// An engine does not answer.
    EngineUnreachable,
    /// A named limit is full, others wait for it, and one run has held it very long.
    LimitHeld,
    /// The disk with the service's data is nearly full.
    DiskFull,
    /// A token is about to expire.
    TokenExpiring,
    /// A secret is about to stop being valid where it comes from, or has.
    SecretExpiring,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a look.
    Warning,
    /// Something did not happen that should have.
    Error,
    /// It goes on happening, or concerns all jobs. Told in quiet hours too.
    Critical,
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Failed,
        Self::Failing,
        Self::Slow,
        Self::Short,
        Self::FewRows,
        Self::Overdue,
        Self::Stuck,
        Self::EngineUnreachable,
        Self::LimitHeld,
        Self::DiskFull,
        Self::TokenExpiring,
        Self::SecretExpiring,
    ];

    /// The kind as it is stored and written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Failing => "failing",
            Self::Slow => "slow",
            Self::Short => "short",
            Self::FewRows => "few_rows",
            Self::Overdue => "overdue",
            Self::Stuck => "stuck",
            Self::EngineUnreachable => "engine_unreachable",
            Self::LimitHeld => "limit_held",
            Self::DiskFull => "disk_full",
            Self::TokenExpiring => "token_expiring",
            Self::SecretExpiring => "secret_expiring",
        }
    }

    /// Reads a stored kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Failing | Self::EngineUnreachable | Self::DiskFull => Severity::Critical,
            Self::Failed | Self::Overdue => Severity::Error,
            Self::Slow
            | Self::Short
            | Self::FewRows
            | Self::Stuck
            | Self::LimitHeld
            | Self::TokenExpiring
            | Self::SecretExpiring => Severity::Warning,
        }
    }
}

impl Severity {
    /// The severity as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Something that is wrong, found now.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub kind: NoticeKind,
    /// What it is about: a job, an engine, a limit, a token, a secret, the disk. One notice of a kind is open for each.
    pub subject: String,
    /// The project; `None` = the whole installation.
    pub project: Option<ProjectId>,
    /// The job.
    pub job: Option<(JobId, Name)>,
    /// The run that showed it.
    pub run: Option<RunId>,
    /// In words: what is wrong, with the figures, and what is usual.
    pub summary: String,
    /// The figures, in seconds or numbers.
    pub figures: BTreeMap<&'static str, f64>,
    /// The only channels that are told; empty = all of the project.
    pub channels: Vec<Name>,
}

/// A notice as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its id; also the order in which notices were opened.
    pub id: NoticeId,
    /// The project; `None` = the whole installation.
    pub project: Option<ProjectId>,
    /// What it is.
    pub kind: NoticeKind,
    /// What it is about.
    pub subject: String,
    /// The job.
    pub job: Option<(JobId, Name)>,
    /// The run that showed it last.
    pub run: Option<RunId>,
    /// In words.
    pub summary: String,
    /// The figures.
    pub figures: BTreeMap<String, f64>,
    /// How often it was found since it was opened.
    pub times: u32,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was found last.
    pub seen_at: Timestamp,
    /// When somebody took note of it.
    pub acknowledged_at: Option<Timestamp>,
    /// Who, by the token's name.
    pub acknowledged_by: Option<String>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// How it came to be over.
    pub resolution: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_are_the_json_names() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!(Severity::Critical > Severity::Error && Severity::Error > Severity::Warning);
    }
}
