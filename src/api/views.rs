//! From what is stored to what is shown.

use std::time::Duration;

use super::{
    Problem,
    types::{AttemptView, JobView, Page, RevisionView, RunView, TokenView},
};
use crate::{
    domain::{Attempt, Job, JobConfig, Name, Project, Revision, Run, Timestamp, Token, Waiting},
    domain::{FieldError, Phase},
};

pub(super) fn job(project: &Project, job: &Job, revision: &Revision, config: JobConfig) -> JobView {
    JobView {
        id: job.id,
        project: project.name.clone(),
        revision: job.revision,
        spec: revision.spec.clone().join(config.without_secrets()),
        created_at: job.created_at,
        updated_at: job.updated_at,
        archived_at: job.archived_at,
    }
}

pub(super) fn revision(revision: &Revision, config: JobConfig) -> RevisionView {
    RevisionView {
        number: revision.number,
        spec: revision.spec.clone().join(config.without_secrets()),
        created_at: revision.created_at,
        created_by: revision.created_by.clone(),
    }
}

pub(super) fn run(project: &Name, run: &Run, waiting: Option<Waiting>, now: Timestamp) -> RunView {
    let duration = run.started_at.map(|start| run.finished_at.unwrap_or(now).since(start));
    RunView {
        id: run.id,
        project: project.clone(),
        job: run.job_name.clone(),
        job_id: run.job,
        revision: run.revision,
        engine: run.engine.clone(),
        state: run.life.state(),
        finished: run.life.phase.is_terminal(),
        waiting,
        exit_code: run.exit_code,
        error: run.error.clone(),
        output: run.output.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        metrics: run.metrics.clone(),
        progress: run.progress.clone(),
        attempt: run.life.attempt,
        slice: run.life.slice,
        parameters: serde_json::from_str(&run.parameters).unwrap_or_default(),
        labels: run.labels.clone(),
        source: run.source.clone(),
        traceparent: run.traceparent.clone(),
        priority: run.priority,
        not_before: run.not_before,
        timeout_seconds: run.timeout_seconds,
        abandon_after_seconds: run.abandon_after_seconds,
        retry_of: run.retry_of,
        created_by: run.created_by.clone(),
        stopped_by: run.stopped_by.clone(),
        created_at: run.created_at,
        queued_at: run.queued_at,
        started_at: run.started_at,
        finished_at: run.finished_at,
        duration_ms: duration.map(|time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        log: run.log,
    }
}

/// Whether a run's JSON form stays the same until the run changes: nothing in it follows the clock or the queue.
pub(super) const fn is_steady(run: &Run) -> bool {
    match run.life.phase {
        Phase::Queued | Phase::Starting | Phase::Running => false,
        Phase::Succeeded | Phase::Failed | Phase::Cancelled | Phase::TimedOut => true,
    }
}

pub(super) fn attempt(attempt: &Attempt) -> AttemptView {
    AttemptView {
        number: attempt.id.number,
        slice: attempt.slice,
        engine: attempt.engine.clone(),
        workload: attempt.id.workload_name().to_string(),
        created_at: attempt.created_at,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        exit_code: attempt.exit_code,
        error: attempt.error.clone(),
    }
}

pub(super) fn token(token: &Token, project: Option<Name>) -> TokenView {
    TokenView {
        id: token.id,
        name: token.name.clone(),
        project,
        scopes: token.scopes.clone(),
        jobs: token.jobs.clone(),
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
    }
}

/// The most entries of a page.
const MOST: u32 = 500;

/// The size of a page that was asked for, or 50.
pub(super) fn page_size(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(50) {
        limit @ 1..=MOST => Ok(limit),
        _ => Err(Problem::malformed(format!("limit is from 1 to {MOST}"))),
    }
}

/// A cursor that was given back to us.
pub(super) fn cursor<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let parsed = cursor.map(str::parse).transpose();
    parsed.map_err(|_| Problem::malformed("the cursor is not one that the service gave: begin at the first page"))
}

/// A page from one entry more than was asked for.
pub(super) fn page<T>(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = more.then(|| items.last().map(cursor)).flatten();
    Page { items, next_cursor }
}

/// Errors of a document, below a pointer.
pub(super) fn checked(result: Result<(), Vec<FieldError>>) -> Result<(), Problem> {
    result.map_err(Problem::invalid)
}
