//! This program, executed again for what takes a process of its own: unpacking, removing, keeping a container.
//!
//! For root such a process is as privileged as the service. For anyone else it is root of a user namespace, in which
//! it may do to the user's own ids what root may do to all; the service itself stays outside.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_groups},
};

/// Comes before the subcommand: the user namespace to enter first.
const WITHIN: &str = "embedded-within";
/// The hidden subcommand that removes a directory.
pub(super) const REMOVE: &str = "embedded-remove";

/// How to execute this program again.
#[derive(Debug, Clone)]
pub struct Helper {
    program: PathBuf,
    namespace: Option<Arc<OwnedFd>>,
}

impl Helper {
    /// `program`, with the privileges that this process has.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self { program, namespace: None }
    }

    /// The same as root of this user namespace.
    pub(super) fn within(self, namespace: OwnedFd) -> Self {
        Self { namespace: Some(Arc::new(namespace)), ..self }
    }

    /// A command that inherits nothing but what it is given.
    pub(super) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir("/");
        if let Some(namespace) = &self.namespace {
            // Opened by the new process, before it does anything else, while this one has it open.
            let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
            command.arg(WITHIN).arg(path);
        }
        command.arg(subcommand);
        command
    }

    /// Removes a directory and all below it, whoever owns it there. Missing is success. Blocks.
    ///
    /// # Errors
    /// Something is left.
    pub(super) fn remove_tree(&self, path: &Path) -> io::Result<()> {
        if self.namespace.is_none() {
            return remove_tree(path);
        }
        if matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Ok(());
        }
        let done = self.command(REMOVE).arg(path).output()?;
        if done.status.success() { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&done.stderr))) }
    }
}

/// Another may be at it as well.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The arguments after this program's name, and the user namespace that they name entered. To be called before there is
/// any thread.
///
/// # Errors
/// The namespace cannot be entered: the service that made it is gone.
pub(super) fn arguments() -> io::Result<impl Iterator<Item = OsString>> {
    let mut arguments = env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == WITHIN).is_some() {
        let path = arguments.next().ok_or(io::ErrorKind::InvalidInput)?;
        enter(&File::open(path)?)?;
    }
    Ok(arguments)
}

fn enter(namespace: &File) -> io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))?;
    // The user's own further groups mean nothing inside. Where they cannot be given up the kernel has its reasons: a
    // group may be there to forbid.
    match set_thread_groups(&[]) {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
