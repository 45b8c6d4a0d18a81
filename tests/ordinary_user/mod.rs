//! A user without privileges, as root becomes one to run what must not be root.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A user that root can become, and that this process may be.
#[derive(Debug, Clone)]
pub struct OrdinaryUser {
    pub uid: u32,
    pub gid: u32,
    /// A place to write to.
    pub home: PathBuf,
}

impl OrdinaryUser {
    /// The one that `tests/support/infra` makes, to whom `/etc/subuid` lends ids.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of_the_tests() -> Result<Self, String> {
        let name = std::env::var("HAULIER_TEST_ROOTLESS_USER")
            .map_err(|_| "HAULIER_TEST_ROOTLESS_USER is not set: eval \"$(tests/support/infra)\" as root".to_owned())?;
        let passwd = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
        let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let entry = entries.find(|entry| entry[0] == name && entry.len() > 5);
        let entry = entry.ok_or_else(|| format!("there is no user {name}"))?;
        let number = |at: usize| entry[at].parse::<u32>().map_err(|error| error.to_string());
        Self { uid: number(2)?, gid: number(3)?, home: entry[5].into() }.checked()
    }

    /// A command that this user runs.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        // The groups of root go with its id.
        command.uid(self.uid).gid(self.gid).env("HOME", &self.home).env_remove("XDG_DATA_HOME").current_dir("/");
        command
    }

    /// A directory of this user's own.
    pub fn directory(&self) -> TempDir {
        // Where others may pass, which `TMPDIR` need not be.
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        chown(directory.path(), Some(self.uid), Some(self.gid)).unwrap();
        directory
    }

    /// The same, if this process is or can become that user, who can then execute Haulier.
    ///
    /// # Errors
    /// Why not.
    pub fn checked(self) -> Result<Self, String> {
        let ours = fs::metadata("/proc/self").map_err(|error| error.to_string())?.uid();
        if ours != 0 && ours != self.uid {
            return Err("only root can become another user".to_owned());
        }
        let program = Path::new(env!("CARGO_BIN_EXE_haulier"));
        let done = self.command("test").arg("-x").arg(program).status();
        if done.is_ok_and(|status| status.success()) {
            return Ok(self);
        }
        Err(format!("other users cannot execute {}: put the repository where they can", program.display()))
    }
}
