//! `haulier deploy`: from the project's folder to a job that runs anywhere.

mod assemble;
mod content;
mod dockerfile;
pub(super) mod layer;
mod login;
mod publish;
mod secrets;
mod target;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{
    builder::BuildArgs,
    context::Context,
    exit::{self, Usage},
    follow, input,
    output::Output,
    workspace::Workspace,
};
use crate::{
    api::types::JobView,
    client::{Client, ClientError},
    domain::{JobSpec, RunRequest},
};

pub(super) use content::base_image;
use publish::Published;
use secrets::ToSend;
use target::Target;

#[derive(Debug, Args)]
#[command(after_help = "\
The image is kept at --registry, else where `image` in haulier.yaml says, else at the project's own registry. It is \
tagged by the git revision and by its content, and the job uses its digest. What was built from the same content is \
not built again.
A login for the push comes from HAULIER_REGISTRY_USER and HAULIER_REGISTRY_PASSWORD, else from `docker login` or \
`podman login`.")]
pub(super) struct DeployArgs {
    /// Trigger a run, follow it, and end with its exit code
    #[arg(long)]
    run: bool,

    /// Where the image is kept: a server, with a path if you like, or the name of one of the project's registries
    #[arg(long, value_name = "REGISTRY", env = "HAULIER_REGISTRY")]
    registry: Option<String>,

    /// Build even though there is an image of the same content: to take a newer base image
    #[arg(long)]
    rebuild: bool,

    /// The largest image to deploy, in MB
    #[arg(long, value_name = "MB", default_value_t = 2000)]
    max_image_mb: u64,

    /// Give the service, from .haulier/secrets.env, the values of secrets that it does not have yet
    #[arg(long)]
    send_secrets: bool,

    /// Replace a job of the same name that was made from another image
    #[arg(short, long)]
    yes: bool,

    /// The project's folder
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,

    #[command(flatten)]
    build: BuildArgs,
}

pub(super) async fn run(context: &Context, args: DeployArgs) -> anyhow::Result<u8> {
    let out = context.out;
    let workspace = Workspace::open(&args.dir)?;
    let Workspace { dir, spec } = &workspace;
    if !dir.join("Dockerfile").is_file() {
        let told = format!("{} has no Dockerfile: `haulier init` makes one that you can copy", dir.display());
        return Err(Usage(told).into());
    }
    let client = context.client()?;
    // Before anything is built: the token works, the name is not another's, and the service would take the job.
    let present = present(&client, spec).await?;
    let target = Target::choose(&client, spec, args.registry.as_deref()).await?;
    may_replace(present.as_ref(), &target, &args)?;
    let some_digest = format!("{}@sha256:{}", target.repository, "0".repeat(64));
    let to_send = ToSend::find(&client, &workspace, present.as_ref(), args.send_secrets).await?;
    let trial = to_send.with_all(JobSpec { image: some_digest, ..spec.clone() });
    client.dry_run(&trial).await.context("the service refuses the job")?;

    let published = publish::publish(dir, &target, &args, out).await?;
    target.warn_without_login(out);
    let spec = to_send.send(&client, spec.clone(), out).await?;
    let job = apply(&client, spec, &published, present.as_ref(), out).await?;
    snippets(context, &job);
    if !args.run {
        return Ok(exit::OK);
    }
    let request =
        RunRequest { source: [("kind".to_owned(), "cli".to_owned())].into_iter().collect(), ..RunRequest::default() };
    let run = client.trigger(&job.spec.name, &request, None).await?.run;
    follow::to_the_end(&client, out, run, follow::How::Follow).await
}

async fn present(client: &Client, spec: &JobSpec) -> anyhow::Result<Option<JobView>> {
    match client.job(&spec.name).await {
        Ok(job) => Ok(Some(job)),
        Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A job of this name that another project's image is behind is somebody else's.
fn may_replace(present: Option<&JobView>, target: &Target, args: &DeployArgs) -> anyhow::Result<()> {
    let Some(job) = present.filter(|job| !target.holds(&job.spec.image)) else { return Ok(()) };
    let told = format!("there is a job {} already, with the image {}", job.spec.name, job.spec.image);
    if args.yes {
        return Ok(());
    }
    if input::someone_is_there() && input::confirmed(&format!("{told}. Replace it? [y/N] ")) {
        return Ok(());
    }
    Err(Usage(format!("{told}: take another name in haulier.yaml, or --yes to replace it")).into())
}

async fn apply(
    client: &Client,
    spec: JobSpec,
    published: &Published,
    present: Option<&JobView>,
    out: Output,
) -> anyhow::Result<JobView> {
    let spec = JobSpec { image: published.pinned.clone(), ..spec };
    let (job, created) = client.apply_job(&spec).await?;
    let what = match present {
        _ if created => "registered",
        Some(before) if before.revision == job.revision => "unchanged",
        _ => "changed",
    };
    out.note(format_args!("image {} ({})", published.pinned, published.tags.join(", ")));
    if out.is_json() {
        out.json(&job)?;
    } else {
        out.data(format_args!("{} {} revision {} ({what})", job.spec.name, job.id, job.revision))?;
    }
    Ok(job)
}

/// What to paste where.
fn snippets(context: &Context, job: &JobView) {
    let (out, url, name) = (context.out, context.url().trim_end_matches('/'), &job.spec.name);
    let airflow = format!("HaulierRunOperator(task_id=\"{}\", job=\"{name}\")", name.replace('-', "_"));
    out.note(format_args!(
        "\nto start it from\n  \
         the shell     haulier run {name} --follow\n  \
         Data Factory  haulier adf --job {name} > pipeline.json   (paste it into the code view)\n  \
         Airflow       from haulier_airflow.operators import HaulierRunOperator\n                {airflow}\n  \
         anything      curl -X POST -H \"Authorization: Bearer $HAULIER_TOKEN\" -H \"Idempotency-Key: $(date +%F)\" \\\n  \
         \u{20}             {url}/api/v1/jobs/{name}/runs\n"
    ));
}

/// Whether the folder is one where git keeps versions, and which version it is.
fn revision(dir: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let asked = std::process::Command::new("git").args(args).current_dir(dir).output().ok()?;
        asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let dirty = git(&["status", "--porcelain", "--", "."]).is_none_or(|changed| !changed.is_empty());
    Some(format!("git-{commit}{}", if dirty { "-dirty" } else { "" }))
}
