//! The real cluster, as the contract wants it.

use std::{collections::HashMap, env, sync::Arc};

use async_trait::async_trait;
use bollard::{
    Docker,
    query_parameters::{ListContainersOptions, RemoveContainerOptions},
};
use haulier::{
    domain::InstallationId,
    engines::{
        Engine, Handle,
        contract::{Faults, Subject, Verdict},
        kubernetes::{KubernetesConfig, KubernetesEngine},
    },
};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    api::DeleteParams,
    config::{KubeConfigOptions, Kubeconfig},
};

/// The cluster that `HAULIER_TEST_KUBECONFIG` names. `docker`: the engine that its node runs containers on, whose images
/// and registries are its own too.
pub fn subject(docker: Subject) -> Result<Subject, String> {
    let kubeconfig = env::var("HAULIER_TEST_KUBECONFIG")
        .map_err(|_| "there is no Kubernetes: set HAULIER_TEST_KUBECONFIG to a kubeconfig".to_owned())?;
    let host = env::var("HAULIER_TEST_DOCKER_HOST").map_err(|_| "HAULIER_TEST_DOCKER_HOST is not set".to_owned())?;
    let config = KubernetesConfig { kubeconfig: Some(kubeconfig.clone().into()), ..KubernetesConfig::default() };
    let engine = |owner| -> Arc<dyn Engine> {
        Arc::new(KubernetesEngine::connect("kubernetes", owner, config.clone()).expect("the kubeconfig is right"))
    };
    let (owner, stranger_id) = (InstallationId::generate(), InstallationId::generate());
    Ok(Subject {
        name: "kubernetes",
        owner,
        engine: engine(owner),
        other: engine(owner),
        stranger_id,
        stranger: engine(stranger_id),
        many: 30,
        // A busy kubelet of 1.20 removes a deleted pod's container before it has read its exit code.
        may_lose_ends: true,
        faults: Arc::new(KubernetesFaults { kubeconfig, docker: host }),
        ..docker
    })
}

/// What somebody may do who has our rights in the cluster, or is root on its node.
struct KubernetesFaults {
    kubeconfig: String,
    docker: String,
}

#[async_trait]
impl Faults for KubernetesFaults {
    /// Removes the container, which the kubelet makes again.
    async fn start_again(&self, handle: &Handle) -> Verdict {
        let daemon = Docker::connect_with_host(&self.docker).expect("the address is right");
        let labels = ["io.kubernetes.container.name=job".to_owned()];
        let filters = HashMap::from([("label".to_owned(), labels.to_vec())]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let containers = daemon.list_containers(Some(options)).await.expect("a list");
        let pod = |labels: &HashMap<String, String>| labels["io.kubernetes.pod.name"].starts_with(&handle.id);
        let ours = containers.into_iter().find(|it| it.labels.as_ref().is_some_and(pod)).expect("it runs there");
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        let id = ours.id.expect("it has an id");
        daemon.remove_container(&id, Some(options)).await.expect("it can be removed");
        Ok(())
    }

    async fn lose(&self, handle: &Handle) -> Verdict {
        let jobs: kube::Api<Job> = kube::Api::default_namespaced(client(&self.kubeconfig).await);
        jobs.delete(&handle.id, &DeleteParams::background()).await.expect("it can be deleted");
        Ok(())
    }
}

/// With the rights of this kubeconfig.
pub async fn client(kubeconfig: &str) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    kube::Client::try_from(config.expect("it is whole")).expect("it can be used")
}
