//! A job's revisions.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Api, JobRef, Problem,
    extract::{InProject, Part, Query},
    jobs::How,
    types::{JobView, Page, RevisionView},
    views,
};
use crate::domain::Scope;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many, 1 to 500; 50 by default.
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// A job's revisions, the newest first.
#[utoipa::path(get, path = "/jobs/{job}/revisions", operation_id = "listRevisions", tag = "jobs",
    params(("job" = String, Path, description = "Id or name"), PageQuery),
    responses((status = 200, body = Page<RevisionView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<RevisionView>>, Problem> {
    at.require(Scope::Read)?;
    let (job, ..) = api.find_job(&at, &job).await?;
    let limit = views::page_size(query.limit)?;
    let before = views::cursor(query.cursor.as_deref())?;
    let mut items = Vec::new();
    for (revision, sealed) in api.store.revisions(job.id, before, limit + 1).await? {
        let config = api.keys.open_config(at.project.id, job.id, revision.number, &sealed).await?;
        items.push(views::revision(&revision, config));
    }
    Ok(Json(views::page(items, limit, |revision| revision.number.to_string())))
}

/// One revision of a job.
#[utoipa::path(get, path = "/jobs/{job}/revisions/{number}", operation_id = "readRevision", tag = "jobs",
    params(("job" = String, Path, description = "Id or name"), ("number" = u32, Path)),
    responses((status = 200, body = RevisionView), (status = "default", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    at: InProject,
    Path((job, number)): Path<(String, String)>,
) -> Result<Json<RevisionView>, Problem> {
    at.require(Scope::Read)?;
    let (_, view) = api.find_revision(&at, &job, &number).await?;
    Ok(Json(view))
}

/// Makes a new revision that is the same as this earlier one; values of secrets included.
#[utoipa::path(post, path = "/jobs/{job}/revisions/{number}/restore", operation_id = "restoreRevision", tag = "jobs",
    params(("job" = String, Path, description = "Id or name"), ("number" = u32, Path)),
    responses((status = 200, body = JobView), (status = "default", body = Problem)))]
pub(super) async fn restore(
    State(api): State<Api>,
    at: InProject,
    Path((job, number)): Path<(String, String)>,
) -> Result<Json<JobView>, Problem> {
    at.require(Scope::Write)?;
    let (job, view) = api.find_revision(&at, &job, &number).await?;
    let found = api.store.revisions(job.0, Some(view.number + 1), 1).await?;
    let (revision, sealed) = found.into_iter().next().ok_or_else(|| Problem::not_found("revision"))?;
    let config = api.keys.open_config(at.project.id, job.0, revision.number, &sealed).await?;
    let spec = revision.spec.join(config);
    api.change(&at, &JobRef::Id(job.0), How::Really, |_| Ok(spec.clone())).await.map(Json)
}

/// The job's id, kept apart from its view.
struct Found(crate::domain::JobId);

impl Api {
    async fn find_revision(&self, at: &InProject, job: &str, number: &str) -> Result<(Found, RevisionView), Problem> {
        let job: JobRef = job.parse().map_err(|_| Problem::not_found("job"))?;
        let (job, ..) = self.find_job(at, &job).await?;
        let number: u32 = number.parse().map_err(|_| Problem::not_found("revision"))?;
        let page = self.store.revisions(job.id, number.checked_add(1), 1).await?;
        let found = page.into_iter().next().filter(|(revision, _)| revision.number == number);
        let (revision, sealed) = found.ok_or_else(|| Problem::not_found("revision"))?;
        let config = self.keys.open_config(at.project.id, job.id, number, &sealed).await?;
        Ok((Found(job.id), views::revision(&revision, config)))
    }
}
