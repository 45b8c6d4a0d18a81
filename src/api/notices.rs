//! Notices, and what is usual for a job.

use axum::{Json, extract::State};
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Api, JobRef, Problem,
    extract::{InProject, Part, PathPart, Query},
    types::{BandView, BaselineView, NoticeView, Page},
    views,
};
use crate::{
    domain::{NoticeId, NoticeKind, Scope, Severity},
    monitor::{Baseline, History, judge_overdue},
    store::NoticeFilter,
};

impl PathPart for NoticeId {
    const WHAT: &'static str = "notice";
}

/// Which notices to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Open ones alone, or those alone that are over.
    open: Option<bool>,
    /// About this job, by id or name.
    job: Option<String>,
    /// Of these kinds, separated by commas.
    kind: Option<String>,
    /// This bad, or worse.
    severity: Option<Severity>,
    /// How many, 1 to 500; 50 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The project's notices, the newest first. Tokens of the whole installation see what concerns all of it, too.
#[utoipa::path(get, path = "/notices", operation_id = "listNotices", tag = "monitoring", params(ListQuery),
    responses((status = 200, body = Page<NoticeView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<NoticeView>>, Problem> {
    at.require(Scope::Read)?;
    let limit = views::page_size(query.limit)?;
    let before = views::cursor(query.cursor.as_deref())?;
    let jobs = match &query.job {
        Some(job) => {
            let job = job.parse::<JobRef>().map_err(|_| Problem::not_found("job"))?;
            vec![api.find_job(&at, &job).await?.0.id]
        }
        None => at.caller.jobs().to_vec(),
    };
    let kinds = query.kind.as_deref().map_or(Ok(Vec::new()), |kinds| kinds.split(',').map(kind).collect())?;
    let filter = NoticeFilter {
        project: Some(at.project.id),
        with_instance: at.caller.project().is_none(),
        open: query.open,
        jobs,
        kinds,
        severity: query.severity,
    };
    let notices = api.store.notices(&filter, before, limit + 1).await?;
    let page = views::page(notices, limit, |notice| notice.id.to_string());
    let items = page.items.into_iter().map(|notice| NoticeView::of(&at.project.name, notice)).collect();
    Ok(Json(Page { items, next_cursor: page.next_cursor }))
}

fn kind(text: &str) -> Result<NoticeKind, Problem> {
    let known = || NoticeKind::ALL.map(NoticeKind::as_str).join(", ");
    NoticeKind::parse(text).ok_or_else(|| Problem::malformed(format!("{text} is no kind: there are {}", known())))
}

/// Says that somebody has taken note. The first one counts.
#[utoipa::path(post, path = "/notices/{notice}/acknowledge", operation_id = "acknowledgeNotice", tag = "monitoring",
    params(("notice" = NoticeId, Path)),
    responses((status = 200, body = NoticeView), (status = "default", body = Problem)))]
pub(crate) async fn acknowledge(
    State(api): State<Api>,
    at: InProject,
    Part(notice): Part<NoticeId>,
) -> Result<Json<NoticeView>, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    let (by, now) = (at.caller.name(), api.clock.now());
    let mut acknowledged = api.store.acknowledge(Some(at.project.id), notice, by, now).await?;
    if acknowledged.is_none() && at.caller.project().is_none() {
        acknowledged = api.store.acknowledge(None, notice, by, now).await?;
    }
    let acknowledged = acknowledged.ok_or_else(|| Problem::not_found("notice"))?;
    Ok(Json(NoticeView::of(&at.project.name, acknowledged)))
}

/// What is usual for a job at this moment, as notices are judged by it.
#[utoipa::path(get, path = "/jobs/{job}/baseline", operation_id = "readBaseline", tag = "monitoring",
    params(("job" = String, Path, description = "Id or name")),
    responses((status = 200, body = BaselineView), (status = "default", body = Problem)))]
pub(crate) async fn baseline(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
) -> Result<Json<BaselineView>, Problem> {
    at.require_runs()?;
    let (job, revision, _) = api.find_job(&at, &job).await?;
    let spec = revision.spec;
    let zone = spec.schedule.as_ref().and_then(|schedule| TimeZone::get(&schedule.timezone).ok());
    let history = History::of(&api.store.samples(job.id).await?, &zone.unwrap_or(TimeZone::UTC));
    let now = api.clock.now();
    let band = |baseline: &Option<Baseline>| {
        let band = baseline.as_ref()?.band(now);
        Some(BandView { low: band.low, typical: band.typical, high: band.high, samples: band.samples })
    };
    // Where there is a schedule, it says when.
    let last = history.last_made.filter(|_| spec.schedule.is_none());
    Ok(Json(BaselineView {
        samples: u32::try_from(history.samples).unwrap_or(u32::MAX),
        duration_seconds: band(&history.duration),
        queue_seconds: band(&history.queue),
        rows: band(&history.rows),
        interval_seconds: history.cadence.as_ref().map(|cadence| cadence.typical().as_secs_f64()),
        expected_by: last.and_then(|last| judge_overdue(&history, &spec.notify, last)),
    }))
}
