//! What a script gets besides its own files: variables, secrets, files.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::process::Command;

use super::folder::RunFolder;
use crate::{
    cli::{exit::Usage, local_secrets, output::Output, workspace::Workspace},
    domain::{Given, GivenAs, JobSpec, RunId, SecretDelivery},
    logs::Redactor,
};

/// Made once, used for every slice.
pub(super) struct Injection {
    secrets: BTreeMap<String, SecretString>,
    /// Secrets and files as files; removed with this.
    files: RunFolder,
    /// The nonce of report lines.
    pub(super) nonce: String,
    /// Masks secrets in what is printed.
    pub(super) redactor: Redactor,
}

/// What Haulier itself gives.
#[derive(Default)]
pub(super) struct Told {
    pub(super) variables: Vec<(String, String)>,
    /// Documents that no variable can hold: where they are here, and where in a container.
    files: Vec<(PathBuf, String)>,
}

impl Injection {
    /// Finds the job's secrets, and writes its files.
    ///
    /// # Errors
    /// Values are missing: all of them are named.
    pub(super) fn new(workspace: &Workspace, out: Output) -> anyhow::Result<Self> {
        let path = local_secrets::path(workspace);
        let known = local_secrets::read(workspace)?;
        let mut secrets = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, secret) in &workspace.spec.secrets {
            let value = secret.value.clone().map(SecretString::from);
            let value = value.or_else(|| known.get(name).cloned());
            match value.or_else(|| env::var(name).ok().map(SecretString::from)) {
                Some(value) => {
                    secrets.insert(name.clone(), value);
                }
                None => missing.push(name.as_str()),
            }
        }
        if !missing.is_empty() {
            let lines: String = missing.iter().map(|name| format!("\n  {name}=…")).collect();
            let told = format!("secrets have no value here: add them to {}, which git ignores:{lines}", path.display());
            return Err(Usage(told).into());
        }
        let redactor = Redactor::new(secrets.values());
        let local = workspace.local();
        let files = RunFolder::in_folder(&local);
        let files = files.with_context(|| format!("{} cannot be written to", local.display()))?;
        let injection = Self { secrets, files, nonce: format!("{:024x}", rand::random::<u128>() >> 32), redactor };
        injection.write_files(workspace, out)?;
        Ok(injection)
    }

    fn write_files(&self, workspace: &Workspace, out: Output) -> anyhow::Result<()> {
        let spec = &workspace.spec;
        for (name, _) in spec.secrets.iter().filter(|(_, secret)| secret.delivery == SecretDelivery::File) {
            write(&self.secret_file(name), self.secrets[name].expose_secret().as_bytes(), 0o400)?;
        }
        for (path, file) in &spec.files {
            let here = self.file(path);
            write(&here, file.content.as_bytes(), file.mode_bits().unwrap_or(0o644))?;
            out.note(format_args!("{path} of the container is {} here", here.display()));
        }
        Ok(())
    }

    fn secret_file(&self, name: &str) -> PathBuf {
        self.files.path().join("secrets").join(name)
    }

    fn file(&self, path: &str) -> PathBuf {
        self.files.path().join("files").join(path.trim_start_matches('/'))
    }

    /// What Haulier itself gives for one slice.
    pub(super) fn told(
        &self,
        workspace: &Workspace,
        run: RunId,
        slice: u32,
        (parameters, state): (&Map<String, Value>, &Map<String, Value>),
        in_container: bool,
    ) -> anyhow::Result<Told> {
        let (parameters, state) = (serde_json::to_string(parameters)?, serde_json::to_string(state)?);
        let spec = &workspace.spec;
        let given = Given {
            run,
            job: &spec.name,
            attempt: 1,
            slice,
            parameters: &parameters,
            state: Some(&state),
            nonce: &self.nonce,
            scheduled_time: None,
            traceparent: None,
            config: spec.config.as_ref(),
        };
        let mut told = Told::default();
        for (name, given) in given.all() {
            let value = match given {
                GivenAs::Variable(value) => value,
                GivenAs::File { path, content } => {
                    let here = self.files.path().join(format!("slice-{slice}")).join(&name);
                    write(&here, content.as_bytes(), 0o444)?;
                    let shown = if in_container { path.clone() } else { here.canonicalize()?.display().to_string() };
                    told.files.push((here, path));
                    shown
                }
            };
            told.variables.push((name, value));
        }
        Ok(told)
    }

    /// For a process of this machine. A secret that is a file there is named by the variable `NAME_FILE` here.
    pub(super) fn apply_here(&self, command: &mut Command, workspace: &Workspace) -> io::Result<()> {
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HAULIER_")) {
            command.env_remove(name);
        }
        command.envs(&workspace.spec.env);
        let dir = workspace.dir.canonicalize()?;
        let venv = dir.join(".venv");
        if venv.join("bin").is_dir() {
            let paths = env::var_os("PATH").unwrap_or_default();
            let paths = std::iter::once(venv.join("bin")).chain(env::split_paths(&paths));
            command.env("PATH", env::join_paths(paths).map_err(io::Error::other)?).env("VIRTUAL_ENV", &venv);
        }
        for (name, secret) in &workspace.spec.secrets {
            match secret.delivery {
                SecretDelivery::Env => command.env(name, self.secrets[name].expose_secret()),
                SecretDelivery::File => command.env(format!("{name}_FILE"), self.secret_file(name).canonicalize()?),
            };
        }
        Ok(())
    }

    /// For a container: values go through the environment of the program that starts it, never its command line.
    pub(super) fn apply_container(&self, command: &mut Command, spec: &JobSpec, told: &Told) -> io::Result<()> {
        for (name, _) in &told.variables {
            command.arg("--env").arg(name);
        }
        for (here, there) in &told.files {
            mount(command, here, there)?;
        }
        for (name, value) in &spec.env {
            command.env(name, value).arg("--env").arg(name);
        }
        for (name, secret) in &spec.secrets {
            match secret.delivery {
                SecretDelivery::Env => {
                    command.env(name, self.secrets[name].expose_secret()).arg("--env").arg(name);
                }
                SecretDelivery::File => mount(command, &self.secret_file(name), &format!("/run/secrets/{name}"))?,
            }
        }
        spec.files.keys().try_for_each(|path| mount(command, &self.file(path), path))
    }
}

fn mount(command: &mut Command, here: &Path, there: &str) -> io::Result<()> {
    let here = here.canonicalize()?;
    command.arg("--volume").arg(format!("{}:{there}:ro", here.display()));
    Ok(())
}

fn write(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::File::options().write(true).create_new(true).mode(mode).open(path)?.write_all(content));
    written.with_context(|| format!("{} cannot be written", path.display()))
}
