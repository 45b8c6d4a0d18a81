//! Figures about the present, from indexes over what lives: the length of the history plays no part.

use super::{Store, StoreError, session::values};
use crate::domain::{NoticeKind, Phase};

/// How many live runs are counted.
const MOST_RUNS: i64 = 200_000;
/// How many limits are told of.
const MOST_LIMITS: i64 = 200;
/// How many messages are counted.
const MOST_MESSAGES: i64 = 10_000;

/// Figures about the present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Live runs by engine and phase.
    pub runs: Vec<(String, Phase, i64)>,
    /// Named limits and their use.
    pub limits: Vec<LimitFigures>,
    /// Callbacks that are to be delivered.
    pub callbacks: i64,
    /// Messages about notices that are to be delivered.
    pub messages: i64,
    /// Open notices by kind.
    pub notices: Vec<(NoticeKind, i64)>,
}

/// A named limit's use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitFigures {
    /// The project's name.
    pub project: String,
    /// The limit's name.
    pub name: String,
    /// How much may be held.
    pub capacity: i64,
    /// How much is held.
    pub held: i64,
    /// How many ready runs need it, counted up to 1,000.
    pub waiting: i64,
}

impl Store {
    /// Figures about the present.
    ///
    /// # Errors
    /// The database failed.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        let mut session = self.read().await?;
        let mut figures = Figures::default();
        let sql = "SELECT engine, phase, COUNT(*) AS n FROM (SELECT engine, phase FROM runs \
                   WHERE phase IN ('queued', 'starting', 'running') LIMIT $1) AS live GROUP BY engine, phase";
        for row in session.all(sql, values![MOST_RUNS]).await? {
            figures.runs.push((row.get("engine")?, row.word("phase", Phase::parse)?, row.get("n")?));
        }
        let sql = "SELECT projects.name AS project, limits.name, limits.capacity, \
                   (SELECT CAST(SUM(weight) AS BIGINT) FROM slots WHERE slots.limit_id = limits.id) AS held, \
                   (SELECT COUNT(*) FROM (SELECT 1 FROM runs JOIN job_limits ON job_limits.job_id = runs.job_id \
                    WHERE job_limits.limit_id = limits.id AND runs.phase = 'queued' AND runs.hold_until IS NULL \
                    LIMIT 1000) AS w) AS waiting \
                   FROM limits JOIN projects ON projects.id = limits.project_id ORDER BY limits.id LIMIT $1";
        for row in session.all(sql, values![MOST_LIMITS]).await? {
            figures.limits.push(LimitFigures {
                project: row.get("project")?,
                name: row.get("name")?,
                capacity: row.get("capacity")?,
                held: row.get::<Option<i64>>("held")?.unwrap_or(0),
                waiting: row.get("waiting")?,
            });
        }
        let sql = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM callbacks WHERE due_at IS NOT NULL LIMIT $1) AS due";
        figures.callbacks = session.count(sql, values![MOST_MESSAGES]).await?;
        let sql = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM messages LIMIT $1) AS waiting";
        figures.messages = session.count(sql, values![MOST_MESSAGES]).await?;
        let sql = "SELECT kind, COUNT(*) AS n FROM notices WHERE resolved_at IS NULL GROUP BY kind";
        for row in session.all(sql, Vec::new()).await? {
            figures.notices.push((row.word("kind", NoticeKind::parse)?, row.get("n")?));
        }
        Ok(figures)
    }
}
