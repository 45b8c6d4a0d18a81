//! The engine contract, run against everything that is there. `eval "$(tests/support/infra)"` brings it.

use std::{collections::HashMap, env, sync::Arc};

use async_trait::async_trait;
use bollard::{
    Docker,
    query_parameters::{ListContainersOptions, RemoveContainerOptions},
};
use gate::{Gate, Target};
use haulier::{
    domain::InstallationId,
    engine_contract,
    engines::{
        Credentials, Engine, Handle, LaunchFile, LaunchProgress,
        contract::{Dialect, Faults, NotApplicable, Skipped, SlowImage, Step, Subject, Verdict, run_case},
        docker::{DockerConfig, DockerEngine},
        label,
        simulated::{SimulatedControl, SimulatedEngine},
    },
};

#[cfg(target_os = "linux")]
#[path = "embedded/mod.rs"]
mod embedded_engine;
mod gate;
#[path = "kubernetes/subject.rs"]
mod kubernetes_subject;
mod subject;

use subject::{subject, variable};

engine_contract!(docker_contract, docker);
engine_contract!(podman_contract, podman);
#[cfg(target_os = "linux")]
use embedded_engine::{embedded, embedded_rootless};
#[cfg(target_os = "linux")]
engine_contract!(embedded_contract, embedded);
#[cfg(target_os = "linux")]
engine_contract!(embedded_rootless_contract, embedded_rootless, crate::embedded_engine::run_by_an_ordinary_user);
engine_contract!(simulated_contract, simulated);
engine_contract!(kubernetes_contract, kubernetes);

async fn docker() -> Result<Subject, String> {
    daemon("docker", "HAULIER_TEST_DOCKER_HOST", false).await
}

async fn kubernetes() -> Result<Subject, String> {
    // Its node runs containers on that Docker.
    kubernetes_subject::subject(docker().await?)
}

async fn podman() -> Result<Subject, String> {
    daemon("podman", "HAULIER_TEST_PODMAN_HOST", true).await
}

async fn daemon(name: &'static str, host: &str, podman: bool) -> Result<Subject, String> {
    let host = variable(host)?;
    let socket = host.strip_prefix("unix://").ok_or("the daemon of the tests has a socket")?;
    let gate = Gate::to(Target::Unix(socket.into())).await;
    let way = Some(format!("tcp://{}", gate.address));
    let config = DockerConfig { host: way, podman: Some(podman), ..DockerConfig::default() };
    let slow_image = match env::var("HAULIER_TEST_PODMAN_SLOW") {
        _ if !podman => SlowImage::Proxied,
        // The registries without TLS that it may use are named when it starts.
        Ok(addresses) => SlowImage::ProxiedAt(addresses.split(' ').map(str::to_owned).collect()),
        Err(_) => SlowImage::None(Skipped("this podman knows no registry that the test could start")),
    };
    subject(name, slow_image, Arc::new(DockerFaults { gate, host }), |owner| {
        Arc::new(DockerEngine::connect(name, owner, config.clone()).expect("the address is right"))
    })
}

/// What anybody may do who reaches the daemon.
struct DockerFaults {
    gate: Gate,
    host: String,
}

impl DockerFaults {
    fn daemon(&self) -> Docker {
        Docker::connect_with_host(&self.host).expect("the address is right")
    }
}

#[async_trait]
impl Faults for DockerFaults {
    async fn interrupt(&self) -> Verdict {
        self.gate.close();
        Ok(())
    }

    async fn restore(&self) {
        self.gate.open();
    }

    async fn start_again(&self, handle: &Handle) -> Verdict {
        self.daemon().restart_container(&handle.id, None).await.expect("it can be restarted");
        Ok(())
    }

    async fn lose(&self, handle: &Handle) -> Verdict {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        self.daemon().remove_container(&handle.id, Some(options)).await.expect("it can be removed");
        Ok(())
    }
}

struct SimulatedFaults(SimulatedControl);

#[async_trait]
impl Faults for SimulatedFaults {
    async fn interrupt(&self) -> Verdict {
        self.0.set_reachable(false);
        Ok(())
    }

    async fn restore(&self) {
        self.0.set_reachable(true);
    }

    async fn start_again(&self, _handle: &Handle) -> Verdict {
        Err(NotApplicable("it starts nothing twice"))
    }

    async fn lose(&self, handle: &Handle) -> Verdict {
        assert!(self.0.lose(&handle.id));
        Ok(())
    }
}

async fn simulated() -> Result<Subject, String> {
    let control = SimulatedControl::default();
    let engine = |owner| -> Arc<dyn Engine> { Arc::new(SimulatedEngine::new(owner, control.clone())) };
    let (owner, stranger_id) = (InstallationId::generate(), InstallationId::generate());
    let login =
        Credentials { server: "sim".to_owned(), username: "robot".to_owned(), password: "any".to_owned().into() };
    Ok(Subject {
        name: "simulated",
        owner,
        engine: engine(owner),
        other: engine(owner),
        stranger_id,
        stranger: engine(stranger_id),
        image: "sim/ok".to_owned(),
        missing_image: "sim/missing".to_owned(),
        unreachable_image: "sim/no-registry".to_owned(),
        private: Some(("sim/private".to_owned(), login)),
        slow_image: SlowImage::Named("sim/slow-pull".to_owned()),
        dialect: Dialect::Simulated,
        many: 200,
        may_lose_ends: false,
        faults: Arc::new(SimulatedFaults(control)),
    })
}

/// Whoever may inspect a container sees the names of secret files at most.
#[tokio::test(flavor = "multi_thread")]
async fn docker_inspect_shows_no_secret_file() {
    run_case("docker_inspect_shows_no_secret_file", docker().await, |subject| async move {
        let mut spec = subject.spec(&[Step::Shell("cat /run/secrets/token")]);
        let content = b"the-secret-itself".to_vec().into();
        spec.files = vec![LaunchFile { path: "/run/secrets/token".to_owned(), content, mode: 0o400, secret: true }];
        let (handle, exit) = subject.run(&spec).await;
        assert_eq!(exit.code, Some(0));
        let daemon = raw_docker();
        let shown = serde_json::to_string(&daemon.inspect_container(&handle.id, None).await.unwrap()).unwrap();
        assert!(!shown.contains("the-secret-itself"));
        // And it goes with the container.
        let mounts = daemon.inspect_container(&handle.id, None).await.unwrap().mounts.unwrap();
        let volume = mounts.iter().find_map(|mount| mount.name.clone()).expect("an anonymous volume");
        subject.engine.remove(&handle).await.unwrap();
        assert!(daemon.inspect_volume(&volume).await.is_err());
        Ok(())
    })
    .await;
}

/// A service that died between create and start leaves a container that the next one replaces; had it been merely
/// slow, its start would find nothing to start.
#[tokio::test(flavor = "multi_thread")]
async fn docker_created_and_not_started_is_replaced() {
    run_case("docker_created_and_not_started_is_replaced", docker().await, |subject| async move {
        let spec = subject.spec(&[Step::Print("started")]);
        let daemon = raw_docker();
        let labels: HashMap<_, _> = spec.labels().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let options = bollard::query_parameters::CreateContainerOptions {
            name: Some(spec.name().to_string()),
            ..Default::default()
        };
        let body = bollard::models::ContainerCreateBody {
            image: Some(subject.image.clone()),
            labels: Some(labels),
            ..Default::default()
        };
        let abandoned = daemon.create_container(Some(options), body).await.unwrap().id;
        let handle = subject.launch(&spec).await;
        assert_ne!(handle.id, abandoned);
        assert_eq!(subject.end(&handle).await.code, Some(0));
        assert!(daemon.start_container(&abandoned, None).await.is_err());
        Ok(())
    })
    .await;
}

/// What stop finds created and not started can never be started.
#[tokio::test(flavor = "multi_thread")]
async fn docker_stop_of_a_created_container_is_final() {
    run_case("docker_stop_of_a_created_container_is_final", docker().await, |subject| async move {
        let spec = subject.spec(&[Step::Print("started")]);
        let daemon = raw_docker();
        let options = bollard::query_parameters::CreateContainerOptions {
            name: Some(spec.name().to_string()),
            ..Default::default()
        };
        let body = bollard::models::ContainerCreateBody { image: Some(subject.image.clone()), ..Default::default() };
        let id = daemon.create_container(Some(options), body).await.unwrap().id;
        let handle = Handle { attempt: spec.attempt, id: id.clone() };
        subject.engine.stop(&handle, std::time::Duration::from_secs(1)).await.unwrap();
        assert!(daemon.start_container(&id, None).await.is_err());
        Ok(())
    })
    .await;
}

/// A daemon that is away when the service starts is no reason not to start.
#[tokio::test]
async fn docker_that_is_away_is_unreachable_and_nothing_worse() {
    let directory = tempfile::tempdir().unwrap();
    let host = Some(format!("unix://{}/docker.sock", directory.path().display()));
    let config = DockerConfig { host, ..DockerConfig::default() };
    let engine = DockerEngine::connect("away", InstallationId::generate(), config).unwrap();
    assert!(!engine.probe().await.reachable);
    let error = engine.list().await.unwrap_err();
    assert_eq!(error.persistence, haulier::engines::Persistence::Unreachable);
    let (subject, progress) = (simulated().await.unwrap(), LaunchProgress::new().0);
    let error = engine.ensure(&subject.spec(&[]), &progress).await.unwrap_err();
    assert_eq!(error.persistence, haulier::engines::Persistence::Unreachable);
}

fn raw_docker() -> Docker {
    Docker::connect_with_host(&variable("HAULIER_TEST_DOCKER_HOST").unwrap()).unwrap()
}

/// The containers of an installation are found by their label, with Docker's own means.
#[tokio::test]
async fn docker_labels_carry_the_owner() {
    run_case("docker_labels_carry_the_owner", docker().await, |subject| async move {
        let (handle, _) = subject.run(&subject.spec(&[Step::Exit(0)])).await;
        let filters = HashMap::from([("label".to_owned(), vec![format!("{}={}", label::OWNER, subject.owner)])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let found = raw_docker().list_containers(Some(options)).await.unwrap();
        assert_eq!(found.iter().filter_map(|it| it.id.as_deref()).collect::<Vec<_>>(), [handle.id.as_str()]);
        Ok(())
    })
    .await;
}
