//! Containers without a daemon: this machine's kernel, through libcontainer.
//!
//! Each workload has a directory and a shim: a process of its own that makes the container, keeps its output
//! and writes down how it ended. The service may be killed and started again, and several may look at once: what counts
//! is in the directory, and whether a shim lives is known to the kernel (see `rundir`).
//!
//! Containers use the host's network. A service that is not root makes them in a user namespace (see `userns`), and
//! limits them where it was given control groups (see `delegation`). Linux only.

mod cgroups;
mod delegation;
mod ensure;
mod follow;
mod idmap;
mod machine;
mod output;
mod rundir;
mod sealed;
mod shim;
mod stop;
mod userns;
mod watch;

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::Deserialize;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{
    Capabilities, Change, Engine, EngineError, EngineErrorKind, EngineHealth, Exit, Found, Handle, LaunchFailure,
    LaunchProgress, LaunchSpec, LogStream, Observation, Persistence, WorkloadPhase,
    images::{self, ImageStore, ImageStoreConfig},
    reexec,
};
use crate::domain::{AttemptId, InstallationId, WaitReason};
use machine::Machine;
use rundir::{Labels, RunDir, Status};
use watch::Watch;

/// How containers are run on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// Where images and workloads lie, on a disk with room for both. Default: `embedded` in the data directory.
    pub root: Option<PathBuf>,
    /// How many containers are made at once. More only makes each slower.
    pub max_launches: usize,
    /// How much the images' layers may take, in MB; beyond it, those unused for longest are removed.
    pub image_store_mb: u64,
    /// Where archives that jobs name (`oci:/…`, `oci-archive:/…`, `docker-archive:/…`) may lie. Default: nowhere.
    pub archives: Option<PathBuf>,
    /// The longest time for one pull of an image, in seconds.
    pub pull_timeout_seconds: u64,
    /// Processes and threads in one container, when the job does not say.
    pub default_pids: u32,
    /// How much output of one container is kept until it is collected, in MB; beyond it, the oldest is dropped.
    pub output_mb: u64,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            root: None,
            max_launches: std::thread::available_parallelism().map_or(4, |cores| 2 * cores.get()),
            image_store_mb: 20_000,
            archives: None,
            pull_timeout_seconds: 1800,
            default_pids: 4096,
            output_mb: 256,
        }
    }
}

impl EmbeddedConfig {
    /// Where everything lies, if the configuration does not say otherwise.
    #[must_use]
    pub fn root(&self, data_dir: &Path) -> PathBuf {
        self.root.clone().unwrap_or_else(|| data_dir.join("embedded"))
    }

    /// The images below this root. Blocks.
    ///
    /// # Errors
    /// The directory or the program cannot be used, or this machine does not let this user unpack images.
    pub fn image_store(&self, root: &Path, program: &Path) -> io::Result<ImageStore> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let machine = Machine::look(&root, program)?;
        match machine.lacks_namespace() {
            Some(why) => Err(io::Error::new(io::ErrorKind::Unsupported, why)),
            None => self.images_of(&machine, &root),
        }
    }

    fn images_of(&self, machine: &Machine, root: &Path) -> io::Result<ImageStore> {
        ImageStore::open(ImageStoreConfig {
            dir: root.join(machine.images_name()),
            helper: machine.helper.clone(),
            archives: self.archives.clone(),
            max_bytes: self.image_store_mb.saturating_mul(1_000_000),
            pull_timeout: Duration::from_secs(self.pull_timeout_seconds),
        })
    }
}

/// This machine's kernel as an engine.
pub struct EmbeddedEngine {
    name: String,
    owner: InstallationId,
    config: EmbeddedConfig,
    runs: PathBuf,
    machine: Machine,
    images: Arc<ImageStore>,
    launches: Arc<Semaphore>,
    watch: Watch,
}

impl EmbeddedEngine {
    /// An engine with everything below `root`. `program` is the `haulier` binary, which is executed again for each
    /// container. Blocks for as long as it takes to copy it and, without root, to make a user namespace. Without root,
    /// this process moves below the control group in which it was started, if that was delegated to its user.
    ///
    /// # Errors
    /// The directory or the program cannot be used.
    pub fn open(
        name: impl Into<String>,
        owner: InstallationId,
        config: EmbeddedConfig,
        root: &Path,
        program: &Path,
    ) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        if root.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b',' | b':' | b'\\')) {
            let text = format!("{} cannot be mounted from: choose a root without `,`, `:` and `\\`", root.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let runs = root.join("runs");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&runs)?;
        let runs = runs.canonicalize()?;
        let root = root.canonicalize()?;
        let machine = Machine::prepare(&root, program)?;
        let (left, helper) = (runs.clone(), machine.helper.clone());
        // Large directories take long, and nobody need wait for it.
        std::thread::spawn(move || {
            if let Err(error) = stop::tidy_up(&left, &helper) {
                tracing::warn!(%error, dir = %left.display(), "what an earlier service left cannot be removed");
            }
        });
        let permits = config.max_launches.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            name: name.into(),
            owner,
            runs,
            images: Arc::new(config.images_of(&machine, &root)?),
            machine,
            launches: Arc::new(Semaphore::new(permits)),
            watch: Watch::default(),
            config,
        })
    }

    fn dir(&self, id: &str) -> RunDir {
        // Whoever made up an id must not name another directory with it.
        let name = if id.is_empty() || id.starts_with('.') || id.contains('/') { "invalid" } else { id };
        RunDir::at(self.runs.join(name))
    }
}

impl fmt::Debug for EmbeddedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedEngine").field("name", &self.name).field("runs", &self.runs).finish_non_exhaustive()
    }
}

#[async_trait]
impl Engine for EmbeddedEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            memory_limit: self.machine.enforced.memory,
            cpu_limit: self.machine.enforced.cpu,
            pids_limit: self.machine.enforced.pids,
            files: true,
            secret_files: true,
            secret_env: true,
            out_of_memory_told: self.machine.enforced.memory,
            streams_apart: true,
            pull: true,
            adopt: true,
            file_owner: true,
            whole_output: true,
            output_after_stop: true,
            schedules: false,
        }
    }

    async fn ensure(&self, spec: &LaunchSpec, progress: &LaunchProgress) -> Result<Handle, EngineError> {
        self.ensure_workload(spec, progress).await
    }

    async fn observe(
        &self,
        of: &[Handle],
    ) -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError> {
        let (dirs, watch): (Vec<_>, _) =
            (of.iter().map(|handle| (handle.attempt, self.dir(&handle.id))).collect(), self.watch.clone());
        blocking("look at the workloads", move || {
            Ok(dirs
                .into_iter()
                .map(|(attempt, dir)| {
                    (attempt, look(&dir, &watch).map_err(|error| failed("look at the workload", &error)))
                })
                .collect())
        })
        .await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        self.watch.changes()
    }

    async fn list(&self) -> Result<Vec<Found>, EngineError> {
        let (runs, owner) = (self.runs.clone(), self.owner);
        blocking("list the workloads", move || list(&runs, owner)).await
    }

    async fn stop(&self, handle: &Handle, grace: Duration) -> Result<(), EngineError> {
        stop::stop(self.dir(&handle.id), grace).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), EngineError> {
        stop::remove(self.dir(&handle.id), handle.id.clone(), self.machine.helper.clone()).await
    }

    fn logs(&self, handle: &Handle) -> LogStream {
        follow::follow(self.dir(&handle.id), handle.attempt, &self.watch)
    }

    async fn probe(&self) -> EngineHealth {
        self.machine.health()
    }
}

/// How a workload stands, and that its end will be told.
fn look(dir: &RunDir, watch: &Watch) -> io::Result<Observation> {
    let absent = Observation { execution: None, phase: WorkloadPhase::Absent };
    let Some(labels) = dir.labels()? else { return Ok(absent) };
    // In this order: a shim writes the end down before it goes.
    let shim = dir.shim()?;
    let alive = shim.is_some();
    let status = dir.status()?;
    // Removed meanwhile, file by file for whoever looks.
    if !alive && !matches!(status, Some(Status::Ended(_))) && dir.labels()?.is_none() {
        return Ok(absent);
    }
    let phase = match status {
        Some(Status::Ended(ended)) => WorkloadPhase::Exited(ended.into()),
        Some(begun) if !alive => WorkloadPhase::Exited(interrupted(&begun)),
        None | Some(Status::Starting) => {
            WorkloadPhase::Pending(WaitReason::Launching, "the container is being made".to_owned())
        }
        Some(Status::Running { started_at }) => WorkloadPhase::Running(started_at),
    };
    if let Some(shim) = shim
        && !matches!(phase, WorkloadPhase::Exited(_))
    {
        watch.adopt(labels.attempt, shim);
    }
    let name = labels.attempt.workload_name();
    Ok(Observation { execution: Some(format!("{name}@{}", labels.created_at.as_micros())), phase })
}

/// It was begun, and whoever kept it is gone without a word.
fn interrupted(begun: &Status) -> Exit {
    let started_at = match begun {
        Status::Running { started_at } => Some(*started_at),
        Status::Starting | Status::Ended(_) => None,
    };
    let text = "the process that kept the container was killed, or the machine stopped".to_owned();
    Exit { started_at, failure: Some(LaunchFailure::Interrupted(text)), ..Exit::default() }
}

fn list(runs: &Path, owner: InstallationId) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(runs)? {
        let Ok(id) = entry?.file_name().into_string() else { continue };
        if id.starts_with('.') {
            continue;
        }
        let dir = RunDir::at(runs.join(&id));
        let Some(Labels { owner: theirs, attempt, created_at, .. }) = dir.labels()? else { continue };
        if theirs == owner {
            let running = dir.shim()?.is_some() && !matches!(dir.status()?, Some(Status::Ended(_)));
            all.push(Found { handle: Handle { attempt, id }, created_at, running });
        }
    }
    Ok(all)
}

async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, EngineError> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| failed(operation, &error))
}

fn failed(operation: &'static str, error: &io::Error) -> EngineError {
    let detail = format!("{error}: look at the engine's root directory and at its disk");
    EngineError::new(EngineErrorKind::Internal, Persistence::Temporary, operation, detail)
}

/// What this program is when it was executed by an engine, and not by a person. To be asked before there is any thread.
#[must_use]
pub fn helper() -> Option<ExitCode> {
    let mut args = match reexec::arguments() {
        Ok(args) => args,
        Err(error) => return Some(ended(Err(error))),
    };
    let command = args.next()?;
    let dir = PathBuf::from(args.next()?);
    Some(ended(match command.to_str()? {
        shim::COMMAND => {
            shim::main(&dir);
            Ok(())
        }
        images::UNPACK => {
            let max_bytes = args.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(0);
            images::unpack_main(&dir, max_bytes);
            Ok(())
        }
        userns::MAKE => {
            userns::main(&dir);
            Ok(())
        }
        userns::TRY_PROC => userns::try_proc(&dir),
        reexec::REMOVE => reexec::remove_tree(&dir),
        _ => return None,
    }))
}

/// Whoever executed it reads why.
fn ended(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = io::Write::write_all(&mut io::stderr(), error.to_string().as_bytes());
            ExitCode::FAILURE
        }
    }
}
