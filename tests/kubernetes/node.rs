//! The containers of the cluster's one node, as root there sees them.

use std::{collections::HashMap, env};

use bollard::{
    Docker,
    query_parameters::{ListContainersOptions, RemoveContainerOptions},
};
use serde::Deserialize;
use tokio::process::Command;

/// What the node runs its containers on.
pub enum Node {
    /// The Docker that `HAULIER_TEST_DOCKER_HOST` names, as nodes before Kubernetes 1.24 do.
    Docker(Docker),
    /// What the program that `HAULIER_TEST_CRICTL` names speaks to: crictl, told where its runtime is.
    Cri(String),
}

/// A script's container.
pub struct Container {
    pub id: String,
    pub ended: bool,
}

#[derive(Deserialize)]
struct CriList {
    containers: Vec<CriContainer>,
}

#[derive(Deserialize)]
struct CriContainer {
    id: String,
    state: String,
    labels: HashMap<String, String>,
}

impl Node {
    pub fn connect() -> Result<Self, String> {
        if let Ok(crictl) = env::var("HAULIER_TEST_CRICTL") {
            return Ok(Self::Cri(crictl));
        }
        let host =
            env::var("HAULIER_TEST_DOCKER_HOST").map_err(|_| "HAULIER_TEST_DOCKER_HOST is not set".to_owned())?;
        Docker::connect_with_host(&host).map(Self::Docker).map_err(|error| error.to_string())
    }

    /// The container of this job's script, running or not.
    pub async fn container(&self, job: &str) -> Container {
        let is_ours = |labels: &HashMap<String, String>| {
            let is = |name: &str, test: &dyn Fn(&str) -> bool| labels.get(name).is_some_and(|value| test(value));
            is("io.kubernetes.container.name", &|name| name == "job")
                && is("io.kubernetes.pod.name", &|pod| pod.starts_with(job))
        };
        match self {
            Self::Docker(daemon) => {
                let options = ListContainersOptions { all: true, ..Default::default() };
                let all = daemon.list_containers(Some(options)).await.expect("a list");
                let ours = all.into_iter().find(|it| it.labels.as_ref().is_some_and(is_ours));
                let id = ours.and_then(|it| it.id).expect("it is on the node");
                let state = daemon.inspect_container(&id, None).await.expect("it is there").state.expect("its state");
                Container { id, ended: state.running == Some(false) }
            }
            Self::Cri(crictl) => {
                let list: CriList =
                    serde_json::from_slice(&call(crictl, &["ps", "--all", "--output", "json"]).await).expect("a list");
                let ours = list.containers.into_iter().find(|it| is_ours(&it.labels)).expect("it is on the node");
                Container { id: ours.id, ended: ours.state == "CONTAINER_EXITED" }
            }
        }
    }

    /// Removes a container, whether or not it runs, without telling the cluster.
    pub async fn remove(&self, id: &str) {
        match self {
            Self::Docker(daemon) => {
                let options = RemoveContainerOptions { force: true, v: true, link: false };
                daemon.remove_container(id, Some(options)).await.expect("it can be removed");
            }
            Self::Cri(crictl) => drop(call(crictl, &["rm", "--force", id]).await),
        }
    }
}

/// What crictl answers to this.
pub async fn call(crictl: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(crictl).args(arguments).output().await.expect("crictl can be called");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
