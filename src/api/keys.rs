//! Master keys: listed and rotated by the installation's admins.

use axum::{Json, extract::State};

use super::{
    Api, Problem,
    extract::InstanceAdmin,
    types::{MasterKeyView, Page, RotationView},
};
use crate::vault::KeyUse;

/// The master keys that the service has, the current one first, and those that it lacks.
#[utoipa::path(get, path = "/keys", operation_id = "listKeys", tag = "administration",
    responses((status = 200, body = Page<MasterKeyView>), (status = "default", body = Problem)))]
pub(super) async fn list(State(api): State<Api>, _: InstanceAdmin) -> Result<Json<Page<MasterKeyView>>, Problem> {
    let view = |KeyUse { id, current, known, projects }| MasterKeyView { id: id.to_string(), current, known, projects };
    let items = api.keys.master_keys().await?.into_iter().map(view).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

/// Seals every project's key under a new master key, which is put before the others in their file. Where the service
/// was given its keys, or shares its database, under the first of those that it has.
#[utoipa::path(post, path = "/keys/rotate", operation_id = "rotateKeys", tag = "administration",
    responses((status = 200, body = RotationView), (status = 409, body = Problem), (status = "default", body = Problem)))]
pub(super) async fn rotate(
    State(api): State<Api>,
    InstanceAdmin(caller): InstanceAdmin,
) -> Result<Json<RotationView>, Problem> {
    let done = api.keys.rotate().await?;
    let current = done.current.to_string();
    api.store.audit(None, caller.name(), "keys.rotate", &current, api.clock.now()).await?;
    tracing::info!(key = current, projects = done.rewrapped, "the master key was rotated");
    Ok(Json(RotationView { current, made: done.made, projects: done.rewrapped }))
}
