//! Projects: made and listed by the installation's admins.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    Api, Problem,
    extract::{Body, InProject, InstanceAdmin, Part},
    types::{Page, ProjectPatch, ProjectRequest, ProjectView},
};
use crate::domain::{Name, Project, ProjectId, Scope};

fn view(project: &Project) -> ProjectView {
    ProjectView {
        id: project.id,
        name: project.name.clone(),
        images: project.images.clone(),
        created_at: project.created_at,
    }
}

/// All projects.
#[utoipa::path(get, path = "/projects", operation_id = "listProjects", tag = "administration",
    responses((status = 200, body = Page<ProjectView>), (status = "default", body = Problem)))]
pub(super) async fn list(State(api): State<Api>, _: InstanceAdmin) -> Result<Json<Page<ProjectView>>, Problem> {
    let items = api.store.projects().await?.iter().map(|(project, _)| view(project)).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

/// Makes a project, with a data key of its own.
#[utoipa::path(post, path = "/projects", operation_id = "createProject", tag = "administration",
    request_body = ProjectRequest, responses((status = 201, body = ProjectView), (status = 409, body = Problem),
    (status = "default", body = Problem)))]
pub(super) async fn create(
    State(api): State<Api>,
    InstanceAdmin(caller): InstanceAdmin,
    Body(request): Body<ProjectRequest>,
) -> Result<(StatusCode, Json<ProjectView>), Problem> {
    if request.images.len() > 100 {
        return Err(Problem::invalid_field("/images", "at most 100 patterns"));
    }
    let (id, created_at) = (ProjectId::generate(), api.clock.now());
    let project = Project { id, name: request.name, images: request.images, created_at };
    if !api.store.create_project(&project, api.keys.new_data_key(id)?).await? {
        return Err(Problem::conflict("name_taken", "there is a project of this name: choose another"));
    }
    api.store.audit(Some(id), caller.name(), "project.create", &project.name, created_at).await?;
    Ok((StatusCode::CREATED, Json(view(&project))))
}

/// The project that the token belongs to, or the one that an installation's admin names.
#[utoipa::path(get, path = "/projects/{name}", operation_id = "readProject", tag = "administration",
    params(("name" = String, Path)),
    responses((status = 200, body = ProjectView), (status = "default", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
) -> Result<Json<ProjectView>, Problem> {
    at.require_runs()?;
    let project = if at.caller.is_instance_admin() {
        api.project_by_name(&name).await?
    } else {
        Some(at.project).filter(|own| own.name == name)
    };
    project.map(|project| Json(view(&project))).ok_or_else(|| Problem::not_found("project"))
}

/// Changes which images a project's jobs may use. Jobs that use others fail with `image_not_allowed` from now on.
#[utoipa::path(patch, path = "/projects/{name}", operation_id = "patchProject", tag = "administration",
    params(("name" = String, Path)), request_body = ProjectPatch,
    responses((status = 200, body = ProjectView), (status = "default", body = Problem)))]
pub(super) async fn patch(
    State(api): State<Api>,
    InstanceAdmin(caller): InstanceAdmin,
    Part(name): Part<Name>,
    Body(request): Body<ProjectPatch>,
) -> Result<Json<ProjectView>, Problem> {
    debug_assert!(caller.may(Scope::Admin));
    if request.images.len() > 100 {
        return Err(Problem::invalid_field("/images", "at most 100 patterns"));
    }
    let (project, _) = api.store.project(&name).await?.ok_or_else(|| Problem::not_found("project"))?;
    api.store.set_images(project.id, &request.images).await?;
    api.projects.remove(&project.id);
    let project = Project { images: request.images, ..project };
    api.store.audit(Some(project.id), caller.name(), "project.patch", &name, api.clock.now()).await?;
    Ok(Json(view(&project)))
}
