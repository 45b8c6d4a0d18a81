//! How many runs each engine may have at once.

use std::collections::{BTreeMap, HashMap};

use super::{Session, Store, StoreError, session::values};

/// How many runs an engine has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineLoad {
    /// Runs that are starting or running on it.
    pub active: u32,
    /// Runs that wait to be started on it, counted up to 10,000.
    pub queued: u32,
}

impl Store {
    /// From now on these engines have at most so many runs at once, and all others as many as come. Runs that are
    /// active already go on.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_engine_capacities(&self, capacities: BTreeMap<String, u32>) -> Result<(), StoreError> {
        self.write(move |session| {
            let capacities = capacities.clone();
            Box::pin(async move {
                let clear = ("DELETE FROM engine_capacities", Vec::new());
                let set = capacities.iter().map(|(engine, most)| {
                    let sql = "INSERT INTO engine_capacities (engine, max_running) VALUES ($1, $2)";
                    (sql, values![engine.as_str(), *most])
                });
                session.execute_all(std::iter::once(clear).chain(set).collect()).await.map(|_| ())
            })
        })
        .await
    }

    /// What this engine has to do now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn engine_load(&self, engine: &str) -> Result<EngineLoad, StoreError> {
        let mut session = self.read().await?;
        let active = active(&mut session, engine).await?;
        let sql = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM runs WHERE phase IN ('queued', 'starting', 'running') \
                   AND phase = 'queued' AND engine = $1 LIMIT 10000) AS queued";
        let queued = session.count(sql, values![engine]).await?;
        let number = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(EngineLoad { active: number(active), queued: number(queued) })
    }
}

async fn active(session: &mut Session, engine: &str) -> Result<i64, StoreError> {
    // SQLite uses a partial index only where its condition stands in the query word for word; else all runs are read.
    let sql = "SELECT COUNT(*) AS n FROM runs WHERE engine = $1 AND phase IN ('queued', 'starting', 'running') \
               AND phase IN ('starting', 'running')";
    session.count(sql, values![engine]).await
}

/// The most runs at once on an engine, and how many it has; `None` when there is no such bound.
pub(super) async fn capacity_of(session: &mut Session, engine: &str) -> Result<Option<(u32, u32)>, StoreError> {
    let sql = "SELECT max_running FROM engine_capacities WHERE engine = $1";
    let Some(row) = session.first(sql, values![engine]).await? else { return Ok(None) };
    let held = active(session, engine).await?;
    Ok(Some((row.number("max_running")?, u32::try_from(held).unwrap_or(u32::MAX))))
}

/// What is left of the engines' capacities within one round of admission.
#[derive(Debug, Default)]
pub(super) struct EngineCapacities(HashMap<String, Option<u32>>);

impl EngineCapacities {
    /// Whether the engine has room for one more run.
    pub(super) async fn fit(&mut self, session: &mut Session, engine: &str) -> Result<bool, StoreError> {
        if !self.0.contains_key(engine) {
            let capacity = capacity_of(session, engine).await?;
            self.0.insert(engine.to_owned(), capacity.map(|(most, held)| most.saturating_sub(held)));
        }
        Ok(self.0[engine] != Some(0))
    }

    /// One more run is on it.
    pub(super) fn take(&mut self, engine: &str) {
        if let Some(Some(free)) = self.0.get_mut(engine) {
            *free = free.saturating_sub(1);
        }
    }
}
