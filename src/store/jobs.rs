//! Jobs and their revisions.

use super::{
    Session, Stopped, Store, StoreError, notices, samples, schedules,
    session::{Row, json_text, values},
    stops,
};
use crate::domain::{Job, JobId, JobSpec, Name, ProjectId, Revision, Timestamp};

/// A revision to be stored.
#[derive(Debug, Clone)]
pub struct NewRevision {
    /// The project.
    pub project: ProjectId,
    /// The job; a new one when `number` is 1.
    pub job: JobId,
    /// The number; must be the next one.
    pub number: u32,
    /// Everything but the configuration.
    pub spec: JobSpec,
    /// The configuration, sealed for this job and number.
    pub config: Vec<u8>,
    /// Who makes it.
    pub by: String,
    /// When.
    pub now: Timestamp,
}

/// What came of storing a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It holds now.
    Done(Job),
    /// Another revision was made meanwhile, or the job was archived: read the job again.
    Stale,
    /// Another job of the project has this name.
    NameTaken,
    /// Limits that do not exist, or whose capacity is below the weight: their places in `limits`.
    BadLimits(Vec<(usize, Option<u32>)>),
}

/// A page of jobs with their present revisions.
#[derive(Debug)]
pub struct JobPage {
    /// In the order of their names.
    pub jobs: Vec<(Job, Revision)>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<(Name, JobId)>,
}

macro_rules! job_columns {
    () => {
        "jobs.id AS the_job, jobs.project_id, jobs.name, jobs.revision, jobs.created_at AS job_created_at, \
         jobs.updated_at, jobs.archived_at, revisions.job_id, revisions.number, revisions.spec, revisions.config, \
         revisions.created_at, revisions.created_by FROM jobs \
         JOIN revisions ON revisions.job_id = jobs.id AND revisions.number = jobs.revision"
    };
}
pub(super) use job_columns;

pub(super) fn job_from(row: &Row) -> Result<Job, StoreError> {
    Ok(Job {
        id: JobId(row.get("the_job")?),
        project: ProjectId(row.get("project_id")?),
        name: row.word("name", |text| text.parse().ok())?,
        revision: row.number("revision")?,
        created_at: row.time("job_created_at")?,
        updated_at: row.time("updated_at")?,
        archived_at: row.time_opt("archived_at")?,
    })
}

pub(super) fn revision_from(row: &Row) -> Result<Revision, StoreError> {
    Ok(Revision {
        job: JobId(row.get("job_id")?),
        number: row.number("number")?,
        spec: row.json("spec")?,
        created_at: row.time("created_at")?,
        created_by: row.get("created_by")?,
    })
}

impl Store {
    /// Stores a job's first or next revision.
    ///
    /// # Errors
    /// The database failed.
    pub async fn apply(&self, new: NewRevision) -> Result<Applied, StoreError> {
        let new = std::sync::Arc::new(new);
        let result = self
            .write(move |session| {
                let new = std::sync::Arc::clone(&new);
                Box::pin(async move { apply(session, &new).await })
            })
            .await;
        match result {
            Err(error) if error.is_duplicate() => Ok(Applied::NameTaken),
            result => result,
        }
    }

    /// What would come of storing this revision now. Stores nothing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn would_apply(&self, new: &NewRevision) -> Result<Applied, StoreError> {
        let created_at = match self.job(new.project, new.job).await? {
            None if new.number == 1 => new.now,
            Some((job, ..)) if job.revision + 1 == new.number && job.archived_at.is_none() => job.created_at,
            _ => return Ok(Applied::Stale),
        };
        let mut session = self.read().await?;
        if let Err(bad) = resolve_limits(&mut session, new).await? {
            return Ok(Applied::BadLimits(bad));
        }
        let sql = "SELECT id FROM jobs WHERE project_id = $1 AND name = $2 AND archived_at IS NULL AND id <> $3";
        if session.first(sql, values![new.project, new.spec.name.as_str(), new.job]).await?.is_some() {
            return Ok(Applied::NameTaken);
        }
        Ok(Applied::Done(Job {
            id: new.job,
            project: new.project,
            name: new.spec.name.clone(),
            revision: new.number,
            created_at,
            updated_at: new.now,
            archived_at: None,
        }))
    }

    /// A job by its id, archived or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn job(&self, project: ProjectId, job: JobId) -> Result<Option<(Job, Revision, Vec<u8>)>, StoreError> {
        const SQL: &str = concat!("SELECT ", job_columns!(), " WHERE jobs.id = $1 AND jobs.project_id = $2");
        whole(self.read().await?.first(SQL, values![job, project]).await?)
    }

    /// A job by its id, whichever project it is of, unless it is archived.
    ///
    /// # Errors
    /// The database failed.
    pub async fn job_by_id(&self, job: JobId) -> Result<Option<(Job, Revision)>, StoreError> {
        const SQL: &str = concat!("SELECT ", job_columns!(), " WHERE jobs.id = $1 AND jobs.archived_at IS NULL");
        let row = self.read().await?.first(SQL, values![job]).await?;
        row.map(|row| Ok((job_from(&row)?, revision_from(&row)?))).transpose()
    }

    /// A job by its name, among those that are not archived.
    ///
    /// # Errors
    /// The database failed.
    pub async fn job_named(
        &self,
        project: ProjectId,
        name: &Name,
    ) -> Result<Option<(Job, Revision, Vec<u8>)>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            job_columns!(),
            " WHERE jobs.project_id = $1 AND jobs.name = $2 AND jobs.archived_at IS NULL"
        );
        whole(self.read().await?.first(SQL, values![project, name.as_str()]).await?)
    }

    /// A page of a project's jobs by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn jobs(
        &self,
        project: ProjectId,
        archived: bool,
        after: Option<(Name, JobId)>,
        limit: u32,
    ) -> Result<JobPage, StoreError> {
        self.jobs_named_like(project, "", archived, after, limit).await
    }

    /// The same of jobs whose name holds `part`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn jobs_named_like(
        &self,
        project: ProjectId,
        part: &str,
        archived: bool,
        after: Option<(Name, JobId)>,
        limit: u32,
    ) -> Result<JobPage, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            job_columns!(),
            " WHERE jobs.project_id = $1 AND (jobs.archived_at IS NULL OR $2) \
              AND (jobs.name > $3 OR (jobs.name = $3 AND jobs.id > $4)) AND jobs.name LIKE $6 ESCAPE '!' \
              ORDER BY jobs.name, jobs.id LIMIT $5"
        );
        let pattern = format!("%{}%", part.replace('!', "!!").replace('%', "!%").replace('_', "!_"));
        let (name, id) =
            after.map_or_else(|| (String::new(), JobId(uuid::Uuid::nil())), |(name, id)| (name.to_string(), id));
        let rows = self.read().await?.all(SQL, values![project, archived, name, id, limit + 1, pattern]).await?;
        let mut jobs = Vec::with_capacity(rows.len());
        for row in &rows {
            jobs.push((job_from(row)?, revision_from(row)?));
        }
        let more = jobs.len() > limit as usize;
        jobs.truncate(limit as usize);
        let next = more.then(|| jobs.last().map(|(job, _)| (job.name.clone(), job.id))).flatten();
        Ok(JobPage { jobs, next })
    }

    /// A job's revisions, the newest first, those below `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revisions(
        &self,
        job: JobId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<(Revision, Vec<u8>)>, StoreError> {
        let sql = "SELECT job_id, number, spec, config, created_at, created_by FROM revisions \
                   WHERE job_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3";
        let rows = self.read().await?.all(sql, values![job, before.map_or(i64::MAX, i64::from), limit]).await?;
        rows.iter().map(|row| Ok((revision_from(row)?, row.get("config")?))).collect()
    }

    /// Archives a job and ends the runs that wait in its queue. `None` when there is no such job.
    ///
    /// # Errors
    /// The database failed.
    pub async fn archive(
        &self,
        project: ProjectId,
        job: JobId,
        by: &str,
        now: Timestamp,
    ) -> Result<Option<Vec<Stopped>>, StoreError> {
        let by = by.to_owned();
        self.write(move |session| {
            let by = by.clone();
            Box::pin(async move {
                let sql = "UPDATE jobs SET archived_at = COALESCE(archived_at, $1) WHERE id = $2 AND project_id = $3";
                if session.execute(sql, values![now, job, project]).await? == 0 {
                    return Ok(None);
                }
                session.execute("DELETE FROM job_limits WHERE job_id = $1", values![job]).await?;
                let forgotten = vec![
                    schedules::forgetting(job),
                    samples::forgetting_expectation(job),
                    notices::ending_with(job, now),
                ];
                session.execute_all(forgotten).await?;
                stops::stop_queued_of(session, job, &by, now).await.map(Some)
            })
        })
        .await
    }
}

fn whole(row: Option<Row>) -> Result<Option<(Job, Revision, Vec<u8>)>, StoreError> {
    row.map(|row| Ok((job_from(&row)?, revision_from(&row)?, row.get("config")?))).transpose()
}

async fn apply(session: &mut Session, new: &NewRevision) -> Result<Applied, StoreError> {
    let limits = match resolve_limits(session, new).await? {
        Ok(limits) => limits,
        Err(bad) => return Ok(Applied::BadLimits(bad)),
    };
    let (name, max) = (new.spec.name.as_str(), new.spec.max_parallel);
    if new.number == 1 {
        session
            .execute(
                "INSERT INTO jobs (id, project_id, name, revision, max_parallel, created_at, updated_at) \
                 VALUES ($1, $2, $3, 1, $4, $5, $5)",
                values![new.job, new.project, name, max, new.now],
            )
            .await?;
    } else {
        let changed = session
            .execute(
                "UPDATE jobs SET name = $1, revision = $2, max_parallel = $3, updated_at = $4 \
                 WHERE id = $5 AND project_id = $6 AND revision = $7 AND archived_at IS NULL",
                values![name, new.number, max, new.now, new.job, new.project, new.number - 1],
            )
            .await?;
        if changed == 0 {
            return Ok(Applied::Stale);
        }
    }
    session
        .execute(
            "INSERT INTO revisions (job_id, number, spec, config, created_at, created_by) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            values![new.job, new.number, json_text(&new.spec)?, new.config.as_slice(), new.now, new.by.as_str()],
        )
        .await?;
    session.execute("DELETE FROM job_limits WHERE job_id = $1", values![new.job]).await?;
    for (limit, weight) in limits {
        let sql = "INSERT INTO job_limits (job_id, limit_id, weight) VALUES ($1, $2, $3)";
        session.execute(sql, values![new.job, limit, weight]).await?;
    }
    schedules::follow(session, new.job, new.number, &new.spec, new.now).await?;
    const JOB: &str = concat!("SELECT ", job_columns!(), " WHERE jobs.id = $1");
    let row = session.first(JOB, values![new.job]).await?.ok_or_else(|| StoreError::corrupt("job"))?;
    Ok(Applied::Done(job_from(&row)?))
}

type Resolved = Result<Vec<(uuid::Uuid, u32)>, Vec<(usize, Option<u32>)>>;

async fn resolve_limits(session: &mut Session, new: &NewRevision) -> Result<Resolved, StoreError> {
    let (mut found, mut bad) = (Vec::new(), Vec::new());
    for (index, limit) in new.spec.limits.iter().enumerate() {
        let sql = "SELECT id, capacity FROM limits WHERE project_id = $1 AND name = $2";
        match session.first(sql, values![new.project, limit.name.as_str()]).await? {
            Some(row) if row.number("capacity")? >= limit.weight => found.push((row.get("id")?, limit.weight)),
            Some(row) => bad.push((index, Some(row.number("capacity")?))),
            None => bad.push((index, None)),
        }
    }
    Ok(if bad.is_empty() { Ok(found) } else { Err(bad) })
}
