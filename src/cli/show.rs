//! `haulier show`: all about a run, on a page.

use anyhow::Context as _;
use clap::Args;
use comfy_table::Cell;

use super::{
    context::Context,
    output::Output,
    text::{bytes, maybe, millis, time},
};
use crate::{
    api::types::{AttemptView, RunView, Timeline},
    domain::{Progress, RunEvent, RunId, Waiting},
};

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The run's id
    run: RunId,
}

pub(super) async fn run(context: &Context, args: ShowArgs) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    let run = client.run(args.run, 0).await.with_context(|| format!("run {}", args.run))?;
    if out.is_json() {
        out.json(&run)?;
        return Ok(());
    }
    let timeline = client.timeline(args.run).await?;
    out.data(page(out, &run, &timeline))?;
    Ok(())
}

fn page(out: Output, run: &RunView, timeline: &Timeline) -> String {
    let mut parts = vec![out.table(&[], facts(out, run).into_iter().map(|(name, value)| vec![Cell::new(name), value]))];
    if let Some(output) = &run.output {
        parts.push(titled("OUTPUT", &serde_json::to_string_pretty(output).unwrap_or_default()));
    }
    if !run.metrics.is_empty() {
        let rows = run.metrics.iter().map(|(name, value)| vec![Cell::new(name), Cell::new(value)]);
        parts.push(titled("METRICS", &out.table(&[], rows)));
    }
    if !timeline.attempts.is_empty() {
        let head = ["ATTEMPT", "SLICE", "ENGINE", "WORKLOAD", "STARTED", "ENDED", "EXIT", "ERROR"];
        parts.push(out.table(&head, timeline.attempts.iter().map(attempt_row)));
    }
    parts.push(out.table(&["TIME", "EVENT", "ATTEMPT", "DETAIL"], timeline.events.iter().map(event_row)));
    parts.join("\n\n")
}

fn titled(title: &str, body: &str) -> String {
    format!("{title}\n{body}")
}

fn facts(out: Output, run: &RunView) -> Vec<(&'static str, Cell)> {
    let some = |name, value: Option<String>| value.map(|value| (name, Cell::new(value)));
    let pairs = |pairs: &indexmap::IndexMap<String, String>| {
        let words: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        (!words.is_empty()).then(|| words.join(" "))
    };
    let parameters = (!run.parameters.is_empty()).then(|| serde_json::to_string(&run.parameters).unwrap_or_default());
    [
        some("run", Some(run.id.to_string())),
        some("job", Some(format!("{} (revision {}, project {})", run.job, run.revision, run.project))),
        Some(("state", out.state(run.state))),
        some("waiting", run.waiting.as_ref().map(waiting)),
        some("progress", run.progress.as_ref().map(progress)),
        some("exit code", run.exit_code.map(|code| code.to_string())),
        some("error", run.error.as_ref().map(|error| format!("{} ({})", error.message, error.code.as_str()))),
        some("stopped by", run.stopped_by.clone()),
        some("engine", Some(run.engine.clone())),
        some("triggered", Some(format!("{} by {}", time(run.created_at), run.created_by))),
        some("not before", run.not_before.map(time)),
        some("started", run.started_at.map(time)),
        some("ended", run.finished_at.map(time)),
        some("duration", run.duration_ms.map(millis)),
        some("retry of", run.retry_of.map(|run| run.to_string())),
        some("parameters", parameters),
        some("labels", pairs(&run.labels)),
        some("source", pairs(&run.source)),
        some("log", Some(log(run))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn waiting(waiting: &Waiting) -> String {
    let position = waiting.position.map(|position| format!(", number {position} in the queue")).unwrap_or_default();
    let holders: Vec<_> = waiting.holders.iter().map(|run| format!("\nheld by {run}")).collect();
    format!("{}{position}{}", waiting.detail, holders.concat())
}

fn progress(progress: &Progress) -> String {
    let numbers = match (progress.done, progress.total) {
        (Some(done), Some(total)) => format!("{done} of {total}"),
        (Some(done), None) => done.to_string(),
        (None, _) => String::new(),
    };
    [numbers, progress.text.clone().unwrap_or_default()].join(" ").trim().to_owned()
}

fn log(run: &RunView) -> String {
    let complete = if run.finished && !run.log.complete { ", not all of it" } else { "" };
    let truncated = if run.log.truncated { ", cut at the size limit" } else { "" };
    format!("{}{complete}{truncated}", bytes(run.log.bytes))
}

fn attempt_row(attempt: &AttemptView) -> Vec<Cell> {
    vec![
        Cell::new(attempt.number),
        Cell::new(attempt.slice),
        Cell::new(&attempt.engine),
        Cell::new(&attempt.workload),
        Cell::new(maybe(attempt.started_at.map(time))),
        Cell::new(maybe(attempt.ended_at.map(time))),
        Cell::new(maybe(attempt.exit_code)),
        Cell::new(maybe(attempt.error.as_ref().map(|error| error.code.as_str()))),
    ]
}

fn event_row(event: &RunEvent) -> Vec<Cell> {
    vec![
        Cell::new(time(event.at)),
        Cell::new(event.kind.as_str()),
        Cell::new(maybe(event.attempt)),
        Cell::new(&event.detail),
    ]
}
