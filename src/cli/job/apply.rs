//! `haulier job apply`: jobs as files say.

use anyhow::Context as _;
use clap::Args;

use crate::{
    cli::{document, input, output::Output},
    client::{Client, ClientError},
    domain::JobSpec,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArgs {
    /// A YAML or JSON file with one job or several; - is stdin. May be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<String>,
}

/// Reads everything before it changes anything.
pub(super) async fn run(client: &Client, out: Output, args: &ApplyArgs) -> anyhow::Result<()> {
    let mut specs = Vec::new();
    for path in &args.files {
        let text = input::text(path)?;
        specs.extend(document::read(path, &text)?.into_iter().map(|spec| (path.as_str(), spec)));
    }
    for (path, spec) in &specs {
        apply(client, out, spec).await.with_context(|| format!("{}: job {}", input::name(path), spec.name))?;
    }
    Ok(())
}

async fn apply(client: &Client, out: Output, spec: &JobSpec) -> anyhow::Result<()> {
    let before = match client.job(&spec.name).await {
        Ok(job) => Some(job.revision),
        Err(ClientError::Problem(problem)) if problem.status == 404 => None,
        Err(error) => return Err(error.into()),
    };
    let (job, created) = client.apply_job(spec).await?;
    let what = match before {
        _ if created => "registered",
        Some(before) if before == job.revision => "unchanged",
        _ => "changed",
    };
    out.one(&job, |job| format!("{} revision {} ({what})", job.spec.name, job.revision))?;
    Ok(())
}
