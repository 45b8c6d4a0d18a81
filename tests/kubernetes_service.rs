//! The whole service on a real cluster: what a user is told of each end, and that nothing runs twice when the service
//! dies at any step.

use std::{path::Path, process::Command, time::Duration};

use haulier::{
    api::types::RunView,
    client::Client,
    domain::{ErrorCode, JobSpec, RunId, RunRequest, RunState, WaitReason},
    engines::{
        contract::{eventually, skipped},
        label,
    },
};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Secret},
};
use kube::{
    Api,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use served::{Served, TOKEN};
use tempfile::TempDir;

#[path = "served/mod.rs"]
mod served;

const PATIENCE: Duration = Duration::from_secs(120);

struct Serve {
    served: Served,
    client: Client,
    dir: TempDir,
    kubeconfig: String,
}

impl Serve {
    /// A service on the real cluster; `None`, told visibly, where there is none.
    fn start(case: &str, fail_points: &str) -> Option<Self> {
        let Ok(kubeconfig) = std::env::var("HAULIER_TEST_KUBECONFIG") else {
            skipped(case, "there is no Kubernetes: set HAULIER_TEST_KUBECONFIG, and use tests/support/test");
            return None;
        };
        let dir = TempDir::new().unwrap();
        let config = format!("[engines.cluster]\nkind = \"kubernetes\"\nkubeconfig = \"{kubeconfig}\"\n");
        std::fs::write(dir.path().join("haulier.toml"), config).unwrap();
        let (served, client) = serve(dir.path(), fail_points);
        Some(Self { served, client, dir, kubeconfig })
    }

    /// Starts the next service on the same data, without fail points.
    fn restart(&mut self) {
        (self.served, self.client) = serve(self.dir.path(), "");
    }

    async fn died(&mut self) {
        let served = std::sync::Mutex::new(&mut self.served);
        eventually("the service has died", || async { served.lock().unwrap().has_ended().then_some(()) }).await;
    }

    async fn apply(&self, script: &str, more: Value) {
        let mut spec = json!({
            "name": "a",
            "image": std::env::var("HAULIER_TEST_IMAGE").unwrap(),
            "command": ["sh", "-c", script],
            "kill_grace_seconds": 5,
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let spec: JobSpec = serde_json::from_value(spec).unwrap();
        self.client.apply_job(&spec).await.unwrap();
    }

    async fn trigger(&self) -> RunId {
        self.client.trigger("a", &RunRequest::default(), None).await.unwrap().run.id
    }

    /// Triggers a run that the service dies of, and starts the next service. The first one may have died before it
    /// could answer: whoever repeats the request gets the same run.
    async fn trigger_and_die(&mut self) -> RunId {
        let (asked, key) = (RunRequest::default(), Some("the-last-one"));
        let _ = self.client.trigger("a", &asked, key).await;
        self.died().await;
        self.restart();
        let again = self.client.trigger("a", &asked, key).await.unwrap();
        assert!(again.replayed);
        again.run.id
    }

    async fn end(&self, run: RunId) -> RunView {
        tokio::time::timeout(PATIENCE, self.client.wait(run)).await.expect("the run ends").unwrap()
    }

    async fn until(&self, what: &str, run: RunId, holds: impl Fn(&RunView) -> bool) -> RunView {
        eventually(what, || async {
            let view = self.client.run(run, 0).await.unwrap();
            assert!(!view.finished || holds(&view), "it has ended: {view:?}");
            holds(&view).then_some(view)
        })
        .await
    }

    async fn log(&self, run: RunId) -> Vec<String> {
        let (mut offset, mut texts) = (0, Vec::new());
        loop {
            let page = self.client.log(run, offset, 10).await.unwrap();
            texts.extend(page.records.into_iter().map(|record| record.text));
            offset = page.next_offset;
            if page.end {
                return texts;
            }
        }
    }

    /// Nothing that was made for the run is left in the cluster.
    async fn gone(&self, run: RunId) {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let (jobs, pods) =
            (Api::<Job>::default_namespaced(client.clone()), Api::<Pod>::default_namespaced(client.clone()));
        let ours = ListParams::default().labels(&format!("{}={run}", label::RUN));
        // Secrets cannot be listed with these rights.
        let secrets = Api::<Secret>::default_namespaced(client);
        let name = haulier::domain::AttemptId { run, number: 1 }.workload_name().to_string();
        eventually("nothing is left of it", || async {
            let left = jobs.list(&ours).await.unwrap().items.len() + pods.list(&ours).await.unwrap().items.len();
            (left == 0 && secrets.get_opt(&name).await.unwrap().is_none()).then_some(())
        })
        .await;
    }
}

fn serve(dir: &Path, fail_points: &str) -> (Served, Client) {
    let served = Served::start(Command::new(env!("CARGO_BIN_EXE_haulier")), dir, fail_points);
    let client = Client::new(&served.url, TOKEN.into(), None).unwrap();
    (served, client)
}

/// One true answer from one execution, whenever the service died.
async fn dies_at(point: &str) {
    let Some(mut service) = Serve::start(point, &format!("{point}=return")) else { return };
    service.apply("echo begin; sleep 1; echo end; exit 7", json!({})).await;
    let run = service.trigger_and_die().await;
    let view = service.end(run).await;
    assert_eq!((view.state, view.exit_code, view.attempt), (RunState::Failed, Some(7), 1), "{view:?}");
    assert_eq!(service.log(run).await, ["begin", "end"]);
    assert!(view.log.complete, "{view:?}");
    service.gone(run).await;
}

#[tokio::test]
async fn dies_before_the_cluster_is_asked() {
    dies_at("intended").await;
}

#[tokio::test]
async fn dies_when_the_cluster_has_the_job() {
    dies_at("launched").await;
}

#[tokio::test]
async fn dies_before_the_handle_is_stored() {
    dies_at("started").await;
}

#[tokio::test]
async fn dies_before_the_output_is_read_to_its_end() {
    dies_at("ended").await;
}

#[tokio::test]
async fn dies_before_the_result_is_stored() {
    dies_at("collected").await;
}

/// Replaced in the middle of a run, without any warning.
#[tokio::test]
async fn is_killed_while_the_script_runs() {
    let Some(mut service) = Serve::start("is_killed_while_the_script_runs", "") else { return };
    service.apply("echo begin; sleep 4; echo end; exit 3", json!({})).await;
    let run = service.trigger().await;
    service.until("it runs", run, |view| view.state == RunState::Running).await;
    service.served.kill();
    service.restart();
    let view = service.end(run).await;
    assert_eq!((view.state, view.exit_code, view.attempt), (RunState::Failed, Some(3), 1), "{view:?}");
    assert_eq!(service.log(run).await, ["begin", "end"]);
    service.gone(run).await;
}

#[tokio::test]
async fn a_missing_image_is_told() {
    let Some(service) = Serve::start("a_missing_image_is_told", "") else { return };
    let registry = std::env::var("HAULIER_TEST_REGISTRY").unwrap();
    service.apply("exit 0", json!({"image": format!("{registry}/haulier-test/no-such-image:1")})).await;
    let run = service.trigger().await;
    let view = service.end(run).await;
    let error = view.error.expect("an error");
    assert_eq!((view.state, error.code, view.exit_code), (RunState::Failed, ErrorCode::ImagePullFailed, None));
    assert!(error.message.contains("no-such-image"), "{}", error.message);
    service.gone(run).await;
}

#[tokio::test]
async fn want_of_room_is_told_and_ends_with_the_start_timeout() {
    let Some(service) = Serve::start("want_of_room_is_told_and_ends_with_the_start_timeout", "") else { return };
    let more = json!({"start_timeout_seconds": 4, "resources": {"memory_mb": 16_000_000}});
    service.apply("exit 0", more).await;
    let run = service.trigger().await;
    let waits = |view: &RunView| view.waiting.as_ref().is_some_and(|waiting| waiting.reason == WaitReason::NoCapacity);
    let view = service.until("it waits for room", run, waits).await;
    assert_eq!(view.state, RunState::Starting);
    let view = service.end(run).await;
    let error = view.error.expect("an error");
    assert_eq!((view.exit_code, error.code), (None, ErrorCode::StartTimeout));
    assert!(error.message.contains("nodes are available"), "{}", error.message);
    service.gone(run).await;
}

#[tokio::test]
async fn a_cancelled_run_keeps_its_output() {
    let Some(service) = Serve::start("a_cancelled_run_keeps_its_output", "") else { return };
    service.apply("trap 'echo asked; exit 7' TERM; echo begun; while :; do sleep 0.1; done", json!({})).await;
    let run = service.trigger().await;
    eventually("it has begun", || async {
        let page = service.client.log(run, 0, 0).await.unwrap();
        (!page.records.is_empty()).then_some(())
    })
    .await;
    service.client.cancel(run).await.unwrap();
    let view = service.end(run).await;
    assert_eq!((view.state, view.exit_code), (RunState::Cancelled, Some(7)), "{view:?}");
    assert_eq!(service.log(run).await, ["begun", "asked"]);
    service.gone(run).await;
}

/// A job that asks for what the cluster cannot do is refused, with the reason.
#[tokio::test]
async fn what_the_engine_cannot_do_is_refused_at_once() {
    let Some(service) = Serve::start("what_the_engine_cannot_do_is_refused_at_once", "") else { return };
    let spec = json!({"name": "a", "image": "busybox:1", "resources": {"pids": 10}});
    let spec: JobSpec = serde_json::from_value(spec).unwrap();
    let refused = service.client.apply_job(&spec).await.unwrap_err().to_string();
    assert!(refused.contains("cannot limit processes"), "{refused}");
}
