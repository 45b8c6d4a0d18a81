//! A daemon that dies and comes back.

mod dockerd;
mod subject;

use std::sync::Arc;

use dockerd::Daemon;
use haulier::engines::{
    Engine, LaunchFailure, LaunchProgress, Persistence, WorkloadPhase,
    contract::{NoFaults, Skipped, SlowImage, Step, Subject, eventually, run_case},
    docker::{DockerConfig, DockerEngine},
    swarm::{SwarmConfig, SwarmEngine},
};

async fn docker_of(daemon: &Daemon) -> Result<Subject, String> {
    let config = DockerConfig { host: Some(daemon.host()), ..DockerConfig::default() };
    let slow_image = SlowImage::None(Skipped("this daemon is in a network of its own"));
    let subject = subject::subject("a dockerd of its own", slow_image, Arc::new(NoFaults), |owner| {
        Arc::new(DockerEngine::connect("own", owner, config.clone()).expect("the address is right"))
    })?;
    daemon.up().await?;
    daemon.load(&subject.image, &subject::variable("HAULIER_TEST_DOCKER_HOST")?)?;
    Ok(subject)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_daemon_is_not_the_scripts_failure() {
    let name = "a_restart_of_the_daemon_is_not_the_scripts_failure";
    let mut daemon = match Daemon::start("own", &[]) {
        Ok(daemon) => daemon,
        Err(why) => return haulier::engines::contract::skipped(name, &why),
    };
    let made = docker_of(&daemon).await;
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
    let mut daemon = match Daemon::start("own", &[]) {
        Ok(daemon) => daemon,
        Err(why) => return haulier::engines::contract::skipped(name, &why),
    };
    let made = match docker_of(&daemon).await {
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
    daemon.docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"])?;
    let engine = |owner| -> Arc<dyn Engine> {
        let config = SwarmConfig { host: Some(daemon.host()), ..SwarmConfig::default() };
        Arc::new(SwarmEngine::connect("own", owner, config).expect("the address is right"))
    };
    let (owner, stranger_id) = (docker.owner, docker.stranger_id);
    let name = "a swarm of its own";
    Ok(Subject { name, engine: engine(owner), other: engine(owner), stranger: engine(stranger_id), ..docker })
}
