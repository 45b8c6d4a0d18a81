//! API credentials.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobId, Name, ProjectId, Timestamp, TokenId};

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See jobs, runs, logs, limits, state.
    Read,
    /// Start runs, and see and cancel runs.
    Trigger,
    /// Change jobs, limits, secrets, registries, state. Includes `read` and `trigger`.
    Write,
    /// Everything in the project, its tokens too.
    Admin,
}

impl Scope {
    /// The scope as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Trigger => "trigger",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// Whether holding this scope includes `other`.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Write => !matches!(other, Self::Admin),
            Self::Trigger => matches!(other, Self::Trigger),
            Self::Read => matches!(other, Self::Read),
        }
    }
}

/// A credential, without its secret (only a hash of which is kept).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id; not secret.
    pub id: TokenId,
    /// What people call it.
    pub name: Name,
    /// The project it belongs to; `None` = the whole installation.
    pub project: Option<ProjectId>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only jobs it may see and trigger; empty = all of its project.
    pub jobs: Vec<JobId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When somebody revoked it.
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    /// Whether it works at this moment.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it holds a scope.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| held.includes(scope))
    }
}
