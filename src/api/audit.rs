//! Who changed what.

use axum::{Json, extract::State};

use super::{
    Api, Problem,
    extract::{InProject, Query},
    tokens::{ListQuery, require_admin},
    types::{AuditView, Page},
    views,
};

/// The project's changes, the newest first; or those of the whole installation, like its tokens and its master keys.
#[utoipa::path(get, path = "/audit", operation_id = "listAudit", tag = "administration", params(ListQuery),
    responses((status = 200, body = Page<AuditView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<AuditView>>, Problem> {
    require_admin(&at, query.instance)?;
    let limit = views::page_size(query.limit)?;
    let before = views::cursor(query.cursor.as_deref())?;
    let project = (!query.instance).then_some(at.project.id);
    let entries = api.store.audit_log(project, before, limit + 1).await?;
    let page = views::page(entries, limit, |entry| entry.id.to_string());
    let view = |entry: crate::store::AuditEntry| AuditView {
        at: entry.at,
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
    };
    Ok(Json(Page { items: page.items.into_iter().map(view).collect(), next_cursor: page.next_cursor }))
}
