//! Containers without a daemon: runs through the service beside `runc run` of the same files.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    service::Bench,
    table::{Table, median},
};

/// Runs of each kind, one after the other.
const ONE: usize = 60;
/// Runs at once.
const MANY: usize = 60;
/// How many containers at once raw runc is tried with.
const PARALLEL: [usize; 5] = [1, 2, 4, 6, 8];
/// How often `many` is measured.
const ROUNDS: usize = 5;

/// runc and something to run.
#[derive(Debug)]
struct RawRunc(TempDir);

impl RawRunc {
    /// With the files of the image that the service has just run; `None` without runc.
    async fn prepare(layer: &Path) -> Option<Self> {
        let dir = TempDir::new().expect("a temporary folder");
        let root = dir.path().join("rootfs");
        let copied = Command::new("cp").arg("-a").arg(layer).arg(&root).status().await.expect("cp runs");
        assert!(copied.success(), "the files are copied");
        let made = Command::new("runc").arg("spec").current_dir(dir.path()).status().await;
        if !made.is_ok_and(|status| status.success()) {
            return None;
        }
        let path = dir.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("runc's own")).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["true"]);
        config["process"]["env"] = json!(["PATH=/bin"]);
        // The host's network and name, as the service does.
        let shared = |it: &Value| it["type"] == "network" || it["type"] == "uts";
        config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|it| !shared(it));
        config.as_object_mut().expect("an object").remove("hostname");
        fs::write(&path, config.to_string()).expect("written");
        Some(Self(dir))
    }

    async fn run(&self, name: &str) {
        let mut command = Command::new("runc");
        let status = command.args(["run", name]).current_dir(self.0.path()).status().await.expect("runc runs");
        assert!(status.success(), "runc: {status}");
    }

    /// All runs, so many at once; milliseconds.
    async fn batch(&self, at_once: usize) -> f64 {
        let begun = Instant::now();
        let name = |number: usize| format!("haulier-bench-{}-{number}", std::process::id());
        stream::iter(0..MANY)
            .map(|number| async move { self.run(&name(number)).await })
            .buffer_unordered(at_once)
            .collect::<()>()
            .await;
        begun.elapsed().as_secs_f64() * 1000.0
    }
}

/// One trivial run from the trigger to the answer of a long-poll, and many at once, beside runc in turns.
pub async fn measure(bench: &Bench, table: &mut Table) {
    let Ok(image) = env::var("HAULIER_TEST_IMAGE") else {
        return println!("embedded: left out, for there is no image: eval \"$(tests/support/infra)\"");
    };
    bench.job("true-embedded", json!({"image": image, "engine": "embedded", "command": ["true"]})).await;
    let mut connection = bench.connection().await;
    let run = connection.trigger("true-embedded").await;
    connection.wait(&run).await;
    let Some(runc) = RawRunc::prepare(&only_layer(bench.folder())).await else {
        return println!("embedded: left out, for there is no runc");
    };
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    // The first of each warms up.
    for number in 0..=ONE {
        let begun = Instant::now();
        runc.run("haulier-bench").await;
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        let begun = Instant::now();
        let run = connection.trigger("true-embedded").await;
        connection.wait(&run).await;
        let took_ours = begun.elapsed().as_secs_f64() * 1000.0;
        gone(bench).await;
        if number > 0 {
            raw.push(took);
            ours.push(took_ours);
        }
    }
    table.add("one run, raw runc, ms (median)", "", median(&raw));
    table.add("one run, Haulier embedded, ms (median)", "", median(&ours));
    table.add("one run, Haulier embedded / raw runc", "<= 1.0", median(&ours) / median(&raw));
    many(bench, &runc, table).await;
}

async fn many(bench: &Bench, runc: &RawRunc, table: &mut Table) {
    let mut best = (f64::MAX, 0);
    for at_once in PARALLEL {
        let took = runc.batch(at_once).await;
        println!("  raw runc, {MANY} containers, {at_once} at once: {took:.0} ms");
        best = if took < best.0 { (took, at_once) } else { best };
    }
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raw.push(runc.batch(best.1).await);
        let begun = Instant::now();
        let runs = (0..MANY).map(|_| async {
            let mut connection = bench.connection().await;
            let run = connection.trigger("true-embedded").await;
            connection.wait(&run).await;
        });
        futures::future::join_all(runs).await;
        ours.push(begun.elapsed().as_secs_f64() * 1000.0);
        gone(bench).await;
    }
    table.add(format!("{MANY} runs at once, raw runc at its best, ms"), "", median(&raw));
    table.add(format!("{MANY} runs at once, Haulier embedded, ms"), "", median(&ours));
    table.add(format!("{MANY} runs at once, throughput, Haulier / runc"), ">= 0.97", median(&raw) / median(&ours));
}

/// The files of the one image that the service has run.
fn only_layer(folder: &Path) -> PathBuf {
    let mut layers = fs::read_dir(folder.join("embedded/images/layers")).expect("the store").flatten();
    layers.next().expect("a layer").path().join("files")
}

/// Waits until the service has cleaned up.
async fn gone(bench: &Bench) {
    let runs = bench.folder().join("embedded/runs");
    while fs::read_dir(&runs).expect("the runs").next().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
