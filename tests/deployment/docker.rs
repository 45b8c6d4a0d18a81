//! A Docker daemon, by its command line, and an image of Haulier on it.

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use haulier::domain::RunId;
use ipnet::Ipv4Net;
use tempfile::TempDir;

/// A Docker daemon.
#[derive(Debug, Clone)]
pub struct Docker {
    host: String,
}

impl Docker {
    pub fn at(host: &str) -> Self {
        Self { host: host.to_owned() }
    }

    /// Its socket in the file system.
    pub fn socket(&self) -> &str {
        self.host.strip_prefix("unix://").expect("the daemons of the tests have sockets")
    }

    /// A program that speaks to it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DOCKER_HOST", &self.host);
        command
    }

    /// What a command that must succeed prints.
    pub fn run(&self, args: &[&str]) -> String {
        output(self.command("docker").args(args))
    }

    /// Where a network's containers find this machine: at the first address, unless somebody chose another.
    pub fn gateway(&self, network: &str) -> Ipv4Addr {
        let subnet = self.run(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", network]);
        subnet.parse::<Ipv4Net>().unwrap().hosts().next().unwrap()
    }

    /// The same, for cleaning up, which must not panic.
    pub fn try_run(&self, args: &[&str]) -> Option<Vec<u8>> {
        let output = self.command("docker").args(args).output().ok()?;
        output.status.success().then_some(output.stdout)
    }
}

/// What a command that must succeed prints.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}{wrong}");
    said.trim().to_owned()
}

/// An image of this Haulier by its own recipe, on a base that can be had here. Removed when it is dropped.
pub struct Image {
    docker: Docker,
    pub name: String,
}

impl Image {
    pub fn build(docker: &Docker, base: &str) -> Self {
        let dir = TempDir::new().unwrap();
        fs::copy(env!("CARGO_BIN_EXE_haulier"), dir.path().join("haulier")).unwrap();
        let recipe = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/Dockerfile")).unwrap();
        let recipe = replaced(&recipe, "debian:bookworm-slim", base);
        // The authorities are in the base, which has no package manager.
        let begin = recipe.find("apt-get update").expect("the recipe installs packages");
        let end = recipe.find("install --directory").expect("the recipe makes the data directory");
        fs::write(dir.path().join("Dockerfile"), format!("{}{}", &recipe[..begin], &recipe[end..])).unwrap();
        let name = format!("haulier-test/haulier:{}", RunId::generate());
        docker.run(&["build", "--quiet", "--network", "none", "--tag", &name, dir.path().to_str().unwrap()]);
        Self { docker: docker.clone(), name }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.docker.try_run(&["image", "rm", "--force", &self.name]);
    }
}

/// The text with something else, which must be in it.
pub fn replaced(text: &str, what: &str, with: &str) -> String {
    assert!(text.contains(what), "there is no {what} any more: change the test with it");
    text.replace(what, with)
}
