//! A job's state.

use axum::{Json, extract::State};

use super::{
    Api, JobRef, Problem,
    extract::{Body, InProject, Part, Query},
    revisions::PageQuery,
    types::{Page, StateRequest, StateView},
    views,
};
use crate::{domain::Scope, store::StateVersion};

/// Largest state, in bytes of JSON.
const LARGEST: usize = 256 * 1024;

fn view(version: StateVersion) -> StateView {
    StateView {
        version: version.version,
        state: version.document,
        run: version.run,
        updated_at: Some(version.created_at),
        updated_by: Some(version.created_by),
    }
}

/// A job's present state.
#[utoipa::path(get, path = "/jobs/{job}/state", operation_id = "readState", tag = "state",
    params(("job" = String, Path, description = "Id or name")),
    responses((status = 200, body = StateView), (status = "default", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
) -> Result<Json<StateView>, Problem> {
    at.require(Scope::Read)?;
    let (job, ..) = api.find_job(&at, &job).await?;
    let none = StateView { version: 0, state: serde_json::Map::new(), run: None, updated_at: None, updated_by: None };
    Ok(Json(api.store.states(job.id, None, 1).await?.pop().map_or(none, view)))
}

/// Sets a job's state by hand, for example to load everything again.
#[utoipa::path(put, path = "/jobs/{job}/state", operation_id = "setState", tag = "state", request_body = StateRequest,
    params(("job" = String, Path, description = "Id or name")),
    responses((status = 200, body = StateView), (status = 409, body = Problem), (status = "default", body = Problem)))]
pub(super) async fn set(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
    Body(request): Body<StateRequest>,
) -> Result<Json<StateView>, Problem> {
    at.require(Scope::Write)?;
    let size = serde_json::to_string(&request.state).map_or(usize::MAX, |text| text.len());
    if size > LARGEST {
        return Err(Problem::invalid_field("/state", "at most 256 KiB as JSON"));
    }
    let (job, ..) = api.find_job(&at, &job).await?;
    let (by, now) = (at.caller.name(), api.clock.now());
    match api.store.set_state(job.id, &request.state, request.expected_version, by, now).await? {
        Ok(version) => {
            api.audit(&at, "state.set", &job.name).await?;
            let (updated_at, updated_by) = (Some(now), Some(by.to_owned()));
            Ok(Json(StateView { version, state: request.state, run: None, updated_at, updated_by }))
        }
        Err(current) => {
            let detail = format!("the state has version {current} now: read it again");
            Err(Problem::conflict("state_conflict", detail))
        }
    }
}

/// Versions of a job's state, the newest first; the last 100 are kept.
#[utoipa::path(get, path = "/jobs/{job}/state/history", operation_id = "listStates", tag = "state",
    params(("job" = String, Path, description = "Id or name"), PageQuery),
    responses((status = 200, body = Page<StateView>), (status = "default", body = Problem)))]
pub(super) async fn history(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<StateView>>, Problem> {
    at.require(Scope::Read)?;
    let (job, ..) = api.find_job(&at, &job).await?;
    let limit = views::page_size(query.limit)?;
    let before = views::cursor(query.cursor.as_deref())?;
    let versions = api.store.states(job.id, before, limit + 1).await?;
    Ok(Json(views::page(versions.into_iter().map(view).collect(), limit, |view| view.version.to_string())))
}
