//! A service that an ordinary user runs, with the embedded engine: from its start to the answer of a run.

#![cfg(target_os = "linux")]

use std::{
    fs,
    process::{Command, Output},
    time::{Duration, Instant},
};

use haulier::engines::contract::skipped;
use ordinary_user::OrdinaryUser;
use serde_json::Value;
use served::{Served, TOKEN};
use tempfile::TempDir;

#[path = "ordinary_user/mod.rs"]
mod ordinary_user;
#[path = "served/mod.rs"]
mod served;

const PATIENCE: Duration = Duration::from_secs(120);

/// The service, its user and its directory.
struct Serve {
    user: OrdinaryUser,
    dir: TempDir,
    served: Served,
}

impl Serve {
    /// `None`, told visibly, where nobody can run it.
    fn start(case: &str) -> Option<Self> {
        let image = std::env::var("HAULIER_TEST_IMAGE").map_err(|_| "HAULIER_TEST_IMAGE is not set".to_owned());
        match image.and_then(|_| OrdinaryUser::of_the_tests()) {
            Err(why) => {
                skipped(case, &why);
                None
            }
            Ok(user) => {
                let dir = user.directory();
                fs::write(dir.path().join("haulier.toml"), "[engines.here]\nkind = \"embedded\"\n").unwrap();
                let served = serve(&user, &dir);
                Some(Self { user, dir, served })
            }
        }
    }

    fn restart(&mut self) {
        self.served.kill();
        self.served = serve(&self.user, &self.dir);
    }

    /// The command line, by the same user.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.user.command(env!("CARGO_BIN_EXE_haulier"));
        command.args(args).env("HAULIER_URL", &self.served.url).env("HAULIER_TOKEN", TOKEN);
        command.env("HAULIER_CONFIG", self.dir.path().join("haulier.toml")).env("HAULIER_DATA_DIR", self.dir.path());
        command
    }

    fn haulier(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What it prints for machines.
    fn json(&self, args: &[&str]) -> Value {
        let done = self.command(args).args(["--output", "json"]).output().unwrap();
        serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", text(&done.stderr)))
    }

    /// Applies a job that runs this script in the test image.
    fn apply(&self, name: &str, script: &str, more: &str) -> Output {
        let file = self.dir.path().join(format!("{name}.yaml"));
        let image = std::env::var("HAULIER_TEST_IMAGE").unwrap();
        let script = serde_json::to_string(script).unwrap();
        fs::write(&file, format!("name: {name}\nimage: {image}\ncommand: [sh, -c, {script}]\n{more}")).unwrap();
        self.haulier(&["job", "apply", "-f", file.to_str().unwrap()])
    }

    /// Starts a run; its id.
    fn trigger(&self, job: &str) -> String {
        self.json(&["run", job])["id"].as_str().expect("an id").to_owned()
    }

    fn eventually(&self, what: &str, mut look: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !look(self) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn state(&self, run: &str) -> String {
        self.json(&["show", run])["state"].as_str().unwrap_or_default().to_owned()
    }

    fn log(&self, run: &str) -> String {
        text(&self.haulier(&["logs", run]).stdout)
    }
}

fn serve(user: &OrdinaryUser, dir: &TempDir) -> Served {
    Served::start(user.command(env!("CARGO_BIN_EXE_haulier")), dir.path(), "")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn runs_images_and_refuses_limits() {
    let Some(service) = Serve::start("runs_images_and_refuses_limits") else { return };
    service.eventually("the engine was asked how it is", |it| {
        !text(&it.haulier(&["doctor"]).stdout).contains("was not asked yet")
    });
    let doctor = service.haulier(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(0));
    let words = text(&doctor.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("rootless") && words.contains("without root no limits can be kept"), "{words}");

    assert!(service.apply("works", "echo root of $(id -u); exit 7", "").status.success());
    let run = service.haulier(&["run", "works", "--follow"]);
    assert_eq!(run.status.code(), Some(7), "{}", text(&run.stderr));
    assert_eq!(text(&run.stdout), "root of 0\n");

    for (limit, told) in
        [("memory_mb: 64", "limit memory"), ("cpu: 0.5", "limit processors"), ("pids: 9", "limit processes")]
    {
        let refused = service.apply("limited", "true", &format!("resources: {{{limit}}}\n"));
        assert!(!refused.status.success());
        assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
    }

    // What the service has pulled, its user finds with no service needed, and can take away.
    let image = std::env::var("HAULIER_TEST_IMAGE").unwrap();
    assert!(text(&service.haulier(&["image", "list"]).stdout).contains(&image));
    let removed = service.haulier(&["image", "remove", &image]);
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    assert!(!text(&service.haulier(&["image", "list"]).stdout).contains(&image));
}

#[test]
fn containers_outlive_the_service_and_can_be_cancelled() {
    let Some(mut service) = Serve::start("containers_outlive_the_service_and_can_be_cancelled") else { return };
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    assert!(service.apply("waits", script, "").status.success());
    let run = service.trigger("waits");
    service.eventually("it runs", |it| it.log(&run).contains("ready"));
    let container = std::fs::read_dir(service.dir.path().join("embedded/runs")).unwrap().flatten().next().unwrap();

    service.restart();
    service.eventually("it is taken on again", |it| it.state(&run) == "running");
    assert!(service.haulier(&["cancel", &run]).status.success());
    service.eventually("it ends", |it| it.state(&run) == "cancelled");
    assert_eq!(service.log(&run), "ready\nbye\n", "in one container, once");
    assert_eq!(service.json(&["show", &run])["attempt"], 1);
    service.eventually("nothing is left", |_| !container.path().exists());
}

/// As under a unit with `NoNewPrivileges`: there are ids to be had, and no way to get them.
#[test]
fn what_is_missing_is_told_and_what_to_do() {
    let Some(service) = Serve::start("what_is_missing_is_told_and_what_to_do") else { return };
    let mut command = service.user.command("setpriv");
    command.args(["--no-new-privs", env!("CARGO_BIN_EXE_haulier"), "image", "list"]);
    command.env("HAULIER_CONFIG", service.dir.path().join("haulier.toml"));
    let done = command.env("HAULIER_DATA_DIR", service.dir.path()).output().unwrap();
    assert!(!done.status.success());
    let told = text(&done.stderr);
    assert!(told.contains("newuidmap") && told.contains("NoNewPrivileges"), "{told}");
}
