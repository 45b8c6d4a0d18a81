//! `haulier job`: jobs as people see them. Applying is in its own file.

mod apply;
mod plan;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use comfy_table::Cell;
use serde_json::json;

use super::{
    context::Context,
    document,
    output::Output,
    pages::Limit,
    text::{maybe, time},
};
use crate::{
    api::types::{JobView, RevisionView},
    domain::Timestamp,
};

#[derive(Debug, Subcommand)]
pub(super) enum JobCommand {
    /// Register jobs, or change them, as files say
    Apply(apply::ApplyArgs),
    /// List jobs
    List {
        /// Archived ones too
        #[arg(long)]
        archived: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a job's specification
    Show(Which),
    /// Archive a job: it starts no runs any more; its history stays
    Archive(Which),
    /// List a job's revisions, the newest first
    Revisions {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        limit: Limit,
    },
    /// Make an earlier revision the present one
    Restore {
        #[command(flatten)]
        which: Which,
        /// The revision's number
        revision: u32,
    },
    /// Let a job start runs again
    Enable(Which),
    /// Let a job start no new runs
    Disable(Which),
}

/// Which job.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The job's name or id
    job: String,
}

impl Which {
    fn told(&self) -> String {
        format!("job {}", self.job)
    }
}

pub(super) async fn run(context: &Context, command: JobCommand) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    match command {
        JobCommand::Apply(args) => return apply::run(&client, out, &args).await,
        JobCommand::List { archived, limit } => {
            let jobs = limit.collect(out, async |cursor| client.jobs(archived, cursor).await).await?;
            let head = ["NAME", "IMAGE", "REVISION", "MAX PARALLEL", "ENGINE", "ENABLED", "UPDATED"];
            out.list("jobs", &jobs, &head, row)?;
        }
        JobCommand::Show(which) => {
            let job = client.job(&which.job).await.with_context(|| which.told())?;
            let next = match &job.spec.schedule {
                Some(_) if !out.is_json() => client.schedule(&which.job).await?.next,
                _ => Vec::new(),
            };
            out.one(&job, |job| page(out, job, &next))?;
        }
        JobCommand::Archive(which) => {
            client.archive_job(&which.job).await.with_context(|| which.told())?;
            out.note(format_args!("{} is archived", which.job));
        }
        JobCommand::Revisions { which, limit } => {
            let revisions = limit.collect(out, async |cursor| client.revisions(&which.job, cursor).await).await;
            let revisions = revisions.with_context(|| which.told())?;
            out.list("revisions", &revisions, &["REVISION", "IMAGE", "MADE", "BY"], revision_row)?;
        }
        JobCommand::Restore { which, revision } => {
            let job = client.restore_revision(&which.job, revision).await.with_context(|| which.told())?;
            out.one(&job, |job| format!("{} revision {} (as revision {revision} was)", job.spec.name, job.revision))?;
        }
        JobCommand::Enable(which) => {
            let job = client.patch_job(&which.job, &json!({"enabled": true})).await.with_context(|| which.told())?;
            out.one(&job, |job| format!("{} revision {} (enabled)", job.spec.name, job.revision))?;
        }
        JobCommand::Disable(which) => {
            let job = client.patch_job(&which.job, &json!({"enabled": false})).await.with_context(|| which.told())?;
            out.one(&job, |job| format!("{} revision {} (disabled)", job.spec.name, job.revision))?;
        }
    }
    Ok(())
}

fn row(job: &JobView) -> Vec<Cell> {
    let spec = &job.spec;
    let enabled = if spec.enabled { "yes" } else { "no" };
    vec![
        Cell::new(&spec.name),
        Cell::new(&spec.image),
        Cell::new(job.revision),
        Cell::new(maybe(spec.max_parallel)),
        Cell::new(maybe(spec.engine.as_ref())),
        Cell::new(enabled),
        Cell::new(time(job.updated_at)),
    ]
}

fn revision_row(revision: &RevisionView) -> Vec<Cell> {
    vec![
        Cell::new(revision.number),
        Cell::new(&revision.spec.image),
        Cell::new(time(revision.created_at)),
        Cell::new(&revision.created_by),
    ]
}

/// What was said about the job, in the form in which it can be applied again.
fn page(out: Output, job: &JobView, next: &[Timestamp]) -> String {
    let facts = [
        ("id", job.id.to_string()),
        ("project", job.project.to_string()),
        ("revision", job.revision.to_string()),
        ("registered", time(job.created_at)),
        ("updated", time(job.updated_at)),
        ("archived", maybe(job.archived_at.map(time))),
    ];
    let next = next.iter().enumerate().map(|(index, at)| (if index == 0 { "starts next" } else { "" }, time(*at)));
    let facts = facts.into_iter().chain(next);
    let rows = facts.map(|(name, value)| vec![Cell::new(format!("# {name}")), Cell::new(value)]);
    format!("{}\n\n{}", out.table(&[], rows), document::write(&job.spec))
}
