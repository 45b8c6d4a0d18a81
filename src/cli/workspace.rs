//! A project's folder, and the job that its `haulier.yaml` describes.

use std::path::{Path, PathBuf};

use super::{document, exit::Usage, input};
use crate::domain::JobSpec;

/// The job as code.
pub(super) const JOB_FILE: &str = "haulier.yaml";

/// A project on this machine.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Its folder.
    pub(super) dir: PathBuf,
    /// Its job.
    pub(super) spec: JobSpec,
}

impl Workspace {
    /// Reads the project in this folder.
    ///
    /// # Errors
    /// There is none, or its job cannot be read.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(JOB_FILE);
        if !path.is_file() {
            let told =
                format!("there is no {}: go into a project, or make one with `haulier init NAME`", path.display());
            return Err(Usage(told).into());
        }
        let path = path.to_string_lossy();
        let mut specs = document::read(&path, &input::text(&path)?)?;
        match (specs.pop(), specs.pop()) {
            (Some(spec), None) => Ok(Self { dir: dir.to_owned(), spec }),
            _ => Err(Usage(format!("{path}: a project has one job: take the others into files of their own")).into()),
        }
    }

    /// Where what belongs to this machine alone is kept, which git ignores.
    pub(super) fn local(&self) -> PathBuf {
        self.dir.join(".haulier")
    }
}
