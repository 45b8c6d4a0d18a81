//! The jobs of a project.

use axum::extract::{Query, State};
use serde::Deserialize;

use super::{
    Answer, Visitor, Web,
    pages::{JobRow, JobsPage, LastRun, Section},
};
use crate::{
    api::{Api, Problem},
    domain::{Job, JobId, Name, Revision, Timestamp},
    store::RunGlance,
    web::{
        format::{Ago, Badge, Span},
        plots::{Measured, Sparkline},
        query_escape,
        refusal::page,
    },
};

/// Jobs on one page.
const JOBS: u32 = 25;
/// Runs of each that are looked at.
const GLANCES: u32 = 30;

/// Which jobs.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct ListQuery {
    /// Whose name holds this.
    #[serde(default)]
    q: String,
    #[serde(default)]
    archived: bool,
    /// Behind this name.
    after: Option<Name>,
    /// And, of jobs with the same name, behind this one.
    after_id: Option<JobId>,
}

/// Jobs by name.
pub(in crate::web) async fn list(State(web): State<Web>, visitor: Visitor, Query(query): Query<ListQuery>) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require_runs()?;
    let shell = visitor.live_shell(api, Section::Jobs, "Jobs");
    let search = query.q.trim().to_lowercase();
    let after = query.after.zip(query.after_id);
    let found = api.store.jobs_named_like(at.project.id, &search, query.archived, after, JOBS).await?;
    let mut jobs = Vec::new();
    for (job, revision) in found.jobs.iter().filter(|(job, _)| at.caller.reaches(job.id)) {
        jobs.push(row(api, job, revision, shell.now).await?);
    }
    let next = found.next.map(|(name, id)| {
        format!("/jobs?q={}&archived={}&after={name}&after_id={id}", query_escape(&search), query.archived)
    });
    page(&JobsPage { shell, search, archived: query.archived, jobs, next })
}

async fn row(api: &Api, job: &Job, revision: &Revision, now: Timestamp) -> Result<JobRow, Problem> {
    let runs = api.store.newest_runs(job.id, GLANCES).await?;
    Ok(JobRow {
        name: job.name.clone(),
        path: path_of(job),
        image: revision.spec.image.clone(),
        enabled: revision.spec.enabled,
        archived: job.archived_at.is_some(),
        last: runs.first().map(|run| LastRun {
            id: run.id,
            state: Badge(run.state),
            created: Ago::new(run.created_at, now),
            duration: run.started_at.map(|start| Span(run.finished_at.unwrap_or(now).since(start))),
        }),
        spark: Sparkline::of(&measured(&runs)),
    })
}

/// A job's address: an archived job's name may have been given to another.
pub(super) fn path_of(job: &Job) -> String {
    match job.archived_at {
        None => format!("/jobs/{}", job.name),
        Some(_) => format!("/jobs/{}", job.id),
    }
}

/// Those that have run and ended.
pub(super) fn measured(runs: &[RunGlance]) -> Vec<Measured> {
    runs.iter()
        .filter_map(|run| {
            let (start, at) = run.started_at.zip(run.finished_at)?;
            Some(Measured { run: run.id, state: run.state, duration: at.since(start), at })
        })
        .collect()
}
