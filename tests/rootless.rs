//! A service that an ordinary user runs, with the embedded engine: from its start to the answer of a run.

#![cfg(target_os = "linux")]

use std::{
    fs,
    path::PathBuf,
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

/// How `haulier doctor` tells that every limit can be kept.
const LIMITS: &str = "limits memory, cpu, pids";
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

    /// What `haulier doctor` says, once the engine was asked how it is.
    fn doctor(&self) -> String {
        self.eventually("the engine was asked how it is", |it| {
            !text(&it.haulier(&["doctor"]).stdout).contains("was not asked yet")
        });
        let doctor = self.haulier(&["doctor"]);
        assert_eq!(doctor.status.code(), Some(0));
        text(&doctor.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn state(&self, run: &str) -> String {
        self.json(&["show", run])["state"].as_str().unwrap_or_default().to_owned()
    }

    fn log(&self, run: &str) -> String {
        text(&self.haulier(&["logs", run]).stdout)
    }
}

fn serve(user: &OrdinaryUser, dir: &TempDir) -> Served {
    // `systemd-run …`, which becomes what it is told to run.
    let within = std::env::var("HAULIER_TEST_SERVE_WITHIN").unwrap_or_default();
    let mut words = within.split_whitespace().chain([env!("CARGO_BIN_EXE_haulier")]);
    let mut command = user.command(words.next().unwrap_or_default());
    command.args(words);
    Served::start(command, dir.path(), "")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn runs_images() {
    let Some(service) = Serve::start("runs_images") else { return };
    assert!(service.doctor().contains("rootless"));
    assert!(service.apply("works", "echo root of $(id -u); exit 7", "").status.success());
    let run = service.haulier(&["run", "works", "--follow"]);
    assert_eq!(run.status.code(), Some(7), "{}", text(&run.stderr));
    assert_eq!(text(&run.stdout), "root of 0\n");

    // What the service has pulled, its user finds with no service needed, and can take away.
    let image = std::env::var("HAULIER_TEST_IMAGE").unwrap();
    assert!(text(&service.haulier(&["image", "list"]).stdout).contains(&image));
    let removed = service.haulier(&["image", "remove", &image]);
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    assert!(!text(&service.haulier(&["image", "list"]).stdout).contains(&image));
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let case = "limits_that_cannot_be_kept_are_refused";
    let Some(service) = Serve::start(case) else { return };
    let doctor = service.doctor();
    if doctor.contains(LIMITS) {
        return skipped(case, "the service's control group is delegated: all limits can be kept");
    }
    assert!(doctor.contains("no limits") && doctor.contains("memory, cpu, pids are refused"), "{doctor}");
    for (limit, told) in
        [("memory_mb: 64", "limit memory"), ("cpu: 0.5", "limit processors"), ("pids: 9", "limit processes")]
    {
        let refused = service.apply("limited", "true", &format!("resources: {{{limit}}}\n"));
        assert!(!refused.status.success());
        assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
    }
}

#[test]
fn limits_are_kept_where_control_groups_are_delegated() {
    let case = "limits_are_kept_where_control_groups_are_delegated";
    let Some(mut service) = Serve::start(case) else { return };
    if !service.doctor().contains(LIMITS) {
        return skipped(case, "no control group is delegated to the service: see tests/support/emulated");
    }
    let script = "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max
        trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    assert!(service.apply("limited", script, "resources: {memory_mb: 64, cpu: 0.5, pids: 77}\n").status.success());
    let run = service.trigger("limited");
    service.eventually("it runs", |it| it.log(&run).contains("ready"));
    assert_eq!(service.log(&run), "67108864\n50000 100000\n77\nready\n");
    let container = service.dir.path().join("embedded/runs").read_dir().unwrap().flatten().next().unwrap();
    let group = PathBuf::from(fs::read_to_string(container.path().join("group")).unwrap());
    assert!(group.join("memory.max").exists(), "{}", group.display());

    // The next service has a group of its own.
    service.restart();
    service.eventually("it is taken on again", |it| it.state(&run) == "running");
    assert!(service.haulier(&["cancel", &run]).status.success());
    service.eventually("it ends", |it| it.state(&run) == "cancelled");
    service.eventually("nothing is left", |_| !container.path().exists() && !group.exists());

    let greedy = "x=0123456789abcdef; while :; do x=$x$x; done";
    assert!(service.apply("greedy", greedy, "resources: {memory_mb: 16}\n").status.success());
    let run = service.trigger("greedy");
    service.eventually("it ends", |it| it.state(&run) == "failed");
    assert_eq!(service.json(&["show", &run])["error"]["code"], "out_of_memory");
}

/// Killed with everything that it started, a service leaves groups to the next one.
#[test]
fn groups_of_what_was_killed_are_removed_by_the_next_service() {
    let case = "groups_of_what_was_killed_are_removed_by_the_next_service";
    let Some(mut service) = Serve::start(case) else { return };
    if !service.doctor().contains(LIMITS) {
        return skipped(case, "no control group is delegated to the service: see tests/support/emulated");
    }
    assert!(service.apply("waits", "echo ready; sleep 3600", "").status.success());
    let run = service.trigger("waits");
    service.eventually("it runs", |it| it.log(&run).contains("ready"));
    let container = service.dir.path().join("embedded/runs").read_dir().unwrap().flatten().next().unwrap();
    let group = PathBuf::from(fs::read_to_string(container.path().join("group")).unwrap());
    service.served.kill();
    let name = container.file_name();
    let shims = Command::new("pkill").args(["-9", "-f"]).arg(format!("embedded-shim.*{}", name.display())).status();
    assert!(shims.unwrap().success());
    assert!(group.exists(), "nobody has removed it yet");
    service.restart();
    // That was not the script's doing: it is tried again.
    service.eventually("it is found lost", |it| it.json(&["show", &run])["attempt"] == 2);
    service.eventually("nothing is left", |_| !container.path().exists() && !group.exists());
    assert!(service.haulier(&["cancel", &run]).status.success());
    service.eventually("it ends", |it| it.state(&run) == "cancelled");
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
