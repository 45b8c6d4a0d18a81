//! The engine contract on a real swarm of one node, which `eval "$(tests/support/infra)"` brings, and what only happens
//! where there are two.

#[path = "../dockerd/mod.rs"]
mod dockerd;
#[path = "../gate/mod.rs"]
mod gate;
mod nodes;
#[path = "../subject/mod.rs"]
mod subject;

use std::sync::Arc;

use async_trait::async_trait;
use bollard::{Docker, query_parameters::UpdateServiceOptions};
use gate::{Gate, Target};
use haulier::{
    engine_contract,
    engines::{
        Handle, LaunchFile,
        contract::{Faults, SlowImage, Step, Subject, Verdict, run_case},
        swarm::{SwarmConfig, SwarmEngine},
    },
};
use subject::{subject, variable};

engine_contract!(swarm_contract, swarm);

async fn swarm() -> Result<Subject, String> {
    let host = variable("HAULIER_TEST_SWARM_HOST")?;
    let socket = host.strip_prefix("unix://").ok_or("the swarm of the tests has a socket")?;
    let gate = Gate::to(Target::Unix(socket.into())).await;
    let config = SwarmConfig { host: Some(format!("tcp://{}", gate.address)), ..SwarmConfig::default() };
    let faults = Arc::new(SwarmFaults { gate, host });
    let subject = subject("swarm", SlowImage::Proxied, faults, |owner| {
        Arc::new(SwarmEngine::connect("swarm", owner, config.clone()).expect("the address is right"))
    })?;
    Ok(Subject { many: 20, ..subject })
}

/// What anybody may do who reaches a manager.
struct SwarmFaults {
    gate: Gate,
    host: String,
}

impl SwarmFaults {
    fn daemon(&self) -> Docker {
        Docker::connect_with_host(&self.host).expect("the address is right")
    }
}

#[async_trait]
impl Faults for SwarmFaults {
    async fn interrupt(&self) -> Verdict {
        self.gate.close();
        Ok(())
    }

    async fn restore(&self) {
        self.gate.open();
    }

    async fn start_again(&self, handle: &Handle) -> Verdict {
        let daemon = self.daemon();
        let service = daemon.inspect_service(&handle.id, None).await.expect("it is there");
        let mut spec = service.spec.expect("its specification");
        spec.task_template.as_mut().expect("its task").force_update = Some(1);
        let version = service.version.and_then(|version| version.index).expect("its version");
        let options = UpdateServiceOptions { version: i32::try_from(version).unwrap(), ..Default::default() };
        daemon.update_service(&handle.id, spec, options, None).await.expect("it can be updated");
        Ok(())
    }

    async fn lose(&self, handle: &Handle) -> Verdict {
        self.daemon().delete_service(&handle.id).await.expect("it can be removed");
        Ok(())
    }
}

/// Whoever may inspect a service sees the names of secret files at most; and they go with the service.
#[tokio::test(flavor = "multi_thread")]
async fn swarm_inspect_shows_no_secret_file() {
    run_case("swarm_inspect_shows_no_secret_file", swarm().await, |subject| async move {
        let mut spec = subject.spec(&[Step::Shell("cat /run/secrets/token")]);
        let content = b"the-secret-itself".to_vec().into();
        spec.files = vec![LaunchFile { path: "/run/secrets/token".to_owned(), content, mode: 0o400, secret: true }];
        let (handle, exit) = subject.run(&spec).await;
        assert_eq!(exit.code, Some(0));
        let daemon = Docker::connect_with_host(&variable("HAULIER_TEST_SWARM_HOST").unwrap()).unwrap();
        let service = daemon.inspect_service(&handle.id, None).await.unwrap();
        assert!(!serde_json::to_string(&service).unwrap().contains("the-secret-itself"));
        let name = format!("{}-f0", spec.name());
        let secret = daemon.inspect_secret(&name).await.unwrap();
        assert!(!serde_json::to_string(&secret).unwrap().contains("dGhlLXNlY3JldC1pdHNlbGY"));
        subject.engine.remove(&handle).await.unwrap();
        assert!(daemon.inspect_secret(&name).await.is_err());
        Ok(())
    })
    .await;
}

/// A service that died after it had stored a file and before it made anything to use it leaves something to find.
#[tokio::test(flavor = "multi_thread")]
async fn swarm_files_without_a_service_are_found_and_removed() {
    run_case("swarm_files_without_a_service_are_found_and_removed", swarm().await, |subject| async move {
        let spec = subject.spec(&[Step::Exit(0)]);
        let daemon = Docker::connect_with_host(&variable("HAULIER_TEST_SWARM_HOST").unwrap()).unwrap();
        let config = bollard::models::ConfigSpec {
            name: Some(format!("{}-f0", spec.name())),
            labels: Some(spec.labels().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            data: Some("eA==".to_owned()),
            templating: None,
        };
        daemon.create_config(config).await.unwrap();
        let found = subject.engine.list().await.unwrap();
        assert_eq!(found.iter().map(|it| (it.handle.attempt, it.running)).collect::<Vec<_>>(), [(spec.attempt, false)]);
        subject.engine.remove(&found[0].handle).await.unwrap();
        assert_eq!(subject.engine.list().await.unwrap(), Vec::new());
        Ok(())
    })
    .await;
}
