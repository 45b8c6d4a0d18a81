//! The folder of one `haulier dev`. Secrets are in it: it goes when that ends, or, if that was killed, when the next one
//! begins.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use tempfile::TempDir;

const PREFIX: &str = "run-";
/// Locked for as long as the folder is used: whoever is killed lets go of it.
const IN_USE: &str = "in-use";

/// Files for one run here.
#[derive(Debug)]
pub(super) struct RunFolder {
    folder: TempDir,
    _in_use: File,
}

impl RunFolder {
    /// Makes a folder in this one, and removes those that nobody uses any more.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(super) fn in_folder(local: &Path) -> io::Result<Self> {
        fs::create_dir_all(local)?;
        // One at a time, lest a folder is removed before it is in use.
        let turn = File::open(local)?;
        turn.lock()?;
        for entry in fs::read_dir(local)?.flatten() {
            let left = entry.file_name().to_string_lossy().starts_with(PREFIX)
                && File::open(entry.path().join(IN_USE)).is_ok_and(|in_use| in_use.try_lock().is_ok());
            if left {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(local)?;
        let in_use = File::create(folder.path().join(IN_USE))?;
        in_use.lock()?;
        Ok(Self { folder, _in_use: in_use })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_one_left_goes_with_the_next() {
        let local = tempfile::tempdir().unwrap();
        let living = RunFolder::in_folder(local.path()).unwrap();
        let left = local.path().join("run-killed");
        fs::create_dir_all(left.join("secrets")).unwrap();
        fs::write(left.join(IN_USE), "").unwrap();
        let others = local.path().join("state.json");
        fs::write(&others, "{}").unwrap();

        let next = RunFolder::in_folder(local.path()).unwrap();
        assert!(!left.exists());
        assert!(living.path().exists() && next.path().exists() && others.exists());
        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists());
    }
}
