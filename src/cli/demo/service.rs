//! The service that is shown, from its start to its end.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::json;

use crate::{
    api::types::CancelRequest,
    cli::{document, serve},
    client::{Client, ClientError},
    config::{Config, EngineConfig, EngineKind, EnginesConfig, ServeArgs, Surroundings},
    domain::{Name, RunRequest, RunState},
    service::Service,
};

const CONTAINERS: &str = include_str!("../../../templates/demo/containers.yaml");
const SIMULATED: &str = include_str!("../../../templates/demo/simulated.yaml");
/// The job that shows whether containers can be had.
const TRIAL: &str = "hello";
/// The job with a schedule.
const SCHEDULED: &str = "load-orders";
/// What is triggered at the start: something runs, something waits, something has failed.
const AT_FIRST: [&str; 5] = [SCHEDULED, "sync-customers", "sync-customers", "sync-customers", "export-invoices"];
/// A first container that takes longer than this is none to show; in seconds.
const TRIAL_SECONDS: u32 = 30;
/// The longest that everything may take to end.
const STOPPING: Duration = Duration::from_secs(30);

/// A running service with the example jobs.
pub(super) struct DemoService {
    service: Service,
    pub(super) client: Client,
    pub(super) token: String,
    /// The kind of its engine.
    pub(super) engine: &'static str,
    pub(super) simulated_because: Option<String>,
}

impl DemoService {
    /// Starts a service with everything below `dir`: with containers if they can be had, else with simulated ones.
    pub(super) async fn start(dir: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        let why = match Self::with_containers(&dir.join("containers"), listen).await {
            Ok(demo) => return Ok(demo),
            Err(why) => format!("{why:#}"),
        };
        let mut demo = Self::serve(&dir.join("simulated"), listen, EngineKind::Simulated, SIMULATED).await?;
        demo.simulated_because = Some(why);
        Ok(demo)
    }

    async fn with_containers(dir: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        let at = dir.to_owned();
        tokio::task::spawn_blocking(move || super::image::install(&at)).await??;
        let demo = Self::serve(dir, listen, EngineKind::Embedded, CONTAINERS).await?;
        match demo.try_container().await {
            Ok(()) => Ok(demo),
            Err(why) => {
                demo.stop().await;
                Err(why)
            }
        }
    }

    /// Starts a service, and registers these jobs.
    async fn serve(dir: &Path, listen: SocketAddr, kind: EngineKind, jobs: &str) -> anyhow::Result<Self> {
        let engine = if kind == EngineKind::Simulated { "simulated" } else { "embedded" };
        let service = serve::start(config(dir, listen, engine.parse()?, kind)?).await?;
        let token = service.new_admin_token().context("the service has made no token")?.expose().to_owned();
        let url = format!("http://{}", service.address());
        let client = Client::new(&url, SecretString::from(token.as_str()), None)?;
        for job in document::read("the examples", jobs)? {
            client.apply_job(&job).await?;
        }
        Ok(Self { service, client, token, engine, simulated_because: None })
    }

    /// Runs the first job: it shows what no look at the machine does.
    async fn try_container(&self) -> anyhow::Result<()> {
        let run = self.client.trigger(TRIAL, &RunRequest::default(), None).await?.run;
        let run = self.client.wait_for(run.id, TRIAL_SECONDS).await?;
        if run.state == RunState::Succeeded {
            return Ok(());
        }
        let why = run.error.map(|error| error.message).or(run.waiting.map(|waiting| waiting.detail));
        anyhow::bail!(why.unwrap_or_else(|| format!("the first container did not end within {TRIAL_SECONDS} s")))
    }

    /// Triggers runs, so that there is something to look at.
    pub(super) async fn trigger_examples(&self) -> Result<(), ClientError> {
        if self.simulated_because.is_some() {
            self.client.trigger(TRIAL, &RunRequest::default(), None).await?;
        }
        for job in AT_FIRST {
            self.client.trigger(job, &RunRequest::default(), None).await?;
        }
        Ok(())
    }

    /// Lets nothing start by itself any more.
    pub(super) async fn pause_schedule(&self) -> Result<(), ClientError> {
        let paused = json!({"schedule": {"paused": true}});
        self.client.patch_job(SCHEDULED, &paused).await.map(drop).or_else(missing_is_fine)
    }

    /// Ends all runs, waits until their containers are gone, and ends the service.
    pub(super) async fn stop(self) {
        match tokio::time::timeout(STOPPING, self.clear()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the runs cannot be cancelled: {error:#}"),
            Err(_) => tracing::warn!("not all containers ended within {} s", STOPPING.as_secs()),
        }
        self.service.shutdown().await;
    }

    async fn clear(&self) -> anyhow::Result<()> {
        self.pause_schedule().await?;
        loop {
            let mut asked = 0;
            for project in self.client.projects().await?.items {
                let all = CancelRequest { all: true, ..CancelRequest::default() };
                asked += self.client.in_project(project.name).cancel_matching(&all).await?.cancelled;
            }
            if asked == 0 && self.service.workloads().await? == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Somebody who looked around may have archived it.
fn missing_is_fine(error: ClientError) -> Result<(), ClientError> {
    if error.status() == Some(StatusCode::NOT_FOUND.as_u16()) { Ok(()) } else { Err(error) }
}

/// What `serve` would have without a file and without variables, but for where it is and for its engine.
fn config(dir: &Path, listen: SocketAddr, name: Name, kind: EngineKind) -> anyhow::Result<Config> {
    let args = ServeArgs { config: None, listen: Some(listen.to_string()), data_dir: Some(dir.to_owned()) };
    let mut config = Config::load(&args, &Surroundings::default())?;
    let engine = EngineConfig { kind, max_running: None, settings: toml::Table::new() };
    config.engines = EnginesConfig { all: [(name.clone(), engine)].into(), default: name };
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JobSpec;

    fn names(jobs: &[JobSpec]) -> Vec<&str> {
        jobs.iter().map(|job| job.name.as_str()).collect()
    }

    #[test]
    fn both_kinds_of_examples_are_the_same_jobs() {
        let read = |text| document::read("the examples", text).unwrap();
        let (containers, simulated) = (read(CONTAINERS), read(SIMULATED));
        assert_eq!(names(&containers), names(&simulated));
        for job in AT_FIRST.iter().chain([&TRIAL]) {
            assert!(names(&containers).contains(job), "{job}");
        }
        for jobs in [containers, simulated] {
            let scheduled: Vec<_> = jobs.into_iter().filter(|job| job.schedule.is_some()).collect();
            assert_eq!(names(&scheduled), [SCHEDULED]);
        }
    }
}
