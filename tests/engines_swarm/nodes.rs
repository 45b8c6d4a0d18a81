//! A manager and a worker, each a dockerd in a network of its own, the networks joined: what becomes of runs when nodes
//! die, are drained, and come back.

use std::{
    fs,
    process::{Child, Stdio},
    sync::Arc,
    time::Duration,
};

use haulier::{
    domain::WaitReason,
    engines::{
        Credentials, Exit, Handle, LaunchFailure, LaunchFile, LogSource, Persistence, PullPolicy, WorkloadPhase,
        contract::{NoFaults, Skipped, SlowImage, Step, Subject, eventually, run_case, skipped},
        swarm::{SwarmConfig, SwarmEngine},
    },
};

use crate::{
    dockerd::Daemon,
    subject::{subject, variable},
};

const MANAGER: &str = "10.99.0.1";
const WORKER: &str = "10.99.0.2";
/// Where the manager's network has a registry.
const REGISTRY: &str = "10.99.0.1:5000";
/// Where it has something that takes a connection and says nothing.
const SILENT: &str = "10.99.0.1:5001";
const USER: &str = "robot";
const PASSWORD: &str = "haulier-test-only";
/// After how many seconds a node is given up here.
const NODE_LOST: u64 = 2;

struct Nodes {
    manager: Daemon,
    worker: Daemon,
}

impl Nodes {
    fn start() -> Result<Self, String> {
        let options = ["--insecure-registry", REGISTRY, "--insecure-registry", SILENT];
        Ok(Self { manager: Daemon::start("manager", &options)?, worker: Daemon::start("worker", &options)? })
    }

    /// Makes a swarm of them, and an engine that uses the worker alone.
    async fn join(&self) -> Result<Subject, String> {
        self.manager.up().await?;
        self.worker.up().await?;
        self.manager.link(MANAGER, &self.worker, WORKER)?;
        self.manager.docker(&["swarm", "init", "--advertise-addr", MANAGER])?;
        let token = self.manager.docker(&["swarm", "join-token", "--quiet", "worker"])?;
        self.worker.docker(&["swarm", "join", "--token", &token, &format!("{MANAGER}:2377")])?;
        let config = SwarmConfig {
            host: Some(self.manager.host()),
            constraints: vec!["node.role==worker".to_owned()],
            node_lost_seconds: NODE_LOST,
            ..SwarmConfig::default()
        };
        let slow_image = SlowImage::None(Skipped("the nodes are in networks of their own"));
        let subject = subject("a swarm of two nodes", slow_image, Arc::new(NoFaults), |owner| {
            Arc::new(SwarmEngine::connect("two nodes", owner, config.clone()).expect("the address is right"))
        })?;
        for node in [&self.manager, &self.worker] {
            node.load(&subject.image, &variable("HAULIER_TEST_DOCKER_HOST")?)?;
        }
        Ok(subject)
    }

    /// The nodes that the service's tasks were given to: a name for each task there ever was.
    fn tasks(&self, handle: &Handle) -> Vec<String> {
        let asked = ["service", "ps", "--format", "{{.Node}}", &handle.id];
        self.manager.docker(&asked).expect("the manager answers").lines().map(str::to_owned).collect()
    }

    /// Waits until the manager says this of the worker.
    async fn worker_is(&self, state: &str) {
        eventually(&format!("the worker is {state}"), || async {
            let said = self.manager.docker(&["node", "inspect", "worker", "--format", "{{.Status.State}}"]);
            (said.as_deref() == Ok(state)).then_some(())
        })
        .await;
    }
}

/// A program in the manager's network, while this lives.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A registry that wants a login, with the image in it and nowhere else; the image's name there.
async fn private_registry(nodes: &Nodes, image: &str) -> (Server, String) {
    let directory = nodes.manager.directory();
    let passwords =
        std::process::Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output().expect("it is there");
    fs::write(directory.join("htpasswd"), passwords.stdout).expect("it can be written");
    let at = |name: &str| directory.join(name).display().to_string();
    let config = format!(
        "{{version: 0.1, storage: {{filesystem: {{rootdirectory: {}}}}}, http: {{addr: '{REGISTRY}'}}, \
         auth: {{htpasswd: {{realm: test, path: {}}}}}}}",
        at("registry"),
        at("htpasswd")
    );
    fs::write(directory.join("registry.yml"), config).expect("it can be written");
    let mut serve = nodes.manager.beside("docker-registry");
    serve.args(["serve", &at("registry.yml")]).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(serve.spawn().expect("it can be started"));
    let private = format!("{REGISTRY}/private/busybox:1");
    let own_config = at("docker-cli");
    let docker = |arguments: &[&str]| nodes.manager.docker(&[&["--config", &own_config], arguments].concat());
    eventually("the registry takes the login", || async {
        docker(&["login", "--username", USER, "--password", PASSWORD, REGISTRY]).ok()
    })
    .await;
    docker(&["tag", image, &private]).expect("it is there");
    docker(&["push", "--quiet", &private]).expect("it can be pushed");
    docker(&["rmi", &private]).expect("it can be forgotten");
    (server, private)
}

/// Everything that a run needs comes to the worker, and all that it says comes back; the manager may be away meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_what_a_manager_was_told() {
    let name = "a_worker_runs_what_a_manager_was_told";
    let mut nodes = match Nodes::start() {
        Ok(nodes) => nodes,
        Err(why) => return skipped(name, &why),
    };
    let made = nodes.join().await;
    run_case(name, made, |subject| async move {
        let (registry, image) = private_registry(&nodes, &subject.image).await;
        let mut spec =
            subject.spec(&[Step::Shell("cat /run/secrets/token /etc/app.conf; echo err >&2"), Step::Exit(5)]);
        let file = |path: &str, content: &str, secret| LaunchFile {
            path: path.to_owned(),
            content: content.as_bytes().to_vec().into(),
            mode: 0o400,
            secret,
        };
        spec.files =
            vec![file("/run/secrets/token", "the secret\n", true), file("/etc/app.conf", "the config\n", false)];
        spec.image = image;
        spec.pull = PullPolicy::Always;
        spec.credentials = Some(Credentials {
            server: REGISTRY.to_owned(),
            username: USER.to_owned(),
            password: PASSWORD.to_owned().into(),
        });
        let (handle, exit) = subject.run(&spec).await;
        assert_eq!((exit.code, exit.failure), (Some(5), None));
        assert_eq!(subject.output(&handle, LogSource::Stdout).await, b"the secret\nthe config\n");
        assert_eq!(subject.output(&handle, LogSource::Stderr).await, b"err\n");
        assert_eq!(nodes.tasks(&handle), ["worker"]);
        drop(registry);

        // The manager dies and comes back.
        let spec = subject.spec(&[Step::Print("started"), Step::AwaitTerm(7)]);
        let handle = subject.launch(&spec).await;
        subject.running(&handle).await;
        subject.begun(&handle).await;
        let before = subject.observe(&handle).await;
        nodes.manager.kill().await;
        let error = subject.engine.observe(std::slice::from_ref(&handle)).await.expect_err("nobody can tell");
        assert_eq!(error.persistence, Persistence::Unreachable, "{error}");
        nodes.manager.start_again();
        eventually("the manager is back", || async { subject.engine.probe().await.reachable.then_some(()) }).await;
        nodes.worker_is("ready").await;
        assert_eq!(subject.observe(&handle).await, before);
        assert_eq!(subject.launch(&spec).await, handle);
        subject.engine.stop(&handle, Duration::from_secs(20)).await.expect("it can be stopped");
        assert_eq!(subject.end(&handle).await.code, Some(7));
        assert_eq!(subject.output(&handle, LogSource::Stdout).await, b"started\n");
        assert_eq!(nodes.tasks(&handle).iter().filter(|node| *node == "worker").count(), 1);

        // The worker is to be free of work.
        let handle = subject.launch(&subject.spec(&[Step::Print("started"), Step::AwaitTerm(7)])).await;
        subject.running(&handle).await;
        nodes.manager.docker(&["node", "update", "--availability", "drain", "worker"]).expect("it can be drained");
        let exit = subject.end(&handle).await;
        assert!(matches!(exit, Exit { failure: Some(LaunchFailure::Evicted(_)), code: None, .. }), "{exit:?}");
        assert_eq!(nodes.tasks(&handle), ["worker"], "it was not started again");
        for found in subject.engine.list().await.expect("a list") {
            subject.engine.remove(&found.handle).await.expect("it can be removed");
        }
        drop(nodes);
        Ok(())
    })
    .await;
}

/// A node that dies takes its runs with it: they are lost, and are started again neither elsewhere nor when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_loses_its_runs() {
    let name = "a_worker_that_dies_loses_its_runs";
    let mut nodes = match Nodes::start() {
        Ok(nodes) => nodes,
        Err(why) => return skipped(name, &why),
    };
    let made = nodes.join().await;
    run_case(name, made, |subject| async move {
        let spec = subject.spec(&[Step::Print("started"), Step::AwaitTerm(0)]);
        let running = subject.launch(&spec).await;
        subject.running(&running).await;
        assert_eq!(&subject.begun(&running).await.bytes[..], b"started\n");
        // Another has come no further than to wait for its image.
        let (_, port) = SILENT.split_once(':').expect("it has a port");
        let mut listen = nodes.manager.beside("busybox");
        listen.args(["nc", "-l", "-p", port]).stdin(Stdio::piped()).stdout(Stdio::null());
        let silence = Server(listen.spawn().expect("it can be started"));
        let mut waits = subject.spec(&[Step::Exit(0)]);
        waits.image = format!("{SILENT}/never:1");
        let waiting = subject.launch(&waits).await;
        eventually("the worker prepares it", || async {
            let told = nodes.manager.docker(&["service", "ps", "--format", "{{.CurrentState}}", &waiting.id]);
            told.is_ok_and(|told| told.starts_with("Preparing")).then_some(())
        })
        .await;

        nodes.worker.kill().await;
        drop(silence);
        // Nothing is said of it before the swarm has noticed, and then not at once.
        assert!(matches!(subject.observe(&running).await.phase, WorkloadPhase::Running(_)));
        for (handle, ran) in [(&running, true), (&waiting, false)] {
            let exit = subject.end(handle).await;
            assert!(matches!(exit, Exit { failure: Some(LaunchFailure::Lost(_)), code: None, .. }), "{exit:?}");
            assert_eq!(exit.started_at.is_some(), ran);
            assert_eq!(nodes.tasks(handle), ["worker"], "it was started elsewhere");
        }
        assert_eq!(subject.launch(&spec).await, running);

        // What comes meanwhile waits for a node, and is not taken for lost with the one that it gets.
        let next = subject.launch(&subject.spec(&[Step::Print("started"), Step::Sleep(3000), Step::Exit(4)])).await;
        eventually("the next waits", || async {
            let told = subject.observe(&next).await.phase;
            matches!(told, WorkloadPhase::Pending(WaitReason::NoCapacity, _)).then_some(())
        })
        .await;
        // What is known of the nodes now will soon be wrong.
        assert!(subject.engine.probe().await.reachable);
        nodes.worker.start_again();
        let exit = subject.end(&next).await;
        assert_eq!((exit.code, exit.failure), (Some(4), None));
        assert_eq!(nodes.tasks(&next), ["worker"]);
        let exit = eventually("the worker has told what became of it", || async {
            Some(subject.end(&running).await).filter(|exit| exit.code.is_some())
        })
        .await;
        assert!(matches!(exit.failure, Some(LaunchFailure::Interrupted(_))), "{exit:?}");
        assert_eq!(subject.output(&running, LogSource::Stdout).await, b"started\n");
        assert_eq!(nodes.tasks(&running), ["worker"], "it was started again");
        for handle in [&running, &waiting, &next] {
            subject.engine.remove(handle).await.expect("it can be removed");
        }
        eventually("nothing of it is left on the worker", || async {
            nodes.worker.docker(&["ps", "--all", "--quiet"]).is_ok_and(|all| all.is_empty()).then_some(())
        })
        .await;
        drop(nodes);
        Ok(())
    })
    .await;
}
