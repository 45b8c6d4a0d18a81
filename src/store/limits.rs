//! Named limits, who holds them, who waits for them.

use super::{
    Store, StoreError,
    capacities::capacity_of,
    session::{Row, values},
};
use crate::domain::{Limit, LimitId, Name, ProjectId, RunId, Timestamp};

/// A limit and its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitUsage {
    /// The limit.
    pub limit: Limit,
    /// The sum of weights held now.
    pub held: u32,
    /// Who holds it, and how much; at most 100.
    pub holders: Vec<(RunId, u32)>,
    /// How many ready runs of jobs that name it wait, counted up to 1,000.
    pub waiting: u32,
}

/// What came of removing a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// There was none.
    NotFound,
    /// This many jobs name it, or it is held.
    InUse(u32),
}

fn limit_from(row: &Row) -> Result<Limit, StoreError> {
    Ok(Limit {
        id: LimitId(row.get("id")?),
        name: row.word("name", |text| text.parse().ok())?,
        capacity: row.number("capacity")?,
        updated_at: row.time("updated_at")?,
    })
}

impl Store {
    /// Makes a limit, or changes its capacity. Who holds more than a lowered capacity keeps it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_limit(
        &self,
        project: ProjectId,
        name: &Name,
        capacity: u32,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (name, id) = (name.to_string(), LimitId::generate());
        self.write(move |session| {
            let name = name.clone();
            Box::pin(async move {
                session
                    .execute(
                        "INSERT INTO limits (id, project_id, name, capacity, updated_at) VALUES ($1, $2, $3, $4, $5) \
                         ON CONFLICT (project_id, name) DO UPDATE SET capacity = excluded.capacity, \
                         updated_at = excluded.updated_at",
                        values![id, project, name, capacity, now],
                    )
                    .await
                    .map(|_| ())
            })
        })
        .await
    }

    /// Removes a limit that no job names and no run holds.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove_limit(&self, project: ProjectId, name: &Name) -> Result<Removal, StoreError> {
        let name = name.to_string();
        self.write(move |session| {
            let name = name.clone();
            Box::pin(async move {
                let sql = "SELECT id FROM limits WHERE project_id = $1 AND name = $2";
                let Some(row) = session.first(sql, values![project, name]).await? else {
                    return Ok(Removal::NotFound);
                };
                let id: uuid::Uuid = row.get("id")?;
                let sql = "SELECT (SELECT COUNT(*) FROM job_limits WHERE limit_id = $1) \
                           + (SELECT COUNT(*) FROM slots WHERE limit_id = $1) AS n";
                let uses = session.count(sql, values![id]).await?;
                if uses > 0 {
                    return Ok(Removal::InUse(u32::try_from(uses).unwrap_or(u32::MAX)));
                }
                session.execute("DELETE FROM limits WHERE id = $1", values![id]).await?;
                Ok(Removal::Removed)
            })
        })
        .await
    }

    /// One limit and its use.
    ///
    /// # Errors
    /// The database failed.
    pub async fn limit(&self, project: ProjectId, name: &Name) -> Result<Option<LimitUsage>, StoreError> {
        let mut session = self.read().await?;
        let sql = "SELECT id, name, capacity, updated_at FROM limits WHERE project_id = $1 AND name = $2";
        let Some(row) = session.first(sql, values![project, name.as_str()]).await? else { return Ok(None) };
        let limit = limit_from(&row)?;
        let sql = "SELECT run_id, weight FROM slots WHERE limit_id = $1 ORDER BY run_id LIMIT 100";
        let mut holders = Vec::new();
        for row in session.all(sql, values![limit.id]).await? {
            holders.push((RunId(row.get("run_id")?), row.number("weight")?));
        }
        let held = session
            .count("SELECT CAST(SUM(weight) AS BIGINT) AS n FROM slots WHERE limit_id = $1", values![limit.id])
            .await?;
        let sql = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM runs JOIN job_limits ON job_limits.job_id = runs.job_id \
                   WHERE job_limits.limit_id = $1 AND runs.phase = 'queued' AND runs.hold_until IS NULL LIMIT 1000) AS w";
        let waiting = session.count(sql, values![limit.id]).await?;
        let number = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Some(LimitUsage { limit, held: number(held), holders, waiting: number(waiting) }))
    }

    /// A project's limits by name, those after `after`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn limits(
        &self,
        project: ProjectId,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<(Limit, u32)>, StoreError> {
        let sql = "SELECT id, name, capacity, updated_at, \
                   (SELECT CAST(SUM(weight) AS BIGINT) FROM slots WHERE slots.limit_id = limits.id) AS held \
                   FROM limits WHERE project_id = $1 AND name > $2 ORDER BY name LIMIT $3";
        let after = after.map_or("", |name| name.as_str());
        let rows = self.read().await?.all(sql, values![project, after, limit]).await?;
        rows.iter().map(|row| Ok((limit_from(row)?, row.number_opt("held")?.unwrap_or(0)))).collect()
    }

    /// What a queued run waits for: each bound that has no room for it, and who holds it; and the run's place among the job's ready runs, from 1, counted up
    /// to 1,001.
    ///
    /// # Errors
    /// The database failed.
    pub async fn blockers(&self, run: &crate::domain::Run) -> Result<(Vec<Blocker>, u32), StoreError> {
        let mut session = self.read().await?;
        let mut blockers = Vec::new();
        let sql = "SELECT CAST(NULL AS TEXT) AS name, id AS limit_id, max_parallel AS capacity, \
                   CAST(1 AS BIGINT) AS weight, CAST((SELECT COUNT(*) FROM slots WHERE limit_id = jobs.id) AS BIGINT) \
                   AS held FROM jobs WHERE id = $1 AND max_parallel IS NOT NULL \
                   UNION ALL \
                   SELECT limits.name, limits.id, limits.capacity, job_limits.weight, \
                   CAST(COALESCE((SELECT SUM(weight) FROM slots WHERE slots.limit_id = limits.id), 0) AS BIGINT) \
                   FROM job_limits JOIN limits ON limits.id = job_limits.limit_id WHERE job_limits.job_id = $1";
        for row in session.all(sql, values![run.job]).await? {
            let (capacity, weight, held) = (row.number("capacity")?, row.number("weight")?, row.number("held")?);
            if held + weight <= capacity {
                continue;
            }
            let limit: uuid::Uuid = row.get("limit_id")?;
            let sql = "SELECT run_id FROM slots WHERE limit_id = $1 ORDER BY run_id LIMIT 10";
            let holders = session.all(sql, values![limit]).await?;
            let name: Option<String> = row.get("name")?;
            blockers.push(Blocker {
                bound: name.map_or(Bound::Job, Bound::Limit),
                capacity,
                weight,
                held,
                holders: holders.iter().map(|row| row.get("run_id").map(RunId)).collect::<Result<_, _>>()?,
            });
        }
        if let Some((capacity, held)) = capacity_of(&mut session, &run.engine).await?
            && held >= capacity
        {
            let bound = Bound::Engine(run.engine.clone());
            blockers.push(Blocker { bound, capacity, weight: 1, held, holders: Vec::new() });
        }
        let sql = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM runs WHERE phase = 'queued' AND hold_until IS NULL \
                   AND job_id = $1 AND (priority > $2 OR (priority = $2 AND (queued_at < $3 \
                   OR (queued_at = $3 AND id < $4)))) LIMIT 1000) AS ahead";
        let ahead = session.count(sql, values![run.job, run.priority, run.queued_at, run.id]).await?;
        Ok((blockers, u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1)))
    }
}

/// What bounds how many runs there are at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// The job's `max_parallel`.
    Job,
    /// A named limit.
    Limit(String),
    /// The `max_running` of the engine of this name.
    Engine(String),
}

/// A full bound that keeps a run waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// Which one.
    pub bound: Bound,
    /// How much may be held.
    pub capacity: u32,
    /// How much the run needs.
    pub weight: u32,
    /// How much is held.
    pub held: u32,
    /// Who holds it; at most 10. Nobody is named for an engine: most of its runs may be of other projects.
    pub holders: Vec<RunId>,
}
