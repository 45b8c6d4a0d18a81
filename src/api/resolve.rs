//! Finding jobs and runs that the caller may reach.

use std::sync::Arc;

use super::{Api, JobRef, Problem, extract::InProject};
use crate::{
    domain::{Job, Revision, Run, RunId},
    runner::CachedRun,
};

/// A job as it was when it was last read; its revision tells whether it still is.
#[derive(Debug)]
pub struct ResolvedJob {
    /// The job.
    pub job: Job,
    /// Its present revision.
    pub revision: Revision,
}

impl Api {
    /// A job with its sealed configuration.
    pub(crate) async fn find_job(&self, at: &InProject, job: &JobRef) -> Result<(Job, Revision, Vec<u8>), Problem> {
        let found = match job {
            JobRef::Id(id) => self.store.job(at.project.id, *id).await?,
            JobRef::Name(name) => self.store.job_named(at.project.id, name).await?,
        };
        let found = found.ok_or_else(|| Problem::not_found("job"))?;
        at.require_job(found.0.id, "job")?;
        Ok(found)
    }

    /// A job, from memory if it is there. What depends on it checks the revision when it writes.
    pub(super) async fn find_job_fast(&self, at: &InProject, job: &JobRef) -> Result<Arc<ResolvedJob>, Problem> {
        let key = (at.project.id, job.clone());
        if let Some(resolved) = self.jobs.get(&key) {
            at.require_job(resolved.job.id, "job")?;
            return Ok(resolved);
        }
        let (job, revision, _) = self.find_job(at, job).await?;
        let resolved = Arc::new(ResolvedJob { job, revision });
        self.jobs.insert(key, Arc::clone(&resolved));
        Ok(resolved)
    }

    pub(super) fn forget_job(&self, at: &InProject, job: &JobRef) {
        self.jobs.remove(&(at.project.id, job.clone()));
    }

    /// A run that the caller may see.
    pub(crate) async fn find_run(&self, at: &InProject, run: RunId) -> Result<Arc<CachedRun>, Problem> {
        let hub = self.runner.hub();
        let found = match hub.latest(run) {
            Some(found) => found,
            None => {
                let run = self.store.run(at.project.id, run).await?;
                hub.remember(run.ok_or_else(|| Problem::not_found("run"))?)
            }
        };
        Self::check_run(at, &found.run)?;
        Ok(found)
    }

    /// The same for whoever reads it: the caller's asking keeps the run's lease.
    pub(crate) async fn read_run(&self, at: &InProject, run: RunId) -> Result<Arc<CachedRun>, Problem> {
        let found = self.find_run(at, run).await?;
        let leased = found.run.abandon_after_seconds.is_some() && !found.run.life.phase.is_terminal();
        if leased && at.asks_for(&found.run) {
            self.runner.renew_lease(run);
        }
        Ok(found)
    }

    /// The run as it is now.
    pub(super) async fn latest_run(&self, found: Arc<CachedRun>) -> Result<Arc<CachedRun>, Problem> {
        let hub = self.runner.hub();
        if let Some(latest) = hub.latest(found.run.id) {
            return Ok(latest);
        }
        let run = self.store.run(found.run.project, found.run.id).await?;
        Ok(hub.remember(run.ok_or_else(|| Problem::not_found("run"))?))
    }

    fn check_run(at: &InProject, run: &Run) -> Result<(), Problem> {
        if run.project != at.project.id {
            return Err(Problem::not_found("run"));
        }
        at.require_job(run.job, "run")
    }
}
