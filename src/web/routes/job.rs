//! A job: how it does, what it is, what its runs keep.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;

use super::{
    Answer, Visitor, Web,
    jobs::{measured, path_of},
    pages::{ConfigurationPage, Fact, JobHead, JobPage, RunRow, Section, StatePage, StateRow, Tab},
};
use crate::{
    api::{JobRef, Problem, extract::Part, notices, schedules, types::ScheduleView},
    domain::{Job, JobSpec, Revision, Scope, SecretDelivery, SecretSpec},
    store::RunFilter,
    web::{
        format::{Ago, Span, bytes, exact},
        plots::{Band, DurationPlot},
        refusal::page,
    },
};

/// Runs that are looked at for the plot, and marks on it.
const GLANCES: u32 = 400;
const MARKS: usize = 60;
/// Runs in the table.
const RUNS: u32 = 12;
/// Versions of the state on one page.
const VERSIONS: u32 = 10;

/// What stands in a path, as a job.
pub(super) fn job_ref(text: &str) -> Result<JobRef, Problem> {
    text.parse().map_err(|_| Problem::not_found("job"))
}

pub(super) fn head(job: &Job, revision: &Revision, tab: Option<Tab>) -> JobHead {
    JobHead {
        name: job.name.to_string(),
        path: path_of(job),
        image: revision.spec.image.clone(),
        revision: job.revision,
        enabled: revision.spec.enabled,
        archived: job.archived_at.is_some(),
        tab,
    }
}

/// How it does.
pub(in crate::web) async fn show(State(web): State<Web>, visitor: Visitor, Path(job): Path<String>) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require_runs()?;
    let (job, revision, _) = api.find_job(at, &job_ref(&job)?).await?;
    let shell = visitor.live_shell(api, Section::Jobs, job.name.as_str());
    let mut ended = measured(&api.store.newest_runs(job.id, GLANCES).await?);
    ended.truncate(MARKS);
    let reference = || Part(JobRef::Id(job.id));
    let Json(baseline) = notices::baseline(State(api.clone()), at.clone(), reference()).await?;
    let band = baseline.duration_seconds.map(|band| Band {
        low: Duration::from_secs_f64(band.low.max(0.0)),
        median: Duration::from_secs_f64(band.typical.max(0.0)),
        high: Duration::from_secs_f64(band.high.max(0.0)),
    });
    let Json(schedule) = schedules::read(State(api.clone()), at.clone(), reference()).await?;
    let filter = RunFilter { project: Some(at.project.id), jobs: vec![job.id], ..RunFilter::default() };
    let runs = api.store.runs(&filter, None, RUNS).await?;
    page(&JobPage {
        head: head(&job, &revision, Some(Tab::Runs)),
        plot: DurationPlot::of(&ended, band),
        band,
        runs: runs.runs.iter().map(|run| RunRow::of(run, shell.now)).collect(),
        schedule: schedule_facts(&schedule),
        facts: bounds(&revision.spec, api.runner.engines().default_name()),
        shell,
    })
}

/// When it starts by itself; nothing when it does not.
fn schedule_facts(view: &ScheduleView) -> Vec<Fact> {
    let Some(schedule) = &view.schedule else { return Vec::new() };
    let mut facts =
        vec![Fact::code("Cron", schedule.cron.as_str()), Fact::words("Time zone", schedule.timezone.as_str())];
    if schedule.paused {
        facts.push(Fact::words("Paused", "starts nothing"));
    }
    facts.extend(view.next.iter().map(|at| Fact::words("Next", format!("{} UTC", exact(*at)))));
    facts.extend(view.last_time.map(|at| Fact::words("Last", format!("{} UTC", exact(at)))));
    facts.extend(view.last_problem.as_ref().map(|why| Fact::words("Started nothing", why.as_str())));
    facts
}

fn seconds(seconds: u32) -> String {
    Span(Duration::from_secs(u64::from(seconds))).to_string()
}

/// What bounds a job, in short.
fn bounds(spec: &JobSpec, default_engine: &str) -> Vec<Fact> {
    let at_once = spec.max_parallel.map_or_else(|| "no bound".to_owned(), |most| format!("{most} at the most"));
    let when_full = serde_json::to_value(spec.when_full).ok();
    let when_full = when_full.as_ref().and_then(|word| word.as_str()).unwrap_or_default().replace('_', " ");
    let limits = spec.limits.iter().map(|limit| format!("{} ({})", limit.name, limit.weight));
    let limits = limits.collect::<Vec<_>>().join(", ");
    vec![
        Fact::words("Runs at once", at_once),
        Fact::words("When full", when_full),
        Fact::words("Limits", if limits.is_empty() { "none".to_owned() } else { limits }),
        Fact::words("Timeout", seconds(spec.timeout_seconds)),
        Fact::words("Attempts", spec.retry.max_attempts.to_string()),
        Fact::words("Engine", spec.engine.as_ref().map_or(default_engine, |name| name.as_str())),
    ]
}

/// What it is, without secrets.
pub(in crate::web) async fn configuration(State(web): State<Web>, visitor: Visitor, Path(job): Path<String>) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require(Scope::Read)?;
    let (job, revision, sealed) = api.find_job(at, &job_ref(&job)?).await?;
    let config = api.keys.open_config(at.project.id, job.id, revision.number, &sealed).await?.without_secrets();
    let spec = &revision.spec;
    let secrets = config.secrets.iter().map(|(name, secret)| (name.clone(), origin(secret), delivery(secret)));
    let files = config.files.iter();
    let files = files.map(|(path, file)| (path.clone(), file.mode.clone(), bytes(file.content.len() as u64)));
    page(&ConfigurationPage {
        shell: visitor.shell(api, Section::Jobs, job.name.as_str()),
        head: head(&job, &revision, Some(Tab::Configuration)),
        groups: vec![
            ("Container", container(spec)),
            ("Bounds", bounds(spec, api.runner.engines().default_name())),
            ("Times", times(spec)),
        ],
        secrets: secrets.collect(),
        files: files.collect(),
        config: config.config.as_ref().and_then(|config| serde_json::to_string_pretty(config).ok()),
        env: config.env.into_iter().collect(),
    })
}

fn container(spec: &JobSpec) -> Vec<Fact> {
    let resources = &spec.resources;
    let mut facts = vec![Fact::code("Image", spec.image.as_str())];
    if let Some(command) = &spec.command {
        facts.push(Fact::code("Command", command.join(" ")));
    }
    if !spec.args.is_empty() {
        facts.push(Fact::code("Arguments", spec.args.join(" ")));
    }
    facts.extend(resources.memory_mb.map(|memory| Fact::words("Memory", format!("{memory} MiB"))));
    facts.extend(resources.cpu.map(|cpu| Fact::words("Processors", cpu.to_string())));
    facts.extend(resources.pids.map(|pids| Fact::words("Processes", pids.to_string())));
    facts.extend(spec.registry.as_ref().map(|registry| Fact::words("Registry", registry.as_str())));
    facts.extend(spec.labels.iter().map(|(name, value)| Fact::code("Label", format!("{name}={value}"))));
    facts
}

fn times(spec: &JobSpec) -> Vec<Fact> {
    let mut facts = vec![
        Fact::words("To start", seconds(spec.start_timeout_seconds)),
        Fact::words("To end after a stop", seconds(spec.kill_grace_seconds)),
        Fact::words("Logs are kept", format!("{} days", spec.log_retention_days)),
        Fact::words("Slices", format!("{} at the most", spec.max_slices)),
    ];
    facts.extend(spec.queue_timeout_seconds.map(|time| Fact::words("In the queue", seconds(time))));
    facts
}

fn origin(secret: &SecretSpec) -> String {
    secret.from.as_ref().map_or_else(|| "the job's own value".to_owned(), |from| format!("the project's secret {from}"))
}

const fn delivery(secret: &SecretSpec) -> &'static str {
    match secret.delivery {
        SecretDelivery::Env => "as a variable",
        SecretDelivery::File => "as a file",
    }
}

/// Which versions.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct StateQuery {
    before: Option<i64>,
}

/// What its runs keep for each other.
pub(in crate::web) async fn state(
    State(web): State<Web>,
    visitor: Visitor,
    Path(job): Path<String>,
    Query(query): Query<StateQuery>,
) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require(Scope::Read)?;
    let (job, revision, _) = api.find_job(at, &job_ref(&job)?).await?;
    let shell = visitor.shell(api, Section::Jobs, job.name.as_str());
    let mut found = api.store.states(job.id, query.before, VERSIONS + 1).await?;
    let more = found.len() > VERSIONS as usize;
    found.truncate(VERSIONS as usize);
    let next = found.last().filter(|_| more);
    let next = next.map(|version| format!("{}/state?before={}", path_of(&job), version.version));
    let versions = found.into_iter().map(|version| StateRow {
        version: version.version,
        document: serde_json::to_string_pretty(&version.document).unwrap_or_default(),
        run: version.run,
        at: Ago::new(version.created_at, shell.now),
        by: version.created_by,
    });
    page(&StatePage { versions: versions.collect(), head: head(&job, &revision, Some(Tab::State)), next, shell })
}
