//! `haulier init`: a new project that works at once.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;

use super::{context::Context, exit::Usage};
use crate::{
    domain::Name,
    scaffold::{ScaffoldFile, Template},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  haulier init load-orders
  haulier init load-orders --template python-pipeline
  haulier init nightly-cleanup --template shell --dir jobs/cleanup")]
pub(super) struct InitArgs {
    /// The job's name; its folder gets the same
    name: String,

    /// What it is written in
    #[arg(short, long, value_enum, default_value_t = Template::Python)]
    template: Template,

    /// Another folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,

    /// What the image is built on; by default the language's own small one
    #[arg(long, value_name = "IMAGE", env = "HAULIER_BASE_IMAGE")]
    base_image: Option<String>,

    /// Write into a folder that is not empty: replaces the template's own files, and nothing else
    #[arg(long)]
    force: bool,
}

pub(super) fn run(context: &Context, args: InitArgs) -> anyhow::Result<()> {
    let name: Name = args.name.parse().map_err(|error| Usage(format!("{:?} is no job's name: {error}", args.name)))?;
    let folder = args.dir.unwrap_or_else(|| PathBuf::from(name.as_str()));
    let base_image = args.base_image.as_deref().unwrap_or(args.template.base_image());
    if base_image.is_empty() || base_image.contains(|c: char| c.is_whitespace() || c == '$') {
        return Err(Usage(format!("--base-image: {base_image:?} is no image")).into());
    }
    if !args.force && !is_free(&folder)? {
        let told = format!("{} is not empty: take another name or --dir, or --force", folder.display());
        return Err(Usage(told).into());
    }
    let files = args.template.files(&name, base_image)?;
    for file in &files {
        write(&folder, file)?;
    }
    let out = context.out;
    out.data(folder.display())?;
    out.note(format_args!("\n{} files. What comes next:\n", files.len()));
    out.note(format_args!("  cd {}", folder.display()));
    out.note("  haulier dev             # run it on this machine");
    out.note("  haulier deploy --run    # build its image, register the job, run it in production");
    Ok(())
}

/// Whether there is nothing that could be overwritten.
fn is_free(folder: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Usage(format!("{} cannot be used: {error}", folder.display())).into()),
    }
}

fn write(folder: &Path, file: &ScaffoldFile) -> anyhow::Result<()> {
    let path = folder.join(&file.path);
    let mode = if file.executable { 0o755 } else { 0o644 };
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let mut open = fs::File::options();
        open.write(true).create(true).truncate(true).mode(mode).open(&path)?.write_all(&file.content)
    });
    written.with_context(|| format!("{} cannot be written", path.display()))
}
