//! The configured engines.

use axum::{Json, extract::State};

use super::{
    Api, Problem,
    extract::InProject,
    types::{EngineView, Page},
};

/// The engines: what they can do, and how they are.
#[utoipa::path(get, path = "/engines", operation_id = "listEngines", tag = "administration",
    responses((status = 200, body = Page<EngineView>), (status = "default", body = Problem)))]
pub(crate) async fn list(State(api): State<Api>, at: InProject) -> Result<Json<Page<EngineView>>, Problem> {
    at.require_runs()?;
    let engines = api.runner.engines();
    let mut items = Vec::new();
    for (name, entry) in engines.iter() {
        let (status, load) = (entry.status(), api.store.engine_load(name).await?);
        items.push(EngineView {
            name: name.to_owned(),
            kind: entry.kind.to_owned(),
            default: name == engines.default_name(),
            capabilities: entry.capabilities(),
            health: status.as_ref().map(|status| status.health.clone()),
            checked_at: status.map(|status| status.at),
            workloads: u32::try_from(entry.watched()).unwrap_or(u32::MAX),
            max_running: entry.max_running,
            active: load.active,
            queued: load.queued,
        });
    }
    Ok(Json(Page { items, next_cursor: None }))
}
