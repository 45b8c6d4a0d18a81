//! Who changed what.

use axum::extract::{Query, State};
use serde::Deserialize;

use super::{
    Answer, ROWS, Visitor, Web,
    pages::{AuditPage, AuditRow, Section},
};
use crate::{
    domain::Scope,
    web::{format::exact, refusal::page},
};

/// Which changes.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct ListQuery {
    before: Option<i64>,
}

/// The newest first.
pub(in crate::web) async fn list(State(web): State<Web>, visitor: Visitor, Query(query): Query<ListQuery>) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require(Scope::Admin)?;
    let mut found = api.store.audit_log(Some(at.project.id), query.before, ROWS + 1).await?;
    let more = found.len() > ROWS as usize;
    found.truncate(ROWS as usize);
    let next = found.last().filter(|_| more).map(|entry| format!("/audit?before={}", entry.id));
    let entries = found.into_iter().map(|entry| AuditRow {
        at: exact(entry.at),
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
    });
    page(&AuditPage { shell: visitor.shell(api, Section::Audit, "Audit"), entries: entries.collect(), next })
}
