//! A scaffolded project of a test's own, and what it is built with.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use haulier::engines::contract::skipped;
use tempfile::TempDir;

use crate::service::{Cli, Ended, Running, Service};

/// What builds images or makes environments may take so long on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// What `tests/support/infra` has started; `None` leaves a visible skip.
pub fn infra(test: &str, variable: &str) -> Option<String> {
    let found = env::var(variable).ok().filter(|value| !value.is_empty());
    if found.is_none() {
        skipped(test, &format!("{variable} is not set: start tests with tests/support/test"));
    }
    found
}

/// A program of this machine; `None` leaves a visible skip.
pub fn program(test: &str, name: &str) -> Option<()> {
    let there = Command::new(name).arg("--version").output().is_ok();
    if !there {
        skipped(test, &format!("there is no {name}"));
    }
    there.then_some(())
}

/// What a Python project needs: Python itself, and the part of the `haulier` package that scripts use. `None` leaves a
/// visible skip.
pub fn python(test: &str) -> Option<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/python/src/haulier/run.py");
    if !package.exists() {
        skipped(test, "the haulier package has no module for scripts");
        return None;
    }
    program(test, "python3")
}

/// A service with the Docker engine.
pub fn service() -> Service {
    let host = env::var("HAULIER_TEST_DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    Service::with(&format!("registries.allow = ['127.0.0.1']\n[engines.docker]\nkind = 'docker'\nhost = '{host}'\n"))
}

/// A project's folder, made by `haulier init`.
pub struct Project {
    dir: TempDir,
    name: String,
}

impl Project {
    /// A shell project on the test's own busybox.
    pub fn shell(image: &str) -> Self {
        Self::init("shell", image)
    }

    pub fn init(template: &str, base: &str) -> Self {
        let dir = TempDir::new().unwrap();
        // Of its own: others' images are in the same registry.
        let name = format!("{template}-{}", &uuid::Uuid::now_v7().simple().to_string()[20..]);
        let made = at(dir.path(), &Cli::offline(), &["init", &name, "--template", template, "--base-image", base], &[]);
        assert_eq!(made.code, 0, "{made:?}");
        let project = Self { dir, name };
        // Nor is any layer another's: Docker removes those of a removed image, also from beneath a build under way.
        project.edit("Dockerfile", "FROM ${BASE_IMAGE}", &format!("FROM ${{BASE_IMAGE}}\nLABEL test={}", project.name));
        project
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// Replaces a part of a file.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file} has no {from:?}:\n{text}");
        self.write(file, &text.replace(from, to));
    }

    /// Runs a command in the project's folder.
    pub fn run(&self, cli: &Cli, args: &[&str]) -> Ended {
        self.run_with(cli, args, &[])
    }

    /// The same with variables.
    pub fn run_with(&self, cli: &Cli, args: &[&str], env: &[(&str, &str)]) -> Ended {
        at(&self.path(), cli, args, env)
    }

    /// A command that goes on.
    pub fn start(&self, cli: &Cli, args: &[&str]) -> Running {
        Running::start(cli.command(args).current_dir(self.path()))
    }

    pub fn git(&self, args: &[&str]) -> String {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        let ran = Command::new("git").args(identity).args(args).current_dir(self.path()).output().unwrap();
        assert!(ran.status.success(), "{args:?}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    pub fn commit(&self) -> String {
        if !self.path().join(".git").exists() {
            self.git(&["init", "-q"]);
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "-qm", "x"]);
        self.git(&["rev-parse", "--short=12", "HEAD"])
    }
}

impl Drop for Project {
    /// Takes the images away that Docker has of it, by their names alone: others may have the same content.
    fn drop(&mut self) {
        let format = "{{.Repository}} {{.Tag}} {{.Digest}}";
        let mut list = Command::new("docker");
        list.args(["images", "--digests", "--format", format, "--filter", &format!("reference=*/{}", self.name)]);
        list.args(["--filter", &format!("reference=*/*/{}", self.name)]);
        let Ok(listed) = list.output() else { return };
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let [repository, tag, digest] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
            for name in [format!("{repository}:{tag}"), format!("{repository}@{digest}")] {
                if !name.ends_with("<none>") {
                    let _ = Command::new("docker").args(["rmi", &name]).output();
                }
            }
        }
    }
}

fn at(dir: &Path, cli: &Cli, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut command = cli.command(args);
    command.current_dir(dir).envs(env.iter().copied());
    Running::start(&mut command).end_within(PATIENCE)
}

/// Runs words in a container of an image, with a folder of this machine in it; what it prints.
pub fn in_container(image: &str, folder: &Path, at: &str, words: &[&str]) -> (bool, String) {
    let mount = format!("{}:{at}:ro", folder.display());
    let mut docker = Command::new("docker");
    docker.args(["run", "--rm", "--volume", &mount, "--entrypoint", words[0], image]).args(&words[1..]);
    let ran = docker.stdin(Stdio::null()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (ran.status.success(), said)
}
