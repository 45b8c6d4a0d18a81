//! Named limits.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    Api, Problem,
    extract::{Body, InProject, Part, Query},
    revisions::PageQuery,
    types::{Holder, LimitRequest, LimitView, Page},
    views,
};
use crate::{
    domain::{Limit, Name, Scope},
    store::{LimitUsage, Removal},
};

fn plain(limit: Limit, held: u32) -> LimitView {
    LimitView {
        name: limit.name,
        capacity: limit.capacity,
        held,
        holders: None,
        waiting: None,
        updated_at: limit.updated_at,
    }
}

fn full(usage: LimitUsage) -> LimitView {
    let holders = usage.holders.into_iter().map(|(run, weight)| Holder { run, weight }).collect();
    LimitView { holders: Some(holders), waiting: Some(usage.waiting), ..plain(usage.limit, usage.held) }
}

/// The project's limits by name.
#[utoipa::path(get, path = "/limits", operation_id = "listLimits", tag = "limits", params(PageQuery),
    responses((status = 200, body = Page<LimitView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<LimitView>>, Problem> {
    at.require(Scope::Read)?;
    let limit = views::page_size(query.limit)?;
    let after: Option<Name> = views::cursor(query.cursor.as_deref())?;
    let limits = api.store.limits(at.project.id, after.as_ref(), limit + 1).await?;
    let items = limits.into_iter().map(|(limit, held)| plain(limit, held)).collect();
    Ok(Json(views::page(items, limit, |view: &LimitView| view.name.to_string())))
}

/// A limit, who holds it, and how many wait.
#[utoipa::path(get, path = "/limits/{name}", operation_id = "readLimit", tag = "limits",
    params(("name" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
) -> Result<Json<LimitView>, Problem> {
    at.require(Scope::Read)?;
    let usage = api.store.limit(at.project.id, &name).await?;
    usage.map(full).map(Json).ok_or_else(|| Problem::not_found("limit"))
}

/// Makes a limit, or changes its capacity. Who holds more than a lowered capacity keeps it.
#[utoipa::path(put, path = "/limits/{name}", operation_id = "setLimit", tag = "limits", request_body = LimitRequest,
    params(("name" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", body = Problem)))]
pub(crate) async fn set(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
    Body(request): Body<LimitRequest>,
) -> Result<Json<LimitView>, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    if request.capacity > 10_000 {
        return Err(Problem::invalid_field("/capacity", "from 0 to 10000"));
    }
    api.store.set_limit(at.project.id, &name, request.capacity, api.clock.now()).await?;
    api.runner.queue_changed();
    api.audit(&at, "limit.set", &format!("{name} = {}", request.capacity)).await?;
    let usage = api.store.limit(at.project.id, &name).await?;
    usage.map(full).map(Json).ok_or_else(|| Problem::not_found("limit"))
}

/// Removes a limit that no job names and no run holds.
#[utoipa::path(delete, path = "/limits/{name}", operation_id = "removeLimit", tag = "limits",
    params(("name" = String, Path)), responses((status = 204, description = "Removed"),
    (status = 409, body = Problem), (status = "default", body = Problem)))]
pub(super) async fn remove(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
) -> Result<StatusCode, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    match api.store.remove_limit(at.project.id, &name).await? {
        Removal::Removed => {
            api.audit(&at, "limit.remove", &name).await?;
            Ok(StatusCode::NO_CONTENT)
        }
        Removal::NotFound => Err(Problem::not_found("limit")),
        Removal::InUse(uses) => {
            let detail = format!("{uses} jobs or runs use the limit: take it out of the jobs first");
            Err(Problem::conflict("limit_in_use", detail))
        }
    }
}
