//! Runs: list, read (and wait for the end), cancel.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use indexmap::IndexMap;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;

use super::{
    Api, JobRef, LONGEST_WAIT, Problem,
    extract::{Body, InProject, Part, Query},
    types::{CancelRequest, Cancelled, Page, RunView},
    views,
};
use crate::{
    domain::{Phase, Run, RunId, RunState, Scope, StopCause, Timestamp, WaitReason, Waiting},
    runner::CachedRun,
    store::{Bound, RunFilter},
};

/// How often the database is asked for changes that other services may have made.
const LOOK: Duration = Duration::from_secs(1);

/// How often a waiting request renews the run's lease, which lasts 30 s at the least.
pub(super) const LEASE_RENEWAL: Duration = Duration::from_secs(10);

/// Which runs to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Of this job, by id or name.
    job: Option<String>,
    /// In one of these states, separated by commas.
    state: Option<String>,
    /// With these labels: `key=value`, separated by commas.
    label: Option<String>,
    /// With these in their source: `key=value`, separated by commas.
    source: Option<String>,
    /// Triggered at or after this time.
    since: Option<Timestamp>,
    /// Triggered before this time.
    until: Option<Timestamp>,
    /// How many, 1 to 500; 50 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The project's runs, the newest first.
#[utoipa::path(get, path = "/runs", operation_id = "listRuns", tag = "runs", params(ListQuery),
    responses((status = 200, body = Page<RunView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<RunView>>, Problem> {
    at.require_runs()?;
    let limit = views::page_size(query.limit)?;
    let before = views::cursor(query.cursor.as_deref())?;
    let filter = RunFilter {
        states: states(query.state.as_deref())?,
        labels: pairs("label", query.label.as_deref())?,
        source: pairs("source", query.source.as_deref())?,
        since: query.since,
        until: query.until,
        ..api.filter_of(&at, query.job.as_deref()).await?
    };
    let page = api.store.runs(&filter, before, limit).await?;
    let now = api.clock.now();
    // Lists do not say why each run waits: that would take a look at its limits for each.
    let items = page.runs.iter().map(|run| views::run(&at.project.name, run, None, now)).collect();
    Ok(Json(Page { items, next_cursor: page.next.map(|id| id.to_string()) }))
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Answer when the run has ended, at the latest after so many seconds (0 to 55).
    #[serde(default)]
    wait: u32,
}

/// A run. With `wait`, answers as soon as it has ended, or after that time as it is then.
#[utoipa::path(get, path = "/runs/{run}", operation_id = "readRun", tag = "runs",
    params(("run" = RunId, Path), WaitQuery),
    responses((status = 200, body = RunView), (status = "default", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    at: InProject,
    Part(run): Part<RunId>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Problem> {
    at.require_runs()?;
    let wait = Duration::from_secs(u64::from(query.wait));
    if wait > LONGEST_WAIT {
        return Err(Problem::malformed("wait is from 0 to 55 seconds: ask again when the answer is not the end"));
    }
    // Boxed, as all but the wait itself: thousands wait at once.
    let found = Box::pin(api.read_run(&at, run)).await?;
    let renews = at.asks_for(&found.run);
    let found = if wait.is_zero() { found } else { api.wait_for_end(found, wait, renews).await? };
    let body = Box::pin(api.body_of(&at, &found)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Asks a run to end. One that waits ends at once; one that is active is `cancelling` until its container has ended.
/// Doing it again, or when it has ended, changes nothing.
#[utoipa::path(post, path = "/runs/{run}/cancel", operation_id = "cancelRun", tag = "runs", params(("run" = RunId, Path)),
    responses((status = 202, body = RunView), (status = "default", body = Problem)))]
pub(crate) async fn cancel(
    State(api): State<Api>,
    at: InProject,
    Part(run): Part<RunId>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    at.require(Scope::Trigger)?;
    api.find_run(&at, run).await?;
    let now = api.clock.now();
    let stopped = api.store.stop(run, StopCause::Cancelled, at.caller.name(), now).await?;
    let stopped = stopped.ok_or_else(|| Problem::not_found("run"))?;
    let view = views::run(&at.project.name, &stopped.run, None, now);
    api.runner.stopped(&[stopped]);
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Asks all live runs that match to end.
#[utoipa::path(post, path = "/runs/cancel", operation_id = "cancelRuns", tag = "runs", request_body = CancelRequest,
    responses((status = 202, body = Cancelled), (status = "default", body = Problem)))]
pub(super) async fn cancel_matching(
    State(api): State<Api>,
    at: InProject,
    Body(request): Body<CancelRequest>,
) -> Result<(StatusCode, Json<Cancelled>), Problem> {
    at.require(Scope::Trigger)?;
    let CancelRequest { job, states, labels, source, until, all } = request;
    let narrowed = job.is_some() || !states.is_empty() || !labels.is_empty() || !source.is_empty() || until.is_some();
    if !narrowed && !all {
        return Err(Problem::invalid_field("", "say which runs are meant, or write \"all\": true"));
    }
    let filter = RunFilter {
        states,
        labels: labels.into_iter().collect(),
        source: source.into_iter().collect(),
        // Runs that are triggered meanwhile are not meant.
        until: Some(until.unwrap_or_else(|| api.clock.now())),
        ..api.filter_of(&at, job.as_deref()).await?
    };
    let mut cancelled = 0;
    loop {
        let stopped = api.store.stop_matching(filter.clone(), at.caller.name(), api.clock.now()).await?;
        if stopped.is_empty() {
            return Ok((StatusCode::ACCEPTED, Json(Cancelled { cancelled })));
        }
        cancelled += u32::try_from(stopped.len()).unwrap_or(u32::MAX);
        api.runner.stopped(&stopped);
    }
}

impl Api {
    /// The caller's runs: of its project, of the jobs it reaches, of one job if that is asked for.
    pub(crate) async fn filter_of(&self, at: &InProject, job: Option<&str>) -> Result<RunFilter, Problem> {
        let jobs = match job {
            None => at.caller.jobs().to_vec(),
            Some(text) => {
                let job: JobRef = text.parse().map_err(|_| Problem::not_found("job"))?;
                vec![self.find_job(at, &job).await?.0.id]
            }
        };
        Ok(RunFilter { project: Some(at.project.id), jobs, ..RunFilter::default() })
    }

    /// The run at its end, or as it is when the time is up. Does not ask the database, however long it takes, unless
    /// other services may change the run. `renews`: whoever waits is the run's caller, and keeps its lease.
    pub(super) async fn wait_for_end(
        &self,
        mut found: Arc<CachedRun>,
        wait: Duration,
        renews: bool,
    ) -> Result<Arc<CachedRun>, Problem> {
        let (hub, run) = (self.runner.hub(), found.run.id);
        let mut changes = hub.watch(run);
        // What changed between reading and listening.
        if !found.run.life.phase.is_terminal() {
            found = Box::pin(self.latest_run(found)).await?;
        }
        let renews = renews && found.run.abandon_after_seconds.is_some();
        let until = Instant::now() + wait;
        let step = if hub.knows_all_changes() { LEASE_RENEWAL } else { LOOK };
        while !found.run.life.phase.is_terminal() && Instant::now() < until {
            if renews {
                // Whoever waits is asking all the while: a wait may be longer than the lease.
                self.runner.renew_lease(run);
            }
            // One timer for all: many wait here at once.
            tokio::select! {
                changed = changes.changed() => match changed {
                    Some(changed) => found = changed,
                    None => break,
                },
                () = sleep_until(until.min(Instant::now() + step)) => {
                    if !hub.knows_all_changes() {
                        found = Box::pin(self.latest_run(found)).await?;
                    }
                }
                () = self.shutdown.cancelled() => break,
            }
        }
        Ok(found)
    }

    /// The run's JSON form; made once for as long as it stays the same.
    async fn body_of(&self, at: &InProject, found: &CachedRun) -> Result<Bytes, Problem> {
        if let Some(body) = found.body.get() {
            return Ok(body.clone());
        }
        let waiting = self.waiting(&found.run).await?;
        let view = views::run(&at.project.name, &found.run, waiting, self.clock.now());
        let body = Bytes::from(serde_json::to_vec(&view).map_err(|error| Problem::internal(&error))?);
        if views::is_steady(&found.run) {
            let _ = found.body.set(body.clone());
        }
        Ok(body)
    }

    /// Why a run does not run yet.
    pub(crate) async fn waiting(&self, run: &Run) -> Result<Option<Waiting>, Problem> {
        let plain = |reason, detail: String| Waiting { reason, detail, position: None, holders: Vec::new() };
        match run.life.phase {
            Phase::Starting => {
                let told = self.runner.waits_for(run.id);
                let (reason, detail) =
                    told.unwrap_or((WaitReason::Launching, "the engine is bringing the container up".to_owned()));
                return Ok(Some(plain(reason, detail)));
            }
            Phase::Queued => {}
            _ => return Ok(None),
        }
        if let Some(time) = run.not_before.filter(|time| *time > self.clock.now()) {
            let reason = run.requeue_reason.unwrap_or(WaitReason::NotBefore);
            return Ok(Some(plain(reason, format!("not before {time}"))));
        }
        let (blockers, position) = self.store.blockers(run).await?;
        let Some(first) = blockers.first() else {
            let detail = if position > 1 { "others are before it" } else { "its turn comes in a moment" };
            return Ok(Some(Waiting { position: Some(position), ..plain(WaitReason::Queued, detail.to_owned()) }));
        };
        let what = match &first.bound {
            Bound::Job => "max_parallel".to_owned(),
            Bound::Limit(name) => format!("the limit {name}"),
            Bound::Engine(name) => format!("the engine {name} (its max_running)"),
        };
        let detail = format!("{what} is full: {} of {} held, {} needed", first.held, first.capacity, first.weight);
        Ok(Some(Waiting {
            reason: WaitReason::Limit,
            detail,
            position: Some(position),
            holders: first.holders.clone(),
        }))
    }
}

pub(crate) fn states(text: Option<&str>) -> Result<Vec<RunState>, Problem> {
    let words = text.unwrap_or_default().split(',').filter(|word| !word.is_empty());
    words
        .map(|word| {
            serde_json::from_value(serde_json::Value::String(word.to_owned())).map_err(|_| {
                let known = "queued, starting, running, cancelling, succeeded, failed, cancelled, timed_out";
                Problem::malformed(format!("there is no state {word:?}: there are {known}"))
            })
        })
        .collect()
}

pub(crate) fn pairs(what: &str, text: Option<&str>) -> Result<Vec<(String, String)>, Problem> {
    let words = text.unwrap_or_default().split(',').filter(|word| !word.is_empty());
    let pairs: Option<IndexMap<_, _>> = words.map(|word| word.split_once('=').map(owned)).collect();
    let pairs = pairs.ok_or_else(|| Problem::malformed(format!("{what} is key=value, several separated by commas")))?;
    Ok(pairs.into_iter().collect())
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}
