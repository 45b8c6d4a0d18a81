//! Logins at container registries.

use axum::{Json, extract::State, http::StatusCode};
use secrecy::SecretString;

use super::{
    Api, Problem,
    extract::{Body, InProject, Part},
    types::{Page, RegistryRequest, RegistryView},
};
use crate::{
    domain::{Name, Problems, Registry, Scope},
    store::StoredRegistry,
};

/// The project's registries. Passwords are never shown.
#[utoipa::path(get, path = "/registries", operation_id = "listRegistries", tag = "configuration",
    responses((status = 200, body = Page<RegistryView>), (status = "default", body = Problem)))]
pub(super) async fn list(State(api): State<Api>, at: InProject) -> Result<Json<Page<RegistryView>>, Problem> {
    at.require(Scope::Read)?;
    let view = |stored: StoredRegistry| RegistryView {
        name: stored.registry.name,
        server: stored.registry.server,
        username: stored.registry.username,
        updated_at: stored.registry.updated_at,
    };
    let items = api.store.registries(at.project.id).await?.into_iter().map(view).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

/// Sets a registry login. Jobs whose image names this server use it by themselves.
#[utoipa::path(put, path = "/registries/{name}", operation_id = "setRegistry", tag = "configuration",
    params(("name" = String, Path)), request_body = RegistryRequest,
    responses((status = 204, description = "Set"), (status = "default", body = Problem)))]
pub(super) async fn set(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
    Body(request): Body<RegistryRequest>,
) -> Result<StatusCode, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    let mut problems = Problems::default();
    let server = &request.server;
    let good =
        (1..=255).contains(&server.len()) && server.bytes().all(|c| c.is_ascii_alphanumeric() || b".-:[]".contains(&c));
    problems.require(good, "/server", "a host, with port if any, like registry.example.com:5000");
    problems.require((1..=255).contains(&request.username.len()), "/username", "from 1 to 255 bytes");
    problems.require((1..=16 * 1024).contains(&request.password.len()), "/password", "from 1 byte to 16 KiB");
    problems.into_result().map_err(Problem::invalid)?;
    let password = SecretString::from(request.password);
    let sealed = api.keys.seal_named(at.project.id, "registries", &name, &password).await?;
    let updated_at = api.clock.now();
    let registry = Registry { name: name.clone(), server: request.server, username: request.username, updated_at };
    api.store.set_registry(at.project.id, StoredRegistry { registry, password: sealed }).await?;
    api.audit(&at, "registry.set", &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a registry login.
#[utoipa::path(delete, path = "/registries/{name}", operation_id = "removeRegistry", tag = "configuration",
    params(("name" = String, Path)),
    responses((status = 204, description = "Removed"), (status = "default", body = Problem)))]
pub(super) async fn remove(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
) -> Result<StatusCode, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    if !api.store.remove_registry(at.project.id, &name).await? {
        return Err(Problem::not_found("registry"));
    }
    api.audit(&at, "registry.remove", &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
