//! The directory of one workload: what the service and the shim tell each other, and what outlives both.
//!
//! | file | written by | what it is |
//! |---|---|---|
//! | `labels.json` | service | whose workload it is; there from the first moment, for the directory appears by a rename |
//! | `lock` | shim | locked by the shim as long as it lives; the kernel knows by whom |
//! | `status.json` | shim | how the workload stands, replaced as a whole |
//! | `control` | service | a FIFO with [`Order`]s for the shim |
//! | `group` | shim | where the workload's control group lies, if that is not below the root of all |
//! | `output.N` | shim | what the workload wrote, see [`output`](super::output) |
//! | `upper`, `work`, `bundle` | shim | the container's own layer; mounts that only the shim sees |
//!
//! The lock is a POSIX record lock and no `flock`, since the container's init is a fork of the shim: it inherits open
//! files, and with them a `flock`, but never a record lock.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStringExt,
            fs::{DirBuilderExt, OpenOptionsExt},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, fcntl_lock, mkfifoat, open},
    process::{Flock, FlockType, Pid, PidfdFlags, Signal, fcntl_getlk, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use crate::{
    domain::{AttemptId, InstallationId, Timestamp},
    engines::{Exit, LaunchFailure},
};

/// What a directory is called until it is whole.
pub(super) const DRAFT: &str = ".draft-";

/// Whose workload it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Labels {
    pub(super) owner: InstallationId,
    pub(super) attempt: AttemptId,
    /// [`LaunchSpec::hash`](crate::engines::LaunchSpec::hash).
    pub(super) spec: String,
    /// For people.
    pub(super) job: String,
    /// For people.
    pub(super) project: String,
    pub(super) created_at: Timestamp,
}

/// How the workload stands. The file is missing until the shim is about to create the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub(super) enum Status {
    /// The container is being made; from here on it must not be made again.
    Starting,
    /// The command was executed.
    Running { started_at: Timestamp },
    /// It ended, or could not be started for good.
    Ended(Ended),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) out_of_memory: bool,
    pub(super) failure: Option<Failure>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
}

/// Why it never ran, or did not end by its own doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub(super) enum Failure {
    CommandNotFound(String),
    Rejected(String),
    Interrupted(String),
    NeverStarted(String),
}

impl From<Ended> for Exit {
    fn from(Ended { code, out_of_memory, failure, started_at, finished_at }: Ended) -> Self {
        let failure = failure.map(|failure| match failure {
            Failure::CommandNotFound(detail) => LaunchFailure::CommandNotFound(detail),
            Failure::Rejected(detail) => LaunchFailure::Rejected(detail),
            Failure::Interrupted(detail) => LaunchFailure::Interrupted(detail),
            Failure::NeverStarted(detail) => LaunchFailure::NeverStarted(detail),
        });
        Self { code, out_of_memory, failure, started_at, finished_at }
    }
}

/// What a shim can be told through its FIFO. One line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// TERM now, and KILL after so many milliseconds.
    Stop(u64),
}

impl Order {
    /// The last order of what was read.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.lines().rev().find_map(|line| Some(Self::Stop(line.strip_prefix("stop ")?.parse().ok()?)))
    }
}

/// The directory of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunDir(PathBuf);

impl RunDir {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes the directory, whole or not at all; `false`: the name is taken.
    pub(super) fn create(&self, labels: &Labels) -> io::Result<bool> {
        let parent = self.0.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let draft = parent.join(format!("{DRAFT}{}", ulid::Ulid::generate()));
        fs::DirBuilder::new().mode(0o700).create(&draft)?;
        let made = (|| {
            fs::write(draft.join("labels.json"), serde_json::to_vec(labels)?)?;
            File::create(draft.join("lock"))?;
            mkfifoat(rustix::fs::CWD, draft.join("control"), Mode::RUSR | Mode::WUSR)?;
            match fs::rename(&draft, &self.0) {
                Ok(()) => Ok(true),
                // A directory that is not empty is never replaced.
                Err(error) if matches!(error.raw_os_error(), Some(code) if code == taken(rustix::io::Errno::NOTEMPTY) || code == taken(rustix::io::Errno::EXIST)) => {
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        })();
        if !matches!(made, Ok(true)) {
            let _ = fs::remove_dir_all(&draft);
        }
        made
    }

    /// `None`: there is no such workload.
    pub(super) fn labels(&self) -> io::Result<Option<Labels>> {
        Ok(read(&self.join("labels.json"))?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    /// `None`: the container was never begun. What cannot be read was cut short by a crash of the machine: then the
    /// workload was begun and nothing is known of its end.
    pub(super) fn status(&self) -> io::Result<Option<Status>> {
        let bytes = read(&self.join("status.json"))?;
        Ok(bytes.map(|bytes| serde_json::from_slice(&bytes).unwrap_or(Status::Starting)))
    }

    /// Replaces the status as a whole. The file handed back is not on the disk yet: see [`File::sync_all`].
    pub(super) fn set_status(&self, status: &Status) -> io::Result<File> {
        let draft = self.join(".status.json");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(status)?)?;
        fs::rename(&draft, self.join("status.json"))?;
        Ok(file)
    }

    /// As if it had never been begun. For a shim that made nothing.
    pub(super) fn clear_status(&self) -> io::Result<()> {
        fs::remove_file(self.join("status.json"))
    }

    /// Whoever holds this decides whether the workload is begun, which is decided once. A `flock`, for those of one
    /// process must exclude each other too; to be held for a moment.
    pub(super) fn deciding(&self) -> io::Result<File> {
        let labels = File::open(self.join("labels.json"))?;
        labels.lock()?;
        Ok(labels)
    }

    /// Takes the lock for this process, for as long as the file stays open; `None`: another holds it.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new().write(true).open(self.join("lock"))?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The shim that holds the lock, if one does.
    pub(super) fn shim(&self) -> io::Result<Option<Shim>> {
        let file = match OpenOptions::new().read(true).write(true).open(self.join("lock")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let Some(pid) = holder(&file)? else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            pidfd => pidfd?,
        };
        // It still holds the lock, so the number was its own when it was opened.
        Ok((holder(&file)? == Some(pid)).then_some(Shim { pidfd }))
    }

    /// Remembers the workload's control group for those who do not share this process's view of them.
    pub(super) fn set_group(&self, group: &Path) -> io::Result<()> {
        fs::write(self.join("group"), group.as_os_str().as_encoded_bytes())
    }

    /// The control group that was remembered.
    pub(super) fn group(&self) -> io::Result<Option<PathBuf>> {
        let path = read(&self.join("group"))?.map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
        // What a crash has cut short must not name one of the groups above.
        Ok(path.filter(|group| group.file_name() == self.0.file_name()))
    }

    /// Tells the shim something; `false`: there is none.
    pub(super) fn order(&self, order: Order) -> io::Result<bool> {
        let Order::Stop(grace) = order;
        match open(self.join("control"), OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fifo) => File::from(fifo).write_all(format!("stop {grace}\n").as_bytes()).map(|()| true),
            Err(rustix::io::Errno::NXIO | rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn taken(errno: rustix::io::Errno) -> i32 {
    errno.raw_os_error()
}

fn holder(lock: &File) -> io::Result<Option<Pid>> {
    Ok(fcntl_getlk(lock, &Flock::from(FlockType::WriteLock))?.and_then(|found| found.pid))
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A shim that was alive a moment ago, held so that its number cannot come to mean another process.
#[derive(Debug)]
pub(super) struct Shim {
    pidfd: OwnedFd,
}

impl Shim {
    /// Waits until the shim has ended.
    pub(super) async fn gone(&self) -> io::Result<()> {
        // The runtime's own poll needs a descriptor that nobody else closes.
        let pidfd = self.pidfd.try_clone()?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor stays open as long as it is registered"
        )]
        let pidfd = AsyncFd::new(pidfd)?;
        pidfd.readable().await.map(drop)
    }

    /// Ends the shim and, by the kernel, its container.
    pub(super) fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(self.pidfd.as_fd(), Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_whose_path_was_cut_short_is_not_taken_for_another() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::at(root.path().join("r-1"));
        fs::create_dir(dir.path()).unwrap();
        assert_eq!(dir.group().unwrap(), None);
        let group = Path::new("/sys/fs/cgroup/x.scope/haulier/r-1");
        dir.set_group(group).unwrap();
        assert_eq!(dir.group().unwrap().as_deref(), Some(group));
        for short in [group.parent().unwrap(), Path::new("")] {
            dir.set_group(short).unwrap();
            assert_eq!(dir.group().unwrap(), None, "{}", short.display());
        }
    }
}
