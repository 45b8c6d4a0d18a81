//! The process that keeps one container: `haulier` itself, executed again, with one thread.
//!
//! libcontainer forks, and a fork of a process with several threads may take a lock along that nobody will ever
//! release. So the service never calls it; a shim does, which is nobody's thread and nobody's child for long: it goes
//! on when the service is killed, and its container ends when the shim is killed.

mod bundle;
mod init;
mod run;
mod seccomp;
mod spec;
mod user;

use std::{
    fmt,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use nix::sys::signal::SigSet;
use serde::{Deserialize, Serialize};

use super::{idmap::Ids, rundir::RunDir};

/// The hidden subcommand.
pub(super) const COMMAND: &str = "embedded-shim";
/// What the service writes is no longer than this: files and environment are bounded where a job is registered.
const LONGEST_BLUEPRINT: u64 = 256 << 20;

/// Everything the shim needs to know; it comes on stdin, so that the secrets in it are never on a disk.
#[derive(Serialize, Deserialize)]
pub(super) struct Blueprint {
    /// The workload's name.
    pub(super) name: String,
    /// Where the image's layers lie: one directory each, named relative to `layers_dir`.
    pub(super) layers_dir: PathBuf,
    /// The lowest first.
    pub(super) layers: Vec<String>,
    /// Locked as long as the shim lives, so that the layers stay.
    pub(super) image_lease: PathBuf,
    pub(super) args: Vec<String>,
    /// `NAME=value`; of two with one name, the later counts.
    pub(super) env: Vec<String>,
    /// As the image says it: `name`, `uid`, or either with `:group`.
    pub(super) user: String,
    pub(super) workdir: String,
    pub(super) files: Vec<PlacedFile>,
    pub(super) limits: Limits,
    /// Where the service is not root: this shim is, in a user namespace with so many ids.
    pub(super) rootless: Option<Ids>,
    /// And this control group takes the place of the root of all groups, if there is one for that user's containers.
    pub(super) delegated: Option<PathBuf>,
    /// How much output is kept.
    pub(super) output_bytes: u64,
    /// After this time the container is stopped by the shim itself.
    pub(super) deadline_ms: u64,
    /// And this long between TERM and KILL.
    pub(super) grace_ms: u64,
}

/// A file that is placed before the start.
#[derive(Serialize, Deserialize)]
pub(super) struct PlacedFile {
    pub(super) path: String,
    /// Base64.
    pub(super) content: String,
    pub(super) mode: u32,
    pub(super) secret: bool,
}

/// What the kernel enforces; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Limits {
    pub(super) cpu: Option<f64>,
    pub(super) memory_bytes: Option<i64>,
    pub(super) pids: Option<u32>,
}

impl fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blueprint").field("name", &self.name).field("args", &self.args).finish_non_exhaustive()
    }
}

/// What the shim tells the service that started it, a line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "detail", rename_all = "snake_case")]
pub(super) enum Event {
    /// Another shim has this workload, or it was begun before: look at its status.
    Taken,
    /// Nothing was begun; it may be tried again.
    Failed(String),
    /// The command was executed.
    Started,
    /// The end stands in the status.
    Ended,
}

/// Tells the service, if it still listens.
#[derive(Debug)]
struct Teller;

impl Teller {
    fn tell(&self, event: &Event) {
        // Whoever has gone away reads the status instead.
        let _ = serde_json::to_vec(event).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            io::stdout().write_all(&line)?;
            io::stdout().flush()
        });
    }
}

/// The shim of the workload in this directory.
pub(super) fn main(dir: &Path) {
    // Only the order to stop, and KILL, end a shim: not the terminal that the service was started from.
    let _ = SigSet::all().thread_block();
    let _ = rustix::process::setsid();
    let dir = RunDir::at(dir.to_owned());
    let teller = Teller;
    match run::keep(&dir, &teller) {
        Ok(()) => {}
        Err(run::NotBegun::Taken) => teller.tell(&Event::Taken),
        Err(run::NotBegun::Failed(why)) => teller.tell(&Event::Failed(why)),
    }
}

fn read_blueprint() -> io::Result<Blueprint> {
    let mut text = Vec::new();
    io::stdin().take(LONGEST_BLUEPRINT).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
