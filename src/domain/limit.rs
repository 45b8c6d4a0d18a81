//! Named limits that jobs share.

use super::{LimitId, Name, Timestamp};

/// How much may be held at once by all runs of all jobs that name this limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its id.
    pub id: LimitId,
    /// Its name, unique in the project.
    pub name: Name,
    /// The sum of weights that may be held at once. 0 = nothing starts.
    pub capacity: u32,
    /// When it was last set.
    pub updated_at: Timestamp,
}
