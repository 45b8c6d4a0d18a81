//! The job's state, as far as this machine knows it.

use std::{fs, io, io::Write};

use anyhow::Context as _;
use serde_json::{Map, Value};

use crate::cli::{exit::Usage, workspace::Workspace};

const STATE: &str = "state.json";

/// The state that the last run which succeeded here has left.
pub(super) fn read(workspace: &Workspace) -> anyhow::Result<Map<String, Value>> {
    let path = workspace.local().join(STATE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            let told = format!("{} is no JSON object ({error}): correct it, or use --fresh-state", path.display());
            Usage(told).into()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Keeps the state: all of it or, whatever happens, what was there before.
pub(super) fn write(workspace: &Workspace, state: &Map<String, Value>) -> anyhow::Result<()> {
    let written = (|| {
        let mut draft = tempfile::NamedTempFile::new_in(workspace.local())?;
        serde_json::to_writer_pretty(&mut draft, state)?;
        draft.write_all(b"\n")?;
        draft.persist(workspace.local().join(STATE))?;
        io::Result::Ok(())
    })();
    written.with_context(|| format!("the state cannot be kept in {}", workspace.local().display()))
}
