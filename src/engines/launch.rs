//! What an engine is asked to launch.

use std::{fmt, time::Duration};

use ring::digest;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::domain::{AttemptId, InstallationId, Resources, WaitReason, WorkloadName};

/// The labels that every workload of ours carries, on every engine.
pub mod label {
    /// The installation that owns the workload.
    pub const OWNER: &str = "haulier.owner";
    /// The run's id.
    pub const RUN: &str = "haulier.run";
    /// The attempt's number.
    pub const ATTEMPT: &str = "haulier.attempt";
    /// [`LaunchSpec::hash`](super::LaunchSpec::hash) in hexadecimal.
    pub const SPEC: &str = "haulier.spec";
    /// The job's name, for people.
    pub const JOB: &str = "haulier.job";
    /// The project's name, for people.
    pub const PROJECT: &str = "haulier.project";
}

/// Everything an engine needs to know to launch one attempt.
#[derive(Debug)]
pub struct LaunchSpec {
    /// Whose workload this is.
    pub owner: InstallationId,
    /// Which attempt.
    pub attempt: AttemptId,
    /// The job's name, for a label.
    pub job: String,
    /// The project's name, for a label.
    pub project: String,
    /// Image reference as the user wrote it.
    pub image: String,
    /// When to ask the registry.
    pub pull: PullPolicy,
    /// Login for the image's registry.
    pub credentials: Option<Credentials>,
    /// Replaces the image's entry point; `None` keeps it.
    pub command: Option<Vec<String>>,
    /// Arguments to the entry point; empty keeps the image's own, if it has any.
    pub args: Vec<String>,
    /// The whole environment given to the container, on top of the image's own.
    pub env: Vec<LaunchVariable>,
    /// Files to place before the start.
    pub files: Vec<LaunchFile>,
    /// Limits.
    pub resources: Resources,
    /// Time between TERM and KILL, for engines that keep it with the workload.
    pub kill_grace: Duration,
    /// After this time the engine may end the workload by itself, where it can. A backstop: the service's own timers
    /// come first.
    pub deadline: Duration,
}

impl LaunchSpec {
    /// The deterministic name on the engine.
    #[must_use]
    pub fn name(&self) -> WorkloadName {
        self.attempt.workload_name()
    }

    /// The labels of [`label`], in a stable order.
    #[must_use]
    pub fn labels(&self) -> Vec<(&'static str, String)> {
        vec![
            (label::OWNER, self.owner.to_string()),
            (label::RUN, self.attempt.run.to_string()),
            (label::ATTEMPT, self.attempt.number.to_string()),
            (label::SPEC, self.hash()),
            (label::JOB, self.job.clone()),
            (label::PROJECT, self.project.clone()),
        ]
    }

    /// SHA-256 over all that decides what runs, without the values of secrets: first 16 bytes in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut add = |part: &str| {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        };
        add(&self.attempt.to_string());
        add(&self.image);
        self.command.iter().flatten().for_each(|part| add(part));
        add("args");
        self.args.iter().for_each(|part| add(part));
        add("env");
        self.env.iter().for_each(|variable| add(&variable.name));
        add("files");
        self.files.iter().for_each(|file| add(&file.path));
        let digest = context.finish();
        digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The environment as `NAME=value`, exposed for the engine's request.
    #[must_use]
    pub fn exposed_env(&self) -> Vec<String> {
        let exposed = |variable: &LaunchVariable| format!("{}={}", variable.name, variable.value.expose_secret());
        self.env.iter().map(exposed).collect()
    }
}

#[cfg(test)]
impl LaunchSpec {
    /// A launch that asks for something of almost everything: what each engine makes of it, its own tests say.
    pub(super) fn example() -> Self {
        let file = |path: &str, secret| LaunchFile {
            path: path.to_owned(),
            content: b"file-content".to_vec().into(),
            mode: 0o400,
            secret,
        };
        Self {
            owner: InstallationId(uuid::Uuid::from_u128(1)),
            attempt: AttemptId { run: crate::domain::RunId(uuid::Uuid::from_u128(2)), number: 3 },
            job: "load-orders".to_owned(),
            project: "default".to_owned(),
            image: "registry.example.com/load:1".to_owned(),
            pull: PullPolicy::IfMissing,
            credentials: None,
            command: Some(vec!["python".to_owned()]),
            args: vec!["-m".to_owned(), "load".to_owned()],
            env: vec![LaunchVariable::plain("A", "${b}")],
            files: vec![file("/run/secrets/token", true), file("/etc/app.json", false)],
            resources: Resources { cpu: Some(0.5), memory_mb: Some(256), pids: None },
            kill_grace: Duration::from_secs(10),
            deadline: Duration::from_secs(60),
        }
    }

    /// The same with a login for the image's registry.
    pub(super) fn example_with_login(password: &str) -> Self {
        let credentials = Credentials {
            server: "registry.example.com".to_owned(),
            username: "robot".to_owned(),
            password: password.to_owned().into(),
        };
        Self { credentials: Some(credentials), ..Self::example() }
    }
}

/// When to ask the registry for the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Only when the engine does not have it.
    IfMissing,
    /// Before every launch.
    Always,
}

/// A variable of the container's environment.
#[derive(Debug, Clone)]
pub struct LaunchVariable {
    /// Letters, digits and `_`, no digit first.
    pub name: String,
    /// Any text without NUL.
    pub value: SecretString,
    /// Whether it must stay invisible to whoever may inspect the workload, where the engine
    /// [can see to that](super::Capabilities::secret_env).
    pub secret: bool,
}

impl LaunchVariable {
    /// One that whoever may inspect the workload may see.
    #[must_use]
    pub fn plain(name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        Self { name: name.into(), value: value.into(), secret: false }
    }

    /// One that nobody is to see who does not have to.
    #[must_use]
    pub fn secret(name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        Self { name: name.into(), value: value.into(), secret: true }
    }
}

/// A file that is placed in the container before its start.
pub struct LaunchFile {
    /// Absolute path without `..`.
    pub path: String,
    /// The bytes.
    pub content: SecretSlice<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Whether it must stay invisible to whoever may inspect the workload. Always below `/run/secrets/`.
    pub secret: bool,
}

impl fmt::Debug for LaunchFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchFile")
            .field("path", &self.path)
            .field("bytes", &self.content.expose_secret().len())
            .field("mode", &self.mode)
            .field("secret", &self.secret)
            .finish()
    }
}

/// A login at a registry.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Host, with port if any, as it stands in image references: `registry.example.com:5000`.
    pub server: String,
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: SecretString,
}

/// A workload that was launched, as the engine knows it. Stored with the attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// The attempt.
    pub attempt: AttemptId,
    /// What the engine calls the workload (a container id, …).
    pub id: String,
}

/// Where an engine tells what a launch is waiting for, while [`Engine::ensure`](super::Engine::ensure) runs.
#[derive(Debug, Clone)]
pub struct LaunchProgress(watch::Sender<Option<(WaitReason, String)>>);

impl LaunchProgress {
    /// A teller and its listener.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Option<(WaitReason, String)>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), receiver)
    }

    /// The launch now waits for this.
    pub fn waits_for(&self, reason: WaitReason, detail: impl Into<String>) {
        self.0.send_replace(Some((reason, detail.into())));
    }
}
