//! Building images with what is installed: Docker, Podman or Buildah, which take the same words.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tokio::process::Command;

use super::{exit::Usage, output::Output, programs, text::pair, workspace::Workspace};
use crate::{domain::JobSpec, registry::is_loopback};

/// What builds images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Builder {
    /// Docker
    Docker,
    /// Podman
    Podman,
    /// Buildah
    Buildah,
    /// Nothing: plain images are put together without running anything in them
    None,
}

/// How images are built.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Building")]
pub(super) struct BuildArgs {
    /// What builds the image; by default the first of docker, podman and buildah that answers, else none
    #[arg(long, value_enum)]
    pub(super) builder: Option<Builder>,

    /// A value for an ARG of the Dockerfile; may be repeated
    #[arg(long = "build-arg", value_name = "KEY=VALUE", value_parser = pair)]
    pub(super) args: Vec<(String, String)>,

    /// A file that the build may read with `RUN --mount=type=secret,id=ID`; may be repeated
    #[arg(long = "build-secret", value_name = "ID=FILE", value_parser = pair)]
    pub(super) secrets: Vec<(String, String)>,

    /// The machines that the image is for, like linux/amd64; by default such as this one
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,

    /// The containers' network, like host; by default the builder's own
    #[arg(long, value_name = "NAME")]
    pub(super) network: Option<String>,
}

/// A builder that answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool(&'static str);

impl BuildArgs {
    /// The builder to use; `None` when images are to be put together without one.
    ///
    /// # Errors
    /// The one that was asked for does not answer.
    pub(super) async fn tool(&self) -> anyhow::Result<Option<Tool>> {
        let wanted = match self.builder {
            Some(Builder::None) => return Ok(None),
            Some(Builder::Docker) => "docker",
            Some(Builder::Podman) => "podman",
            Some(Builder::Buildah) => "buildah",
            None => {
                for tool in ["docker", "podman", "buildah"] {
                    if answers(tool).await.is_ok() {
                        return Ok(Some(Tool(tool)));
                    }
                }
                return Ok(None);
            }
        };
        match answers(wanted).await {
            Ok(()) => Ok(Some(Tool(wanted))),
            Err(error) => Err(anyhow::anyhow!(
                "{error:#}: install or start {wanted}, choose another with --builder, or --builder none for a plain image"
            )),
        }
    }
}

/// Whether the program is there, and its daemon if it has one.
async fn answers(tool: &str) -> anyhow::Result<()> {
    programs::ask(Command::new(tool).arg("version")).await.map(drop)
}

impl Tool {
    /// What it is called.
    pub(super) const fn name(self) -> &'static str {
        self.0
    }

    /// Docker takes loopback registries as they are; the others must be told that they have no TLS.
    fn plain_http<'a>(self, command: &'a mut Command, server: Option<&str>) -> &'a mut Command {
        if self.0 != "docker" && server.is_some_and(is_loopback) {
            command.arg("--tls-verify=false");
        }
        command
    }

    /// Builds the folder's image.
    ///
    /// # Errors
    /// It fails; it has said why.
    pub(super) async fn build(self, dir: &Path, tag: &str, args: &BuildArgs, base: Option<&str>) -> anyhow::Result<()> {
        let mut command = Command::new(self.0);
        command.arg("build").arg("--file").arg(dir.join("Dockerfile")).arg("--tag").arg(tag);
        self.plain_http(&mut command, base.and_then(|base| base.split_once('/')).map(|(server, _)| server));
        for (key, value) in &args.args {
            command.arg("--build-arg").arg(format!("{key}={value}"));
        }
        for (id, file) in &args.secrets {
            // Docker's older builder knows no secrets.
            command.env("DOCKER_BUILDKIT", "1").arg("--secret").arg(format!("id={id},src={file}"));
        }
        for (option, value) in [("--network", &args.network), ("--platform", &args.platform)] {
            if let Some(value) = value {
                command.arg(option).arg(value);
            }
        }
        programs::run(command.arg(dir), "see what it says above, and correct the Dockerfile").await
    }

    /// How many bytes an image takes unpacked; `None` where the builder does not say.
    pub(super) async fn size(self, image: &str) -> Option<u64> {
        let mut command = Command::new(self.0);
        programs::ask(command.args(["image", "inspect", "--format", "{{.Size}}", image])).await.ok()?.parse().ok()
    }

    /// Sends an image to its registry.
    ///
    /// # Errors
    /// It fails; it has said why.
    pub(super) async fn push(self, image: &str, server: &str, login: Option<&Path>) -> anyhow::Result<()> {
        let mut command = Command::new(self.0);
        self.plain_http(command.arg("push"), Some(server));
        if let Some(dir) = login {
            command.env("DOCKER_CONFIG", dir).env("REGISTRY_AUTH_FILE", dir.join("config.json"));
        }
        let hint = format!("see what it says above; `{} login {server}` logs in at the registry", self.0);
        programs::run(command.arg(image), &hint).await
    }
}

/// An image on this machine, and what runs it.
#[derive(Debug)]
pub(super) struct Runnable {
    tool: Tool,
    image: String,
    network: Option<String>,
}

/// Builds the project's image for this machine alone.
///
/// # Errors
/// There is nothing to build and run it with, or it fails.
pub(super) async fn build_for_dev(workspace: &Workspace, args: &BuildArgs, out: Output) -> anyhow::Result<Runnable> {
    let tool = args.tool().await?.filter(|tool| tool.0 != "buildah").ok_or_else(|| {
        Usage("--container needs docker or podman on this machine: install one, or leave --container out".to_owned())
    })?;
    let image = format!("haulier-dev/{}:latest", workspace.spec.name);
    out.note(format_args!("building {image} with {}", tool.0));
    let base = super::deploy::base_image(&workspace.dir, &args.args);
    tool.build(&workspace.dir, &image, args, base.as_deref()).await?;
    // Podman calls images of no registry so.
    let image = if tool.0 == "podman" { format!("localhost/{image}") } else { image };
    Ok(Runnable { tool, image, network: args.network.clone() })
}

impl Runnable {
    /// The beginning of a command that runs a container of the image.
    pub(super) fn command(&self, name: &str, spec: &JobSpec) -> Command {
        let mut command = Command::new(self.tool.0);
        command.args(["run", "--rm", "--init", "--name", name]);
        if let Some(network) = &self.network {
            command.arg("--network").arg(network);
        }
        if let Some(cpu) = spec.resources.cpu {
            command.arg("--cpus").arg(cpu.to_string());
        }
        if let Some(memory) = spec.resources.memory_mb {
            command.arg("--memory").arg(format!("{memory}m"));
        }
        command
    }

    /// Its end: the image, what is executed.
    pub(super) fn finish(&self, command: &mut Command, spec: &JobSpec) {
        let words = spec.command.as_deref().unwrap_or_default();
        if let Some(program) = words.first() {
            command.arg("--entrypoint").arg(program);
        }
        command.arg(&self.image).args(words.iter().skip(1)).args(&spec.args);
    }

    /// A command that removes a container, whatever it is doing.
    pub(super) fn remove(&self, name: &str) -> Command {
        let mut command = Command::new(self.tool.0);
        command.args(["rm", "--force", name]);
        command
    }
}

/// A folder with a login for one registry, as all builders read it. Gone when this is dropped.
#[derive(Debug)]
pub(super) struct LoginDir(tempfile::TempDir);

impl LoginDir {
    /// Writes the login down, for this user's eyes only.
    ///
    /// # Errors
    /// The disk is full.
    pub(super) fn new(server: &str, username: &str, password: &str) -> std::io::Result<Self> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        use std::{io::Write, os::unix::fs::OpenOptionsExt};
        let dir = tempfile::tempdir()?;
        let auth = STANDARD.encode(format!("{username}:{password}"));
        let text = serde_json::json!({"auths": {server: {"auth": auth}}}).to_string();
        let path: PathBuf = dir.path().join("config.json");
        std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}
