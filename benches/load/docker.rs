//! Real containers: runs through the service beside the same containers made by hand.

use std::{
    env,
    time::{Duration, Instant},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptions, RemoveContainerOptions, StartContainerOptions, WaitContainerOptions},
};
use futures::{StreamExt, stream};
use haulier::domain::{AttemptId, Clock, SystemClock, Timestamp};
use serde_json::json;

use crate::{
    service::Bench,
    table::{Table, median, quantile},
};

/// Runs of each kind, one after the other.
const ONE: usize = 40;
/// Runs whose creation is looked at.
const ADDED: usize = 60;
/// Runs at once.
const MANY: usize = 60;
/// How many containers at once raw Docker is tried with.
const PARALLEL: [usize; 4] = [2, 4, 6, 8];
/// How often `many` is measured.
const ROUNDS: usize = 3;

/// The daemon, without anything between.
#[derive(Debug)]
pub struct RawDocker {
    /// Its address.
    pub host: String,
    image: String,
    docker: Docker,
}

impl RawDocker {
    /// The daemon of the tests, if there is one.
    pub async fn connect() -> Option<Self> {
        let (host, image) = (env::var("HAULIER_TEST_DOCKER_HOST").ok()?, env::var("HAULIER_TEST_IMAGE").ok()?);
        let docker = Docker::connect_with_unix(&host, 120, API_DEFAULT_VERSION).ok()?;
        let docker = docker.negotiate_version().await.ok()?;
        Some(Self { host, image, docker })
    }

    /// Creates, starts and waits for a container that does nothing; its id.
    async fn run(&self) -> String {
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(vec!["true".to_owned()]),
            ..Default::default()
        };
        let created = self.docker.create_container(None::<CreateContainerOptions>, body).await.expect("created");
        self.docker.start_container(&created.id, None::<StartContainerOptions>).await.expect("started");
        let mut ends = self.docker.wait_container(&created.id, None::<WaitContainerOptions>);
        ends.next().await.expect("an end").expect("a good end");
        created.id
    }

    async fn remove(&self, container: &str) {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        self.docker.remove_container(container, Some(options)).await.expect("removed");
    }

    /// Waits until the service has cleaned up after a run.
    async fn gone(&self, run: &str) {
        while self.docker.inspect_container(&workload(run), None).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All runs, so many containers at once, cleaned up on the side as the service does; the time until the last has
    /// ended, in milliseconds.
    async fn batch(&self, at_once: usize) -> f64 {
        let begun = Instant::now();
        let containers: Vec<_> =
            stream::iter(0..MANY).map(|_| self.run_and_remove()).buffer_unordered(at_once).collect().await;
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        for removal in containers {
            removal.await.expect("removed");
        }
        took
    }

    async fn run_and_remove(&self) -> tokio::task::JoinHandle<()> {
        let container = self.run().await;
        let docker = Self { host: self.host.clone(), image: self.image.clone(), docker: self.docker.clone() };
        tokio::spawn(async move { docker.remove(&container).await })
    }
}

fn workload(run: &str) -> String {
    let attempt = AttemptId { run: run.parse().expect("a run's id"), number: 1 };
    attempt.workload_name().to_string()
}

/// One trivial run from the trigger to the answer of a long-poll, beside create, start and wait, in turns.
pub async fn one(bench: &Bench, docker: &RawDocker, table: &mut Table) {
    bench.job("true", json!({"image": docker.image, "engine": "docker", "command": ["true"]})).await;
    let mut connection = bench.connection().await;
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    // The first of each warms up.
    for number in 0..=ONE {
        let begun = Instant::now();
        let container = docker.run().await;
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        docker.remove(&container).await;
        let begun = Instant::now();
        let run = connection.trigger("true").await;
        connection.wait(&run).await;
        let took_ours = begun.elapsed().as_secs_f64() * 1000.0;
        docker.gone(&run).await;
        if number > 0 {
            raw.push(took);
            ours.push(took_ours);
        }
    }
    table.add("one run, raw Docker, ms (median)", "", median(&raw));
    table.add("one run, Haulier, ms (median)", "", median(&ours));
    table.add("one run, Haulier / raw Docker", "<= 1.01", median(&ours) / median(&raw));
}

/// From sending the trigger until the daemon begins to create the container.
pub async fn added(bench: &Bench, docker: &RawDocker, table: &mut Table) {
    let brief = json!({"image": docker.image, "engine": "docker", "command": ["sleep", "0.2"]});
    bench.job("brief", brief).await;
    let mut connection = bench.connection().await;
    let mut added = Vec::new();
    for _ in 0..ADDED {
        let sent = SystemClock.now();
        let run = connection.trigger("brief").await;
        let created = loop {
            if let Ok(found) = docker.docker.inspect_container(&workload(&run), None).await {
                break Timestamp::parse(&found.created.expect("a time")).expect("a time");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        added.push(created.since(sent).as_secs_f64() * 1000.0);
        connection.wait(&run).await;
        docker.gone(&run).await;
    }
    table.add("trigger to container create, ms (p50)", "<= 3", median(&added));
    table.add("trigger to container create, ms (p99)", "<= 15", quantile(&added, 0.99));
}

/// Many runs at once, beside raw Docker at its best.
pub async fn many(bench: &Bench, docker: &RawDocker, table: &mut Table) {
    bench.job("true", json!({"image": docker.image, "engine": "docker", "command": ["true"]})).await;
    let mut best = (f64::MAX, 0);
    for at_once in PARALLEL {
        let took = docker.batch(at_once).await;
        println!("  raw Docker, {MANY} containers, {at_once} at once: {took:.0} ms");
        best = if took < best.0 { (took, at_once) } else { best };
    }
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raw.push(docker.batch(best.1).await);
        ours.push(ours_at_once(bench, docker).await);
    }
    table.add(format!("{MANY} runs at once, raw Docker at its best, ms"), "", median(&raw));
    table.add(format!("{MANY} runs at once, Haulier, ms"), "", median(&ours));
    table.add(format!("{MANY} runs at once, throughput, Haulier / raw"), ">= 0.97", median(&raw) / median(&ours));
}

async fn ours_at_once(bench: &Bench, docker: &RawDocker) -> f64 {
    let begun = Instant::now();
    let runs = (0..MANY).map(|_| async {
        let mut connection = bench.connection().await;
        let run = connection.trigger("true").await;
        connection.wait(&run).await;
        run
    });
    let runs = futures::future::join_all(runs).await;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    for run in runs {
        docker.gone(&run).await;
    }
    took
}
