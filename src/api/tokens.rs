//! Tokens.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Api, JobRef, Problem,
    extract::{Body, InProject, Part, Query},
    types::{NewTokenView, Page, TokenRequest, TokenView, WhoAmI},
    views,
};
use crate::{
    auth::TokenSecret,
    domain::{Problems, Scope, Token, TokenId},
};

/// Which tokens.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Those of the whole installation instead of the project's.
    #[serde(default)]
    pub(super) instance: bool,
    /// How many, 1 to 500; 50 by default.
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// The project's tokens, the newest first, without their secrets.
#[utoipa::path(get, path = "/tokens", operation_id = "listTokens", tag = "administration", params(ListQuery),
    responses((status = 200, body = Page<TokenView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<TokenView>>, Problem> {
    require_admin(&at, query.instance)?;
    let limit = views::page_size(query.limit)?;
    let before = views::cursor(query.cursor.as_deref())?;
    let project = (!query.instance).then_some(at.project.id);
    let name = (!query.instance).then(|| at.project.name.clone());
    let tokens = api.store.tokens(project, before, limit + 1).await?;
    let items = tokens.iter().map(|token| views::token(token, name.clone())).collect();
    Ok(Json(views::page(items, limit, |view: &TokenView| view.id.to_string())))
}

/// Makes a token. Its secret is in the answer, and never again anywhere.
#[utoipa::path(post, path = "/tokens", operation_id = "createToken", tag = "administration", request_body = TokenRequest,
    responses((status = 201, body = NewTokenView), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(api): State<Api>,
    at: InProject,
    Body(request): Body<TokenRequest>,
) -> Result<(StatusCode, Json<NewTokenView>), Problem> {
    require_admin(&at, request.instance)?;
    let now = api.clock.now();
    let mut problems = Problems::default();
    problems.require(!request.scopes.is_empty(), "/scopes", "at least one of read, trigger, write, admin");
    problems.require(request.jobs.len() <= 100, "/jobs", "at most 100 jobs");
    problems.require(request.expires_at.is_none_or(|end| end > now), "/expires_at", "lies in the past");
    let bound = !request.jobs.is_empty();
    problems.require(!(bound && request.instance), "/jobs", "a token of the whole installation is not bound to jobs");
    problems.require(!(bound && request.scopes.contains(&Scope::Admin)), "/scopes", "an admin is not bound to jobs");
    let mut jobs = Vec::new();
    for (index, job) in request.jobs.iter().enumerate().take(100) {
        match job.parse::<JobRef>() {
            Ok(job) => match api.find_job(&at, &job).await {
                Ok((job, ..)) => jobs.push(job.id),
                Err(problem) if problem.status == 404 => {
                    problems.add(format!("/jobs/{index}"), "there is no such job in this project");
                }
                Err(problem) => return Err(problem),
            },
            Err(_) => problems.add(format!("/jobs/{index}"), "not a job's id or name"),
        }
    }
    problems.into_result().map_err(Problem::invalid)?;
    let token = Token {
        id: TokenId::generate(),
        name: request.name,
        project: (!request.instance).then_some(at.project.id),
        scopes: request.scopes,
        jobs,
        created_at: now,
        expires_at: request.expires_at,
        revoked_at: None,
    };
    let secret = TokenSecret::generate().map_err(|error| Problem::internal(&error))?;
    api.store.create_token(&token, secret.hash()).await?;
    api.audit(&at, "token.create", &format!("{} ({})", token.name, token.id)).await?;
    let view = views::token(&token, token.project.map(|_| at.project.name.clone()));
    Ok((StatusCode::CREATED, Json(NewTokenView { secret: secret.expose().to_owned(), token: view })))
}

/// Revokes a token: it stops working at once.
#[utoipa::path(delete, path = "/tokens/{token}", operation_id = "revokeToken", tag = "administration",
    params(("token" = TokenId, Path), RevokeQuery),
    responses((status = 204, description = "Revoked"), (status = "default", body = Problem)))]
pub(crate) async fn revoke(
    State(api): State<Api>,
    at: InProject,
    Part(token): Part<TokenId>,
    Query(query): Query<RevokeQuery>,
) -> Result<StatusCode, Problem> {
    require_admin(&at, query.instance)?;
    let project = (!query.instance).then_some(at.project.id);
    if !api.store.revoke_token(project, token, api.clock.now()).await? {
        return Err(Problem::not_found("token"));
    }
    api.auth.forget();
    api.audit(&at, "token.revoke", &token.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose token.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RevokeQuery {
    /// One of the whole installation instead of the project's.
    #[serde(default)]
    pub(crate) instance: bool,
}

/// Who the caller is, and where.
#[utoipa::path(get, path = "/whoami", operation_id = "whoAmI", tag = "administration",
    responses((status = 200, body = WhoAmI), (status = "default", body = Problem)))]
pub(super) async fn whoami(at: InProject) -> Result<Json<WhoAmI>, Problem> {
    let token = at.caller.token().map(|token| views::token(token, token.project.map(|_| at.project.name.clone())));
    Ok(Json(WhoAmI {
        name: at.caller.name().to_owned(),
        scopes: at.caller.scopes().to_vec(),
        token,
        project: at.project.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

pub(crate) fn require_admin(at: &InProject, instance: bool) -> Result<(), Problem> {
    at.require(Scope::Admin)?;
    if instance && !at.caller.is_instance_admin() {
        return Err(Problem::forbidden("only an admin token of the whole installation may do this"));
    }
    Ok(())
}
