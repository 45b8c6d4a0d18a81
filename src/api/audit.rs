//! Who changed what.

use axum::{Json, extract::State};

use super::{
    Api, Problem,
    extract::{InProject, Query},
    revisions::PageQuery,
    types::{AuditView, Page},
    views,
};
use crate::domain::Scope;

/// The project's changes, the newest first.
#[utoipa::path(get, path = "/audit", operation_id = "listAudit", tag = "administration", params(PageQuery),
    responses((status = 200, body = Page<AuditView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<AuditView>>, Problem> {
    at.require(Scope::Admin)?;
    let limit = views::page_size(query.limit)?;
    let before = views::cursor(query.cursor.as_deref())?;
    let entries = api.store.audit_log(at.project.id, before, limit + 1).await?;
    let page = views::page(entries, limit, |entry| entry.id.to_string());
    let view = |entry: crate::store::AuditEntry| AuditView {
        at: entry.at,
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
    };
    Ok(Json(Page { items: page.items.into_iter().map(view).collect(), next_cursor: page.next_cursor }))
}
