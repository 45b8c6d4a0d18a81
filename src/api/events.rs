//! A run's timeline.

use axum::{Json, extract::State};

use super::{
    Api, Problem,
    extract::{InProject, Part},
    types::Timeline,
    views,
};
use crate::domain::RunId;

/// Everything that happened to a run, and its attempts.
#[utoipa::path(get, path = "/runs/{run}/events", operation_id = "readTimeline", tag = "runs", params(("run" = RunId, Path)),
    responses((status = 200, body = Timeline), (status = "default", body = Problem)))]
pub(super) async fn timeline(
    State(api): State<Api>,
    at: InProject,
    Part(run): Part<RunId>,
) -> Result<Json<Timeline>, Problem> {
    at.require_runs()?;
    let found = api.read_run(&at, run).await?;
    let events = api.store.timeline(&found.run).await?;
    let attempts = api.store.attempts(run).await?.iter().map(views::attempt).collect();
    Ok(Json(Timeline { events, attempts }))
}
