//! Notices: seen, taken note of.

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect},
};
use serde::Deserialize;

use super::{
    Answer, ROWS, Visitor, Web,
    forms::Posted,
    pages::{NoticeRow, NoticesPage, Section, words},
};
use crate::{
    api::{
        Api, Problem,
        extract::{InProject, Part},
        notices,
    },
    domain::{Notice, NoticeId, Scope, Timestamp},
    store::NoticeFilter,
    web::{format::Ago, refusal::page},
};

/// Which notices.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct ListQuery {
    #[serde(default)]
    over: bool,
    before: Option<NoticeId>,
}

/// The newest first.
pub(in crate::web) async fn list(State(web): State<Web>, visitor: Visitor, Query(query): Query<ListQuery>) -> Answer {
    let api = &web.api;
    visitor.at.require(Scope::Read)?;
    let shell = visitor.live_shell(api, Section::Notices, "Notices");
    let mut notices = rows(api, &visitor.at, !query.over, query.before, ROWS + 1, shell.now).await?;
    let more = notices.len() > ROWS as usize;
    notices.truncate(ROWS as usize);
    let next = notices.last().filter(|_| more);
    let next = next.map(|notice| format!("/notices?over={}&before={}", query.over, notice.id));
    page(&NoticesPage { shell, over: query.over, notices, next })
}

/// Notices that the caller may see, the newest first.
pub(super) async fn rows(
    api: &Api,
    at: &InProject,
    open: bool,
    before: Option<NoticeId>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<NoticeRow>, Problem> {
    let filter = NoticeFilter {
        project: Some(at.project.id),
        with_instance: at.caller.project().is_none(),
        open: Some(open),
        jobs: at.caller.jobs().to_vec(),
        ..NoticeFilter::default()
    };
    let notices = api.store.notices(&filter, before, limit).await?;
    Ok(notices.into_iter().map(|notice| row(notice, now)).collect())
}

fn row(notice: Notice, now: Timestamp) -> NoticeRow {
    let when = |at: Timestamp| Ago::new(at, now);
    NoticeRow {
        id: notice.id,
        what: match &notice.job {
            Some(_) => words(notice.kind).to_owned(),
            None => format!("{}: {}", notice.subject, words(notice.kind)),
        },
        severity: notice.kind.severity(),
        job: notice.job.map(|(id, name)| (name.to_string(), format!("/jobs/{id}"))),
        run: notice.run,
        summary: notice.summary,
        times: notice.times,
        opened: when(notice.opened_at),
        seen: when(notice.seen_at),
        acknowledged: notice.acknowledged_by.zip(notice.acknowledged_at.map(when)),
        resolved: notice.resolved_at.map(|at| (notice.resolution.unwrap_or_default(), when(at))),
    }
}

/// Takes note of one.
pub(in crate::web) async fn acknowledge(
    State(web): State<Web>,
    Path(notice): Path<String>,
    Posted { visitor, .. }: Posted,
) -> Answer {
    let notice: NoticeId = notice.parse().map_err(|_| Problem::not_found("notice"))?;
    let _ = notices::acknowledge(State(web.api.clone()), visitor.at, Part(notice)).await?;
    Ok(Redirect::to("/notices").into_response())
}
