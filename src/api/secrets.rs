//! A project's secrets: written, never read back.

use axum::{Json, extract::State, http::StatusCode};
use secrecy::SecretString;

use super::{
    Api, Problem,
    extract::{Body, InProject, Part, Query},
    revisions::PageQuery,
    types::{Page, SecretRequest, SecretView},
    views,
};
use crate::{
    domain::{Name, Scope},
    store::StoredSecret,
};

/// The names of the project's secrets.
#[utoipa::path(get, path = "/secrets", operation_id = "listSecrets", tag = "configuration", params(PageQuery),
    responses((status = 200, body = Page<SecretView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<SecretView>>, Problem> {
    at.require(Scope::Read)?;
    let limit = views::page_size(query.limit)?;
    let after: Option<Name> = views::cursor(query.cursor.as_deref())?;
    let secrets = api.store.secrets(at.project.id, after.as_ref(), limit + 1).await?;
    let items = secrets.into_iter().map(view).collect();
    Ok(Json(views::page(items, limit, |view: &SecretView| view.name.to_string())))
}

fn view(secret: StoredSecret) -> SecretView {
    let StoredSecret { name, updated_at, expires_at } = secret;
    SecretView { name, updated_at, expires_at }
}

/// Sets a secret. Runs that are launched from now on get the new value.
#[utoipa::path(put, path = "/secrets/{name}", operation_id = "setSecret", tag = "configuration",
    params(("name" = String, Path)), request_body = SecretRequest,
    responses((status = 204, description = "Set"), (status = "default", body = Problem)))]
pub(super) async fn set(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
    Body(request): Body<SecretRequest>,
) -> Result<StatusCode, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    if !(1..=64 * 1024).contains(&request.value.len()) || request.value.contains('\0') {
        return Err(Problem::invalid_field("/value", "from 1 byte to 64 KiB, without NUL"));
    }
    let now = api.clock.now();
    if request.expires_at.is_some_and(|end| end <= now) {
        return Err(Problem::invalid_field("/expires_at", "lies in the past"));
    }
    let value = SecretString::from(request.value);
    let sealed = api.keys.seal_named(at.project.id, "secrets", &name, &value).await?;
    api.store.set_secret(at.project.id, &name, sealed, request.expires_at, now).await?;
    api.audit(&at, "secret.set", &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a secret. Runs of jobs that still name it fail with `config_invalid`.
#[utoipa::path(delete, path = "/secrets/{name}", operation_id = "removeSecret", tag = "configuration",
    params(("name" = String, Path)),
    responses((status = 204, description = "Removed"), (status = "default", body = Problem)))]
pub(super) async fn remove(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
) -> Result<StatusCode, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    if !api.store.remove_secret(at.project.id, &name).await? {
        return Err(Problem::not_found("secret"));
    }
    api.audit(&at, "secret.remove", &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
