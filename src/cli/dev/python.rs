//! A Python project's own environment.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ring::digest::{Context, SHA256};
use tokio::process::Command;

use crate::cli::{output::Output, programs, workspace::Workspace};

/// What the environment was made from; in it, so that both go together.
const STAMP: &str = "haulier-requirements";

/// Makes `.venv` as `requirements.txt` says, where there is one that it is not made from already.
pub(super) async fn prepare(workspace: &Workspace, out: Output) -> anyhow::Result<()> {
    let requirements = workspace.dir.join("requirements.txt");
    if !requirements.is_file() {
        return Ok(());
    }
    let wanted = fingerprint(&workspace.dir).context("requirements.txt cannot be read")?;
    let venv = workspace.dir.join(".venv");
    let stamp = venv.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    let is_new = !venv.join("bin/python").exists();
    if is_new {
        out.note("making .venv");
        let mut make = Command::new("python3");
        let make = make.args(["-m", "venv", ".venv"]).current_dir(&workspace.dir);
        programs::run(make, "install Python 3 with its venv module").await?;
    }
    out.note("installing what requirements.txt says into .venv");
    let python = venv.canonicalize()?.join("bin/python");
    let install = |args: &[PathBuf]| {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet"]).args(args).current_dir(&workspace.dir);
        pip
    };
    let hint = "see what it says above, and correct requirements.txt";
    if !is_new {
        // A vendored package keeps its version when the binary that made it changes: it is to be installed anew.
        for package in vendored(&workspace.dir)? {
            let anew = ["--no-deps".into(), "--force-reinstall".into(), package];
            programs::run(&mut install(&anew), hint).await?;
        }
    }
    programs::run(&mut install(&["-r".into(), "requirements.txt".into()]), hint).await?;
    fs::write(&stamp, wanted).with_context(|| format!("{} cannot be written", stamp.display()))
}

/// The packages that the project brings along.
fn vendored(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = match fs::read_dir(dir.join("vendor")) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    found.retain(|path| path.extension().is_some_and(|end| end == "whl"));
    found.sort();
    found.iter().map(|path| path.canonicalize()).collect()
}

fn fingerprint(dir: &Path) -> io::Result<String> {
    let mut hash = Context::new(&SHA256);
    for path in std::iter::once(dir.join("requirements.txt")).chain(vendored(dir)?) {
        let content = fs::read(path)?;
        hash.update(&content.len().to_le_bytes());
        hash.update(&content);
    }
    Ok(hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
