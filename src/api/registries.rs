//! Logins at container registries.

use axum::{Json, extract::State, http::StatusCode};
use oci_client::Reference;
use secrecy::SecretString;

use super::{
    Api, Problem,
    extract::{Body, InProject, Part},
    registry_probe::ProbeError,
    types::{Page, RegistryRequest, RegistryView},
};
use crate::{
    domain::{JobSpec, Name, Problems, Registry, Scope},
    registry::{Login, server_of},
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

/// Sets a registry login, once the registry has taken it. Jobs whose image names this server use it by themselves.
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
    let login = Login { username: request.username, password: SecretString::from(request.password) };
    if request.check {
        let way_out = "; 'check: false' (--no-check) sets it all the same";
        let field = |error: &ProbeError| if matches!(error, ProbeError::Refused(_)) { "/password" } else { "/server" };
        let checked = api.registry_probe.check(server, &login).await;
        checked.map_err(|error| {
            let pointer = field(&error);
            error.problem(pointer, way_out)
        })?;
    }
    let Login { username, password } = login;
    let sealed = api.keys.seal_named(at.project.id, "registries", &name, &password).await?;
    let updated_at = api.clock.now();
    let registry = Registry { name: name.clone(), server: request.server, username, updated_at };
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

impl Api {
    /// The image that a specification is to have: where it asks for it, the digest that its tag means now.
    pub(super) async fn pinned(&self, at: &InProject, spec: JobSpec) -> Result<JobSpec, Problem> {
        if !spec.pin || spec.image.contains('@') {
            return Ok(spec);
        }
        let image: Reference = spec
            .image
            .parse()
            .map_err(|error| Problem::invalid_field("/image", format!("cannot be pinned: it is no image: {error}")))?;
        let login = self.login_for(at, &spec).await?;
        let digest = self.registry_probe.digest(&image, login.as_ref()).await.map_err(|error| {
            error.problem("/image", "; without 'pin' the tag stays, and each launch takes what it means then")
        })?;
        let name = spec.image.rsplit_once('/').map_or(0, |(path, _)| path.len() + 1);
        let end = spec.image[name..].find(':').map_or(spec.image.len(), |colon| name + colon);
        Ok(JobSpec { image: format!("{}@{digest}", &spec.image[..end]), ..spec })
    }

    /// The login that the job's engine would use: that of the registry it names, else of the one that its image names.
    async fn login_for(&self, at: &InProject, spec: &JobSpec) -> Result<Option<Login>, Problem> {
        let server = server_of(&spec.image);
        let stored = self.store.registries(at.project.id).await?;
        let fits = stored.iter().find(|stored| stored.registry.is_for(spec.registry.as_ref(), server));
        let Some(stored) = fits else { return Ok(None) };
        // The login is for the server it was given for, whatever the image names.
        if Some(stored.registry.server.as_str()) != server {
            return Ok(None);
        }
        let name = &stored.registry.name;
        let password = self.keys.open_named(at.project.id, "registries", name, &stored.password).await?;
        Ok(Some(Login { username: stored.registry.username.clone(), password }))
    }
}
