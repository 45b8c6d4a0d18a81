//! `haulier job apply`: jobs as files say, planned as a whole before anything is changed.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;
use clap::Args;

use super::plan::{Change, Plan};
use crate::{
    cli::{document, exit::Usage, input, output::Output},
    client::Client,
    domain::{JobSpec, Name},
};

/// The label that says which set of files a job belongs to.
pub(super) const SET: &str = "haulier/set";

#[derive(Debug, Args)]
#[command(after_help = "\
All files are read and checked, by the service too, before the first job is changed.
--prune archives only jobs that were applied with the same --set before, which their label haulier/set says; it asks \
first, unless --yes.")]
pub(in crate::cli) struct ApplyArgs {
    /// A YAML or JSON file with one job or several, or a folder of such files; - is stdin. May be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Show what would change, field by field, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// The name of this set of files: its jobs are marked with it
    #[arg(long, value_name = "NAME")]
    set: Option<Name>,

    /// Archive the jobs of the set that no file has any more
    #[arg(long, requires = "set")]
    prune: bool,

    /// Keep the digests that the images' tags mean now, as `pin: true` in the files does
    #[arg(long)]
    pin: bool,

    /// Do not ask before archiving
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(client: &Client, out: Output, args: &ApplyArgs) -> anyhow::Result<()> {
    let specs = read(args)?;
    let plan = Plan::make(client, specs, args.set.as_ref(), args.prune).await?;
    if args.dry_run {
        return plan.show(out);
    }
    confirm_archiving(&plan, args)?;
    for step in &plan.steps {
        let (job, created) = client.apply_job(&step.spec).await.with_context(|| step.told())?;
        let what = match &step.change {
            _ if created => "registered",
            Change::Changed { before, .. } if *before != job.revision => "changed",
            _ => "unchanged",
        };
        out.one(&job, |job| format!("{} revision {} ({what})", job.spec.name, job.revision))?;
    }
    for job in &plan.gone {
        client.archive_job(&job.id.to_string()).await.with_context(|| format!("job {}", job.spec.name))?;
        out.note(format_args!("{} is archived", job.spec.name));
    }
    Ok(())
}

/// Everything that the files say. What is wrong in any of them is told together.
fn read(args: &ApplyArgs) -> anyhow::Result<Vec<(String, JobSpec)>> {
    let mut specs: Vec<(String, JobSpec)> = Vec::new();
    let mut wrong = Vec::new();
    for path in args.files.iter().map(|path| expanded(path)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        match document::read(&path, &input::text(&path)?) {
            Ok(found) => specs.extend(found.into_iter().map(|spec| (input::name(&path).to_owned(), spec))),
            Err(problem) => wrong.push(problem.0),
        }
    }
    let mut places: BTreeMap<&Name, &str> = BTreeMap::new();
    for (path, spec) in &specs {
        if let Some(other) = places.insert(&spec.name, path) {
            wrong.push(format!("{path}: there is a job {} in {other} too: a name stands for one job", spec.name));
        }
    }
    if !wrong.is_empty() {
        return Err(Usage(wrong.join("\n")).into());
    }
    for (_, spec) in &mut specs {
        spec.pin |= args.pin;
        if let Some(set) = &args.set {
            spec.labels.insert(SET.to_owned(), set.to_string());
        }
    }
    Ok(specs)
}

/// The file itself, or the job files of a folder, in the order of their names; folders in it are left alone.
fn expanded(path: &str) -> Result<Vec<String>, Usage> {
    if path == "-" || !Path::new(path).is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error: std::io::Error| Usage(format!("{path} cannot be read: {error}"));
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let kind = file.extension().and_then(|end| end.to_str()).unwrap_or_default();
        if file.is_file() && matches!(kind, "yaml" | "yml" | "json") {
            files.push(file.to_string_lossy().into_owned());
        }
    }
    if files.is_empty() {
        return Err(Usage(format!("{path} has no .yaml, .yml or .json file")));
    }
    files.sort();
    Ok(files)
}

fn confirm_archiving(plan: &Plan, args: &ApplyArgs) -> anyhow::Result<()> {
    if plan.gone.is_empty() || args.yes {
        return Ok(());
    }
    let names: Vec<_> = plan.gone.iter().map(|job| job.spec.name.as_str()).collect();
    let told = format!("no file has {} any more", names.join(", "));
    if !input::someone_is_there() {
        return Err(Usage(format!("{told}: --yes archives what is gone, --dry-run shows the plan")).into());
    }
    anyhow::ensure!(input::confirmed(&format!("{told}: archive? [y/N] ")), "nothing was changed");
    Ok(())
}
