//! A run: the page that orchestrators link to.

use std::time::Duration;

use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse, Redirect},
};

use super::{
    Answer, Visitor, Web,
    forms::Posted,
    log::{LogQuery, window},
    pages::{EventRow, Fact, RunPage, RunRow, Section, Shell, WaitingRow},
    trigger::run_of,
};
use crate::{
    api::{Problem, extract::Part, runs, trigger},
    domain::{Run, RunEvent, RunEventKind, RunId},
    web::{
        format::{Span, exact, figure},
        plots::TimelinePlot,
        refusal::page,
    },
};

/// The most events that are shown: of a run with many slices, the latest.
const EVENTS: usize = 100;

pub(super) fn run_id(text: &str) -> Result<RunId, Problem> {
    text.parse().map_err(|_| Problem::not_found("run"))
}

/// What it does, what it did, why.
pub(in crate::web) async fn show(
    State(web): State<Web>,
    mut visitor: Visitor,
    Path(run): Path<String>,
    Query(query): Query<LogQuery>,
) -> Answer {
    let api = &web.api;
    visitor.at.require_runs()?;
    let found = visitor.find_run(api, run_id(&run)?).await?;
    let run = &found.run;
    let finished = run.life.phase.is_terminal();
    let live = (!finished).then(|| format!("/live?run={}", run.id));
    let shell = Shell { live, ..visitor.shell(api, Section::Runs, format!("{} run", run.job_name)) };
    let events = api.store.timeline(run).await?;
    let waiting = api.waiting(run).await?.map(|waiting| WaitingRow::of(run, Some(waiting), shell.now));
    page(&RunPage {
        run: RunRow::of(run, shell.now),
        job_path: format!("/jobs/{}", run.job),
        finished,
        waiting,
        error: run.error.clone(),
        exit_code: run.exit_code,
        timeline: TimelinePlot::of(run, &events, shell.now),
        facts: facts(run),
        retry_of: run.retry_of,
        labels: run.labels.iter().chain(&run.source).map(|(name, value)| (name.clone(), value.clone())).collect(),
        parameters: pretty(&run.parameters).filter(|text| text != "{}"),
        output: run.output.as_deref().and_then(pretty),
        metrics: run.metrics.iter().map(|(name, value)| (name.clone(), figure(*value))).collect(),
        events: rows(&events),
        log: window(api, run, &query).await?,
        shell,
    })
}

fn facts(run: &Run) -> Vec<Fact> {
    let mut facts = vec![
        Fact::code("Run", run.id.to_string()),
        Fact::words("Revision", run.revision.to_string()),
        Fact::words("Engine", run.engine.as_str()),
        Fact::words("Attempt", run.life.attempt.to_string()),
    ];
    if run.life.slice > 1 {
        facts.push(Fact::words("Slice", run.life.slice.to_string()));
    }
    facts.push(Fact::words("Triggered by", run.created_by.as_str()));
    facts.push(Fact::words("Triggered", format!("{} UTC", exact(run.created_at))));
    facts.extend(run.stopped_by.as_ref().map(|who| Fact::words("Stopped by", who.as_str())));
    facts.push(Fact::words("Timeout", Span(Duration::from_secs(u64::from(run.timeout_seconds))).to_string()));
    if run.priority != 0 {
        facts.push(Fact::words("Priority", run.priority.to_string()));
    }
    facts.extend(run.exit_code.map(|code| Fact::words("Exit code", code.to_string())));
    facts
}

/// JSON for people.
fn pretty(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

fn rows(events: &[RunEvent]) -> Vec<EventRow> {
    let first = events.len().saturating_sub(EVENTS);
    let mut before = events.get(first).map(|event| event.at);
    let row = |event: &RunEvent| {
        let after = before.replace(event.at).map_or(Duration::ZERO, |before| event.at.since(before));
        EventRow {
            at: exact(event.at),
            after: if after.is_zero() { String::new() } else { format!("+{}", Span(after)) },
            what: word(event.kind),
            detail: event.detail.clone(),
            attempt: event.attempt,
        }
    };
    events[first..].iter().map(row).collect()
}

const fn word(kind: RunEventKind) -> &'static str {
    match kind {
        RunEventKind::AttemptEnded => "attempt ended",
        RunEventKind::StopRequested => "stop requested",
        kind => kind.as_str(),
    }
}

/// Asks it to end.
pub(in crate::web) async fn cancel(State(web): State<Web>, Path(run): Path<String>, posted: Posted) -> Answer {
    let Posted { mut visitor, .. } = posted;
    let run = run_id(&run)?;
    visitor.find_run(&web.api, run).await?;
    let _ = runs::cancel(State(web.api.clone()), visitor.at, Part(run)).await?;
    Ok(Redirect::to(&format!("/runs/{run}")).into_response())
}

/// Makes a new run like it.
pub(in crate::web) async fn retry(State(web): State<Web>, Path(run): Path<String>, posted: Posted) -> Answer {
    let Posted { mut visitor, .. } = posted;
    let run = run_id(&run)?;
    visitor.find_run(&web.api, run).await?;
    let answer = trigger::retry(State(web.api.clone()), visitor.at, Part(run), HeaderMap::new()).await?;
    Ok(Redirect::to(&format!("/runs/{}", run_of(answer).await?)).into_response())
}
