//! The real cluster, as the contract wants it.

use std::{env, sync::Arc};

use async_trait::async_trait;
use haulier::{
    domain::InstallationId,
    engines::{
        Engine, Handle,
        contract::{Faults, NotApplicable, Subject, Verdict},
        kubernetes::{KubernetesConfig, KubernetesEngine},
    },
};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    api::DeleteParams,
    config::{KubeConfigOptions, Kubeconfig},
};

#[path = "node.rs"]
pub mod node;

use node::Node;

/// The cluster that `HAULIER_TEST_KUBECONFIG` names. `docker`: an engine on its node's machine, whose images and
/// registries are the node's too.
pub fn subject(docker: Subject) -> Result<Subject, String> {
    let kubeconfig = env::var("HAULIER_TEST_KUBECONFIG")
        .map_err(|_| "there is no Kubernetes: set HAULIER_TEST_KUBECONFIG to a kubeconfig".to_owned())?;
    let node = Node::connect()?;
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
        may_lose_ends: matches!(node, Node::Docker(_)),
        faults: Arc::new(KubernetesFaults { kubeconfig, node }),
        ..docker
    })
}

/// What somebody may do who has our rights in the cluster, or is root on its node.
struct KubernetesFaults {
    kubeconfig: String,
    node: Node,
}

#[async_trait]
impl Faults for KubernetesFaults {
    /// Removes the container, which an old kubelet makes again.
    async fn start_again(&self, handle: &Handle) -> Verdict {
        if matches!(self.node, Node::Cri(_)) {
            return Err(NotApplicable("its kubelet starts no container a second time"));
        }
        let container = self.node.container(&handle.id).await;
        assert!(!container.ended, "it runs there");
        self.node.remove(&container.id).await;
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
