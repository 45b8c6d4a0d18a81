//! A daemon that dies and comes back: a Docker of the test's own, in a network of its own, for nobody else's
//! containers must suffer.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use haulier::{
    domain::InstallationId,
    engines::{
        Engine, LaunchFailure, LaunchProgress, Persistence, WorkloadPhase,
        contract::{Dialect, NoFaults, Skipped, SlowImage, Step, Subject, eventually, run_case},
        docker::{DockerConfig, DockerEngine},
        swarm::{SwarmConfig, SwarmEngine},
    },
};

/// A running dockerd.
struct Daemon {
    process: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self { process: spawn(directory.path())?, directory })
    }

    fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.directory.path().display())
    }

    /// As by a power cut for the daemon alone.
    async fn kill(&mut self) {
        let containerd = self.directory.path().join("exec/containerd/containerd.pid");
        let containerd = std::fs::read_to_string(containerd).expect("its containerd runs");
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
        // It dies with the daemon, a little later, and the next daemon would still try to use it.
        let process = Path::new("/proc").join(containerd.trim());
        eventually("its containerd has ended", || async { (!process.exists()).then_some(()) }).await;
        let _ = std::fs::remove_file(self.directory.path().join("pid"));
    }

    fn start_again(&mut self) {
        self.process = spawn(self.directory.path()).expect("it has been started before");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // TERM, so that it ends its containerd as well.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
        // What the killed daemon has left behind: everything that was started with this very directory.
        let directory = self.directory.path().display().to_string();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(&directory) {
                let _ = Command::new("kill").arg("-9").arg(process.file_name()).status();
            }
        }
    }
}

fn spawn(directory: &Path) -> Result<Child, String> {
    let script = "ip link set lo up && mount -t tmpfs tmpfs /run && exec dockerd --data-root $0/data --exec-root $0/exec --pidfile $0/pid \
        -H unix://$0/docker.sock >>$0/log 2>&1";
    Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", script])
        .arg(directory)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("a dockerd of its own cannot be started: {error}"))
}

async fn subject(daemon: &Daemon) -> Result<Subject, String> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (image, theirs) = (variable("HAULIER_TEST_IMAGE")?, variable("HAULIER_TEST_DOCKER_HOST")?);
    let (owner, stranger_id) = (InstallationId::generate(), InstallationId::generate());
    let config = DockerConfig { host: Some(daemon.host()), ..DockerConfig::default() };
    let engine = |owner| -> Arc<dyn Engine> {
        Arc::new(DockerEngine::connect("own", owner, config.clone()).expect("the address is right"))
    };
    let subject = Subject {
        name: "a dockerd of its own",
        owner,
        engine: engine(owner),
        other: engine(owner),
        stranger_id,
        stranger: engine(stranger_id),
        image: image.clone(),
        missing_image: String::new(),
        unreachable_image: String::new(),
        private: None,
        slow_image: SlowImage::None(Skipped("this daemon is in a network of its own")),
        dialect: Dialect::Shell,
        many: 30,
        may_lose_ends: false,
        faults: Arc::new(NoFaults),
    };
    for _ in 0..300 {
        if subject.engine.probe().await.reachable {
            let copy = format!("docker -H {theirs} save {image} | docker -H {} load", daemon.host());
            let copied = Command::new("sh").args(["-c", &copy]).stdout(Stdio::null()).status();
            return match copied {
                Ok(status) if status.success() => Ok(subject),
                _ => Err("the test image cannot be copied to a dockerd of its own".to_owned()),
            };
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = std::fs::read_to_string(daemon.directory.path().join("log")).unwrap_or_default();
    Err(format!("a dockerd of its own does not come up: {}", log.lines().last().unwrap_or("no log")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_daemon_is_not_the_scripts_failure() {
    let name = "a_restart_of_the_daemon_is_not_the_scripts_failure";
    let mut daemon = match Daemon::start() {
        Ok(daemon) => daemon,
        Err(why) => return haulier::engines::contract::skipped(name, &why),
    };
    let made = subject(&daemon).await;
    run_case(name, made, |subject| async move {
        let own_failure = subject.run(&subject.spec(&[Step::Exit(3)])).await;
        let spec = subject.spec(&[Step::Print("started"), Step::AwaitTerm(0)]);
        let handle = subject.launch(&spec).await;
        subject.running(&handle).await;

        daemon.kill().await;
        let error = subject.engine.observe(std::slice::from_ref(&handle)).await.unwrap_err();
        assert_eq!(error.persistence, Persistence::Unreachable, "{error}");
        let error = subject.engine.ensure(&spec, &LaunchProgress::new().0).await.unwrap_err();
        assert_eq!(error.persistence, Persistence::Unreachable, "{error}");

        daemon.start_again();
        eventually("the daemon is back", || async { subject.engine.probe().await.reachable.then_some(()) }).await;
        let exit = subject.end(&handle).await;
        assert!(matches!(exit.failure, Some(LaunchFailure::Interrupted(_))), "{exit:?}");
        // Adopted, and not started again.
        assert_eq!(subject.launch(&spec).await, handle);
        assert!(matches!(subject.observe(&handle).await.phase, WorkloadPhase::Exited(_)));
        // What ended before stays as it was, and what ends now is judged as ever.
        assert_eq!(subject.end(&own_failure.0).await, own_failure.1);
        let (_, exit) = subject.run(&subject.spec(&[Step::Exit(255)])).await;
        assert_eq!((exit.code, exit.failure), (Some(255), None));
        for found in subject.engine.list().await.unwrap() {
            subject.engine.remove(&found.handle).await.unwrap();
        }
        drop(daemon);
        Ok(())
    })
    .await;
}

/// The only node of a swarm, and its manager, dies under a run.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_a_swarms_node_is_not_the_scripts_failure() {
    let name = "a_restart_of_a_swarms_node_is_not_the_scripts_failure";
    let mut daemon = match Daemon::start() {
        Ok(daemon) => daemon,
        Err(why) => return haulier::engines::contract::skipped(name, &why),
    };
    let made = match subject(&daemon).await {
        Ok(docker) => swarm_of(&daemon, docker),
        Err(why) => Err(why),
    };
    run_case(name, made, |subject| async move {
        let own_failure = subject.run(&subject.spec(&[Step::Exit(137)])).await;
        assert_eq!((own_failure.1.code, &own_failure.1.failure), (Some(137), &None));
        let spec = subject.spec(&[Step::Print("started"), Step::AwaitTerm(0)]);
        let handle = subject.launch(&spec).await;
        subject.running(&handle).await;

        daemon.kill().await;
        let error = subject.engine.observe(std::slice::from_ref(&handle)).await.unwrap_err();
        assert_eq!(error.persistence, Persistence::Unreachable, "{error}");
        let error = subject.engine.ensure(&spec, &LaunchProgress::new().0).await.unwrap_err();
        assert_eq!(error.persistence, Persistence::Unreachable, "{error}");

        daemon.start_again();
        eventually("the manager is back", || async { subject.engine.probe().await.reachable.then_some(()) }).await;
        let exit = subject.end(&handle).await;
        assert!(matches!(exit.failure, Some(LaunchFailure::Interrupted(_))), "{exit:?}");
        // Adopted, and not run again.
        assert_eq!(subject.launch(&spec).await, handle);
        assert_eq!(subject.end(&handle).await, exit);
        assert_eq!(subject.end(&own_failure.0).await.failure, None);
        for found in subject.engine.list().await.unwrap() {
            subject.engine.remove(&found.handle).await.unwrap();
        }
        drop(daemon);
        Ok(())
    })
    .await;
}

/// Makes a swarm of the daemon.
fn swarm_of(daemon: &Daemon, docker: Subject) -> Result<Subject, String> {
    let init = ["-H", &daemon.host(), "swarm", "init", "--advertise-addr", "127.0.0.1"];
    let output = Command::new("docker").args(init).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("no swarm can be made: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let engine = |owner| -> Arc<dyn Engine> {
        let config = SwarmConfig { host: Some(daemon.host()), ..SwarmConfig::default() };
        Arc::new(SwarmEngine::connect("own", owner, config).expect("the address is right"))
    };
    let (owner, stranger_id) = (docker.owner, docker.stranger_id);
    let name = "a swarm of its own";
    Ok(Subject { name, engine: engine(owner), other: engine(owner), stranger: engine(stranger_id), ..docker })
}
