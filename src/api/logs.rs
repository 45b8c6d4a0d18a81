//! What scripts wrote: by pages, and as it comes.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::IntoParams;

use super::{
    Api, LONGEST_WAIT, Problem,
    extract::{InProject, Part, Query},
    runs::LEASE_RENEWAL,
    types::LogView,
};
use crate::{
    domain::RunId,
    logs::{LogChannel, LogPage, LogRecord},
};

/// How much one page holds, about, in bytes.
const PAGE: usize = 256 * 1024;
/// For how long after a run's end a service that did not write its log waits for it.
const ON_ITS_WAY: Duration = Duration::from_secs(60);
/// Where to go on reading, for answers whose body cannot say it.
const NEXT_OFFSET: HeaderName = HeaderName::from_static("haulier-next-offset");
/// Whether there is no more, likewise.
const END: HeaderName = HeaderName::from_static("haulier-log-end");

/// Which part of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Where to begin: 0, or a `next_offset` that the service gave.
    #[serde(default)]
    offset: u64,
    /// When there is nothing yet, wait for it, so many seconds at the most (0 to 55).
    #[serde(default)]
    wait: u32,
    /// Only this stream: `stdout`, `stderr` or `haulier`.
    stream: Option<LogChannel>,
}

/// A page of a run's log, from `offset` on. `Accept: text/plain` gives the lines alone, `application/x-ndjson` one
/// record a line; both say where to go on in the header `Haulier-Next-Offset`.
#[utoipa::path(get, path = "/runs/{run}/logs", operation_id = "readLog", tag = "logs",
    params(("run" = RunId, Path), LogQuery),
    responses((status = 200, body = LogView), (status = "default", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    at: InProject,
    Part(run): Part<RunId>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    at.require_runs()?;
    let wait = Duration::from_secs(u64::from(query.wait));
    if wait > LONGEST_WAIT {
        return Err(Problem::malformed("wait is from 0 to 55 seconds: ask again when there is nothing yet"));
    }
    let (page, end) = api.log_page(&at, run, query.offset, wait).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let next = page.next_offset;
    let told = [(NEXT_OFFSET, next.to_string()), (END, end.to_string())];
    let wanted = |record: &LogRecord| query.stream.is_none_or(|stream| record.stream == stream);
    if accept.contains("application/x-ndjson") && query.stream.is_none() {
        return Ok((told, [(header::CONTENT_TYPE, "application/x-ndjson")], page.bytes).into_response());
    }
    let records: Vec<LogRecord> = records(&page).filter(wanted).collect();
    if accept.contains("application/x-ndjson") {
        let lines = records.iter().filter_map(|record| serde_json::to_string(record).ok());
        let body = lines.fold(String::new(), |body, line| body + &line + "\n");
        return Ok((told, [(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response());
    }
    if accept.contains("text/plain") {
        let body = records.iter().fold(String::new(), |mut body, record| {
            body.push_str(&record.text);
            if !record.partial {
                body.push('\n');
            }
            body
        });
        return Ok((told, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response());
    }
    Ok(Json(LogView { records, next_offset: next, end }).into_response())
}

/// Where the stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Where to begin. The header `Last-Event-ID` wins over it.
    #[serde(default)]
    pub(crate) offset: u64,
}

/// A run's log as server-sent events: `log` with a record (its id is the offset to go on from), at last `end`.
#[utoipa::path(get, path = "/runs/{run}/logs/stream", operation_id = "streamLog", tag = "logs",
    params(("run" = RunId, Path), StreamQuery),
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String),
              (status = "default", body = Problem)))]
pub(crate) async fn stream(
    State(api): State<Api>,
    at: InProject,
    Part(run): Part<RunId>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    at.require_runs()?;
    api.read_run(&at, run).await?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let pages = stream::unfold(Some(last.unwrap_or(query.offset)), move |offset| {
        let (api, at) = (api.clone(), at.clone());
        async move {
            let offset = offset?;
            if api.shutdown.is_cancelled() {
                return None;
            }
            let (page, end) = api.log_page(&at, run, offset, LONGEST_WAIT).await.ok()?;
            Some((events(&page, end), (!end).then_some(page.next_offset)))
        }
    });
    let events = pages.flat_map(stream::iter).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

impl Api {
    /// A page, once there is something on it, or the run has ended, or the time is up; and whether it is the last.
    pub(crate) async fn log_page(
        &self,
        at: &InProject,
        run: RunId,
        offset: u64,
        wait: Duration,
    ) -> Result<(LogPage, bool), Problem> {
        let until = Instant::now() + wait;
        // Where another service leads, that one writes the log, and nothing tells here when it grows.
        let written_elsewhere = !self.runner.leads();
        // Listen first, else what comes between reading and listening is missed.
        let mut changes = self.runner.hub().watch(run);
        let mut tail = self.logs.subscribe(run);
        loop {
            let found = self.read_run(at, run).await?;
            let finished = found.run.life.phase.is_terminal();
            tail.mark_unchanged();
            let page = self.logs.read(run, offset, PAGE).await?;
            let to_come = written_elsewhere && page.next_offset < found.run.log.bytes;
            let late = found.run.finished_at.is_some_and(|at| self.clock.now().since(at) >= ON_ITS_WAY);
            let end = finished && page.end && (!to_come || late);
            if end || !page.bytes.is_empty() || wait.is_zero() {
                return Ok((page, end));
            }
            tokio::select! {
                grown = tail.changed() => if grown.is_err() {
                    tail = self.logs.subscribe(run);
                },
                _ = changes.changed() => {}
                // Whoever follows the log asks for the run all the while.
                () = sleep(LEASE_RENEWAL), if found.run.abandon_after_seconds.is_some() => {}
                () = sleep(self.logs.look_every()), if written_elsewhere => {}
                () = sleep_until(until) => return Ok((page, false)),
                () = self.shutdown.cancelled() => return Ok((page, false)),
            }
        }
    }
}

pub(crate) fn records(page: &LogPage) -> impl Iterator<Item = LogRecord> {
    page.bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

fn events(page: &LogPage, end: bool) -> Vec<Event> {
    let begin = page.next_offset.saturating_sub(page.bytes.len() as u64);
    let mut at = begin;
    let mut events = Vec::new();
    for line in page.bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len() as u64;
        let text = String::from_utf8_lossy(line);
        events.push(Event::default().event("log").id(at.to_string()).data(text.trim_end()));
    }
    if end {
        events.push(Event::default().event("end").id(at.to_string()).data("{}"));
    }
    events
}
