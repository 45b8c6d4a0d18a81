//! `haulier demo`: what a stranger sees first, and that nothing of it is left.

use std::{fs, process::Stdio};

use haulier::{client::Client, engines::contract::skipped};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::service::{Cli, Running, eventually, haulier, signal};

/// A demo with a place of its own for temporary files.
struct Demo {
    running: Running,
    place: TempDir,
    details: Value,
    cli: Cli,
}

impl Demo {
    fn start(variables: &[(&str, &str)]) -> Self {
        let place = TempDir::new().unwrap();
        let mut command = haulier();
        command.args(["demo", "--output", "json"]).stdin(Stdio::null());
        command.env("TMPDIR", place.path()).envs(variables.iter().copied());
        // The settings of another service: it must not look at them.
        command.env("HAULIER_LISTEN", "nowhere").env("HAULIER_CONFIG", "/nowhere/haulier.toml");
        command.env("HAULIER_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
        let running = Running::start(&mut command);
        let details: Value = eventually(|| serde_json::from_str(&running.stdout()).ok());
        let cli = Cli::at(details["url"].as_str().unwrap(), details["token"].as_str().unwrap());
        Self { running, place, details, cli }
    }

    fn runs_of(&self, job: &str) -> Vec<Value> {
        self.cli.json(&["runs", "--job", job]).as_array().unwrap().clone()
    }

    /// Its runs as they should be soon after the start.
    fn shows_something(&self) {
        eventually(|| (self.runs_of("hello")[0]["state"] == "succeeded").then_some(()));
        eventually(|| (self.runs_of("export-invoices")[0]["state"] == "failed").then_some(()));
        assert_eq!(self.runs_of("export-invoices")[0]["exit_code"], 3);
        let syncs = eventually(|| Some(self.runs_of("sync-customers")).filter(|runs| runs[2]["state"] == "running"));
        let waits = self.cli.stdout(&["show", syncs[0]["id"].as_str().unwrap()]);
        assert!(waits.contains("max_parallel is full"), "{waits}");
        assert_eq!(self.cli.json(&["job", "show", "load-orders"])["spec"]["schedule"]["cron"], "* * * * *");
    }

    /// Ends it; nothing may be left.
    fn ends_with(self, name: &str) {
        signal(name, self.running.id());
        let ended = self.running.end();
        assert_eq!((ended.code, ended.stderr.as_str()), (0, "ending: runs are cancelled, and all of it is removed\n"));
        let left: Vec<_> = fs::read_dir(self.place.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn the_demo_runs_containers_and_leaves_nothing() {
    let demo = Demo::start(&[]);
    if demo.details["engine"] != "embedded" && !rustix::process::geteuid().is_root() {
        return skipped("the demo with containers", demo.details["simulated_because"].as_str().unwrap());
    }
    assert_eq!((&demo.details["engine"], &demo.details["simulated_because"]), (&json!("embedded"), &Value::Null));
    let client = Client::new(demo.details["url"].as_str().unwrap(), "none".into(), None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.probe("/sign-in")).unwrap();
    demo.shows_something();
    let run = demo.runs_of("load-orders")[0]["id"].as_str().unwrap().to_owned();
    let log = eventually(|| Some(demo.cli.stdout(&["logs", &run])).filter(|log| log.contains("page 1")));
    assert_eq!(log.lines().next(), Some("orders that are new since number 0"));
    assert!(processes_of(&run) > 0, "the container is seen from outside");
    // Ctrl-C.
    demo.ends_with("INT");
    assert_eq!(processes_of(&run), 0);
}

#[test]
fn the_demo_says_why_its_containers_are_simulated() {
    let demo = Demo::start(&[("PATH", "/nowhere")]);
    let why = if cfg!(target_os = "linux") { "this machine has no `sh` in its PATH" } else { "Linux" };
    assert_eq!(demo.details["engine"], "simulated");
    assert!(demo.details["simulated_because"].as_str().unwrap().contains(why), "{}", demo.details);
    demo.shows_something();
    // Its terminal was closed.
    demo.ends_with("HUP");
}

/// How many processes of this machine have a run's id in their environment.
fn processes_of(run: &str) -> usize {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("environ")).ok());
    processes
        .filter(|environment| String::from_utf8_lossy(environment).contains(&format!("HAULIER_RUN_ID={run}")))
        .count()
}
