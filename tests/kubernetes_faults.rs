//! What happens to a cluster while jobs run on it: its parts die and come back, somebody deletes things. One at a time,
//! and in a binary of their own, for they would disturb every other test.

use std::{env, path::PathBuf, process::Command, sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::query_parameters::KillContainerOptions;
use haulier::engines::{
    LaunchFailure, WorkloadPhase,
    contract::{self, Faults, Skipped, SlowImage, Step, Subject, Verdict, eventually, run_case},
    simulated::{SimulatedControl, SimulatedEngine},
};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::api::{DeleteParams, ListParams};
use tokio::sync::Mutex;

#[path = "kubernetes/subject.rs"]
mod kubernetes_subject;
mod subject;

use kubernetes_subject::node::{self, Node};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A cluster that was started by the scripts of this directory, and may be broken with them.
struct Cluster {
    scripts: PathBuf,
}

impl Cluster {
    fn new() -> Result<Self, String> {
        let scripts = env::var_os("HAULIER_TEST_KUBERNETES")
            .ok_or("there is no Kubernetes that may be broken: set HAULIER_TEST_KUBERNETES to its scripts")?;
        Ok(Self { scripts: scripts.into() })
    }

    /// Starts whatever does not run; the administrator's kubeconfig.
    fn up(&self) -> String {
        let output = Command::new(self.scripts.join("up")).output().expect("it can be called");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = String::from_utf8(output.stdout).expect("text");
        let line = output.lines().find_map(|line| line.strip_prefix("KUBECONFIG="));
        line.expect("it names its kubeconfig").to_owned()
    }

    fn kubelet(&self, what: &str) {
        let status = Command::new(self.scripts.join("kubelet")).arg(what).status().expect("it can be called");
        assert!(status.success(), "kubelet {what}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new(self.scripts.join("up")).output();
    }
}

/// Kills the API server as a power cut would.
struct ApiServer(Cluster);

#[async_trait]
impl Faults for ApiServer {
    async fn interrupt(&self) -> Verdict {
        let kubeconfig = PathBuf::from(self.0.up());
        let pid = kubeconfig.with_file_name("run").join("kube-apiserver.pid");
        let pid = std::fs::read_to_string(pid).map_err(|_| Skipped("the API server's process is not known"))?;
        let killed = Command::new("kill").args(["-9", pid.trim()]).status().expect("there is a kill");
        assert!(killed.success());
        Ok(())
    }

    async fn restore(&self) {
        self.0.up();
    }
}

fn subject() -> Result<Subject, String> {
    let control = SimulatedControl::default();
    let slow_image = SlowImage::None(Skipped("no case here is about it"));
    let docker = subject::subject("docker", slow_image, Arc::new(contract::NoFaults), |owner| {
        Arc::new(SimulatedEngine::new(owner, control.clone()))
    })?;
    kubernetes_subject::subject(docker)
}

fn both() -> Result<(Cluster, Subject), String> {
    let cluster = Cluster::new()?;
    Ok((cluster, subject()?))
}

/// The contract's own case: nothing is known while the API server is away, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn api_server_killed_and_back() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let subject = both().map(|(cluster, subject)| Subject { faults: Arc::new(ApiServer(cluster)), ..subject });
    let case = |subject: Arc<Subject>| async move { contract::engine_gone_and_back(&subject).await };
    contract::run_contract_case("kubernetes", "engine_gone_and_back", subject, case).await;
}

/// Sends TERM to a container's script, without telling the cluster.
async fn terminate(node: &Node, id: &str) {
    match node {
        Node::Docker(daemon) => {
            let options = KillContainerOptions { signal: "TERM".to_owned() };
            daemon.kill_container(id, Some(options)).await.expect("it can be told");
        }
        Node::Cri(crictl) => drop(node::call(crictl, &["stop", "--timeout", "60", id]).await),
    }
}

/// What ends while the node's kubelet is down has its true end when that is back, and its output.
#[tokio::test(flavor = "multi_thread")]
async fn kubelet_down_while_the_script_ends() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let (cluster, subject) = match both() {
        Ok((cluster, subject)) => (Some(cluster), Ok(subject)),
        Err(why) => (None, Err(why)),
    };
    run_case("kubelet_down_while_the_script_ends", subject, |subject| async move {
        let cluster = cluster.expect("a subject comes with its cluster");
        let on_term = Step::Shell("trap 'echo late; exit 4' TERM");
        let steps = [on_term, Step::Print("begun"), Step::Shell("while :; do sleep 0.05; done")];
        let handle = subject.launch(&subject.spec(&steps)).await;
        subject.running(&handle).await;
        subject.begun(&handle).await;
        let execution = subject.observe(&handle).await.execution;
        cluster.kubelet("stop");
        let node = Node::connect().expect("a subject comes with its node");
        terminate(&node, &node.container(&handle.id).await.id).await;
        eventually("the container has ended", || async { node.container(&handle.id).await.ended.then_some(()) }).await;
        // Nobody has told the cluster.
        assert!(matches!(subject.observe(&handle).await.phase, WorkloadPhase::Running(_)));
        cluster.kubelet("start");
        let exit = subject.end(&handle).await;
        assert_eq!((exit.code, exit.failure), (Some(4), None));
        assert_eq!(subject.observe(&handle).await.execution, execution);
        assert_eq!(subject.output(&handle, haulier::engines::LogSource::Stdout).await, b"begun\nlate\n");
        Ok(())
    })
    .await;
}

/// The first pod's answer counts, and it is no success. The job controller of clusters that know no
/// `podReplacementPolicy` starts another one, and that there were two is seen; others start none.
#[tokio::test(flavor = "multi_thread")]
async fn pod_deleted_behind_our_back() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let made = both();
    let admin = made.as_ref().ok().map(|(cluster, _)| cluster.up());
    let (_cluster, subject) = match made {
        Ok((cluster, subject)) => (Some(cluster), Ok(subject)),
        Err(why) => (None, Err(why)),
    };
    run_case("pod_deleted_behind_our_back", subject, |subject| async move {
        let handle = subject.launch(&subject.spec(&[Step::Print("ready"), Step::AwaitTerm(0)])).await;
        subject.running(&handle).await;
        let first = subject.observe(&handle).await.execution.expect("an execution has a name");
        let client = kubernetes_subject::client(&admin.expect("the administrator's kubeconfig")).await;
        let pods: kube::Api<Pod> = kube::Api::namespaced(client.clone(), "haulier");
        let ours = ListParams::default().labels(&format!("job-name={}", handle.id));
        for pod in pods.list(&ours).await.unwrap() {
            pods.delete(&pod.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
        }
        let exit = subject.end(&handle).await;
        assert!(matches!(exit.failure, Some(LaunchFailure::Evicted(_))), "{exit:?}");
        let jobs: kube::Api<Job> = kube::Api::namespaced(client, "haulier");
        let job = jobs.get(&handle.id).await.unwrap();
        if job.spec.is_some_and(|spec| spec.pod_replacement_policy.is_some()) {
            eventually("the job is over", || async {
                let status = jobs.get(&handle.id).await.unwrap().status;
                let conditions = status.and_then(|status| status.conditions).unwrap_or_default();
                let over = |kind: &str| kind == "Complete" || kind == "Failed";
                conditions.iter().any(|it| over(&it.type_) && it.status == "True").then_some(())
            })
            .await;
            assert_eq!(subject.observe(&handle).await.execution, Some(first));
        } else {
            eventually("the second execution is seen", || async {
                let seen = subject.observe(&handle).await.execution?;
                // A node that loses how a container has ended loses its name, too.
                (seen != first && (seen.starts_with(&first) || subject.may_lose_ends)).then_some(())
            })
            .await;
        }
        assert_eq!(subject.end(&handle).await, exit, "the first answer stays");
        // All are removed, also one that still runs.
        eventually("it can be removed", || async { subject.engine.remove(&handle).await.ok() }).await;
        assert_eq!(subject.engine.list().await.unwrap(), Vec::new());
        Ok(())
    })
    .await;
}

/// Cancelled while its node is silent: nothing is claimed until the node speaks, and then it is the truth.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_while_the_kubelet_is_down() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let (cluster, subject) = match both() {
        Ok((cluster, subject)) => (Some(cluster), Ok(subject)),
        Err(why) => (None, Err(why)),
    };
    run_case("stopped_while_the_kubelet_is_down", subject, |subject| async move {
        let cluster = cluster.expect("a subject comes with its cluster");
        let handle = subject.launch(&subject.spec(&[Step::Print("ready"), Step::AwaitTerm(7)])).await;
        subject.running(&handle).await;
        subject.begun(&handle).await;
        cluster.kubelet("stop");
        subject.engine.stop(&handle, Duration::from_secs(10)).await.expect("the API server takes it");
        assert!(matches!(subject.observe(&handle).await.phase, WorkloadPhase::Running(_)));
        cluster.kubelet("start");
        let exit = subject.end(&handle).await;
        assert_eq!((exit.code, exit.failure), (Some(7), None));
        Ok(())
    })
    .await;
}
