//! Launching exactly once.
//!
//! The directory appears once, by a rename; the shim that locks it first makes the container, and writes down that it is
//! about to, before it does. So any number of shims may be started for one workload: one gets to work.

use std::{process::Stdio, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::{
    EmbeddedEngine, blocking, failed,
    rundir::{Failure, Labels, RunDir, Status},
    shim::{self, Blueprint, Event, Limits, PlacedFile},
    watch::Watch,
};
use crate::{
    domain::{AttemptId, Clock, Resources, SystemClock},
    engines::{
        EngineError, EngineErrorKind, Handle, LaunchProgress, LaunchSpec, Persistence,
        images::{FILES, Image, Leased},
    },
};

/// How long a shim may take to execute the command, or to say why not.
const LAUNCH: Duration = Duration::from_secs(60);
/// Between two looks at another's launch.
const PAUSE: Duration = Duration::from_millis(5);

impl EmbeddedEngine {
    pub(super) async fn ensure_workload(
        &self,
        spec: &LaunchSpec,
        progress: &LaunchProgress,
    ) -> Result<Handle, EngineError> {
        let dir = self.dir(spec.name().as_str());
        let deadline = Instant::now() + LAUNCH;
        if let Some(labels) = read_labels(&dir).await? {
            self.check_labels(spec, &labels)?;
            if let Some(handle) = self.adopt(spec, &dir, deadline).await? {
                return Ok(handle);
            }
        }
        self.machine.check(spec.resources)?;
        let leased = self.images.ensure(&spec.image, spec.pull, spec.credentials.as_ref(), progress).await?;
        self.claim(spec, &dir).await?;
        let blueprint = self.blueprint(spec, &leased)?;
        let deadline = Instant::now() + LAUNCH;
        loop {
            match self.launch(spec, &dir, &blueprint).await? {
                Event::Started | Event::Ended | Event::Taken => {}
                Event::Failed(why) => {
                    let text = format!("nothing was started: {why}");
                    return Err(EngineError::new(
                        EngineErrorKind::Internal,
                        Persistence::Temporary,
                        "make the container",
                        text,
                    ));
                }
            }
            if let Some(handle) = self.adopt(spec, &dir, deadline).await? {
                return Ok(handle);
            }
        }
    }

    fn check_labels(&self, spec: &LaunchSpec, labels: &Labels) -> Result<(), EngineError> {
        if labels.owner == self.owner && labels.attempt == spec.attempt {
            return Ok(());
        }
        let text =
            format!("there is a workload `{}` of another installation: give each a root of its own", spec.name());
        Err(EngineError::new(EngineErrorKind::Conflict, Persistence::Permanent, "adopt the workload", text))
    }

    /// Makes the directory, or finds it made by someone else for the same attempt.
    async fn claim(&self, spec: &LaunchSpec, dir: &RunDir) -> Result<(), EngineError> {
        let labels = Labels {
            owner: self.owner,
            attempt: spec.attempt,
            spec: spec.hash(),
            job: spec.job.clone(),
            project: spec.project.clone(),
            created_at: SystemClock.now(),
        };
        let made = dir.clone();
        if blocking("make the run directory", move || made.create(&labels)).await? {
            return Ok(());
        }
        match read_labels(dir).await? {
            Some(labels) => self.check_labels(spec, &labels),
            // Removed just now.
            None => Err(failed("make the run directory", &std::io::ErrorKind::Interrupted.into())),
        }
    }

    /// The workload, if it was begun by anyone; `None`: it never was, and nobody is at it.
    async fn adopt(&self, spec: &LaunchSpec, dir: &RunDir, deadline: Instant) -> Result<Option<Handle>, EngineError> {
        let handle = || Handle { attempt: spec.attempt, id: spec.name().to_string() };
        loop {
            let looked = dir.clone();
            let (alive, status) = blocking("adopt the workload", move || {
                // In this order: a shim writes the status before it goes.
                Ok((looked.shim()?.is_some(), looked.status()?))
            })
            .await?;
            match status {
                Some(Status::Ended(ended)) => return settled(ended.failure, handle()),
                Some(Status::Running { .. }) => return Ok(Some(handle())),
                // Lost: to be found out by whoever observes it.
                Some(Status::Starting) if !alive => return Ok(Some(handle())),
                None if !alive => return Ok(None),
                Some(Status::Starting) | None => {}
            }
            if Instant::now() >= deadline {
                let text = format!("its container was not started within {} s: try again", LAUNCH.as_secs());
                return Err(EngineError::new(
                    EngineErrorKind::Internal,
                    Persistence::Temporary,
                    "adopt the workload",
                    text,
                ));
            }
            sleep(PAUSE).await;
        }
    }

    fn blueprint(&self, spec: &LaunchSpec, leased: &Leased) -> Result<Vec<u8>, EngineError> {
        let blueprint = render(spec, &leased.image, self.default_pids());
        let blueprint = Blueprint {
            layers_dir: self.images.layers_dir(),
            image_lease: leased.lease.clone(),
            rootless: self.machine.rootless.as_ref().map(|rootless| rootless.ids),
            delegated: self.machine.rootless.as_ref().and_then(|rootless| rootless.delegation.group.clone()),
            output_bytes: self.config.output_mb.max(1).saturating_mul(1_000_000),
            ..blueprint
        };
        serde_json::to_vec(&blueprint).map_err(|error| failed("describe the container", &error.into()))
    }

    fn default_pids(&self) -> Option<u32> {
        self.machine.enforced.pids.then_some(self.config.default_pids)
    }

    /// Starts a shim, and waits for what it says first. It goes on whatever becomes of this call.
    async fn launch(&self, spec: &LaunchSpec, dir: &RunDir, blueprint: &[u8]) -> Result<Event, EngineError> {
        let permit = self.launches.clone().acquire_owned().await;
        let spawned = Command::from(self.machine.helper.command(shim::COMMAND))
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = spawned.map_err(|error| failed("start the shim", &error))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("start the shim", &std::io::ErrorKind::BrokenPipe.into()));
        };
        let (tell, told) = oneshot::channel();
        let shim = Launched {
            child,
            events: BufReader::new(stdout).lines(),
            attempt: spec.attempt,
            watch: self.watch.clone(),
        };
        let blueprint = blueprint.to_vec();
        tokio::spawn(async move {
            let first = shim.accompany(stdin, &blueprint, tell).await;
            drop(permit);
            first.see_off().await;
        });
        match timeout(LAUNCH, told).await {
            Ok(Ok(event)) => Ok(event),
            // It ended without a word, which is worth another look at the status.
            Ok(Err(_)) => Ok(Event::Failed("the shim ended early".to_owned())),
            Err(_) => Err(failed("start the shim", &std::io::ErrorKind::TimedOut.into())),
        }
    }
}

/// A shim of ours.
struct Launched {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
    attempt: AttemptId,
    watch: Watch,
}

impl Launched {
    /// Until it has said something.
    async fn accompany(mut self, mut stdin: ChildStdin, blueprint: &[u8], tell: oneshot::Sender<Event>) -> Self {
        self.watch.claim(self.attempt);
        // It may end before it has read all, and then says why.
        let _ = stdin.write_all(blueprint).await;
        drop(stdin);
        if let Some(event) = self.next().await {
            let _ = tell.send(event);
            self.watch.tell(self.attempt);
        }
        self
    }

    /// Until it is gone.
    async fn see_off(mut self) {
        while self.next().await.is_some() {
            self.watch.tell(self.attempt);
        }
        let _ = self.child.wait().await;
        self.watch.release(self.attempt);
    }

    async fn next(&mut self) -> Option<Event> {
        serde_json::from_str(&self.events.next_line().await.ok()??).ok()
    }
}

async fn read_labels(dir: &RunDir) -> Result<Option<Labels>, EngineError> {
    let dir = dir.clone();
    blocking("read the labels", move || dir.labels()).await
}

/// The workload, unless its command or its configuration is at fault.
fn settled(failure: Option<Failure>, handle: Handle) -> Result<Option<Handle>, EngineError> {
    let (kind, detail) = match failure {
        None => return Ok(Some(handle)),
        Some(Failure::CommandNotFound(detail)) => (EngineErrorKind::CommandNotFound, detail),
        Some(Failure::Rejected(detail)) => (EngineErrorKind::Rejected, detail),
        // The workload has an end, which says so to whoever observes it.
        Some(Failure::Interrupted(_) | Failure::NeverStarted(_)) => return Ok(Some(handle)),
    };
    Err(EngineError::new(kind, Persistence::Permanent, "start the command", detail))
}

/// From a launch and its image to what the shim is told. Pure.
fn render(spec: &LaunchSpec, image: &Image, default_pids: Option<u32>) -> Blueprint {
    let LaunchSpec {
        owner: _,
        attempt: _,
        job: _,
        project: _,
        image: _,
        pull: _,
        credentials: _,
        command,
        args,
        env: _,
        files,
        resources: Resources { cpu, memory_mb, pids },
        kill_grace,
        deadline,
    } = spec;
    let millis = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let file = |file: &crate::engines::LaunchFile| PlacedFile {
        path: file.path.clone(),
        content: BASE64_STANDARD.encode(file.content.expose_secret()),
        mode: file.mode,
        secret: file.secret,
    };
    Blueprint {
        name: spec.name().to_string(),
        layers_dir: std::path::PathBuf::new(),
        layers: image.layers.iter().map(|layer| format!("{}/{FILES}", layer.dir_name())).collect(),
        image_lease: std::path::PathBuf::new(),
        rootless: None,
        delegated: None,
        args: image.config.command(command.as_deref(), args),
        env: image.config.env.iter().cloned().chain(spec.exposed_env()).collect(),
        user: image.config.user.clone(),
        workdir: image.config.workdir.clone(),
        files: files.iter().map(file).collect(),
        limits: Limits {
            cpu: *cpu,
            memory_bytes: memory_mb.map(|mb| i64::from(mb) * 1024 * 1024),
            pids: pids.or(default_pids),
        },
        output_bytes: 0,
        deadline_ms: millis(deadline),
        grace_ms: millis(kill_grace),
    }
}
