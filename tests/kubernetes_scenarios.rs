//! What one node cannot show: a small API server that answers as a real one was recorded to.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use futures::StreamExt;
use haulier::{
    domain::{AttemptId, InstallationId, RunId, WaitReason},
    engines::{
        Engine, Handle, LaunchFailure, Observation, Persistence, WorkloadPhase,
        kubernetes::{KubernetesConfig, KubernetesEngine},
        label,
    },
};
use serde_json::{Value, json};

/// A named situation of the cluster.
#[derive(Debug, Clone, Default)]
struct Scenario {
    pods: Vec<Value>,
    jobs: Vec<Value>,
    events: Vec<Value>,
    /// What each watch tells, before it ends.
    watch: Option<Value>,
    /// What everything is answered with instead.
    refusal: Option<(u16, Value)>,
}

struct Mock {
    engine: KubernetesEngine,
    handle: Handle,
    _dir: tempfile::TempDir,
}

fn recorded(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("kubernetes/recorded.json")).unwrap();
    assert!(!all[name].is_null(), "{name}");
    all[name].clone()
}

impl Mock {
    async fn start(mut scenario: Scenario) -> Self {
        let attempt = AttemptId { run: RunId::generate(), number: 1 };
        let labels = json!({label::RUN: attempt.run.to_string(), label::ATTEMPT: "1"});
        for object in scenario.pods.iter_mut().chain(&mut scenario.jobs) {
            object["metadata"]["labels"] = labels.clone();
            object["metadata"]["finalizers"] = json!(["haulier.io/record"]);
        }
        for job in &mut scenario.jobs {
            job["metadata"]["name"] = attempt.workload_name().as_str().into();
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::new(scenario));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "mock",
            "clusters": [{"name": "mock", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "mock", "user": {"token": "mock"}}],
            "contexts": [{"name": "mock", "context": {"cluster": "mock", "user": "mock", "namespace": "haulier"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        let config = KubernetesConfig { kubeconfig: Some(kubeconfig), ..KubernetesConfig::default() };
        let engine = KubernetesEngine::connect("mock", InstallationId::generate(), config).unwrap();
        Self { engine, handle: Handle { attempt, id: attempt.workload_name().to_string() }, _dir: dir }
    }

    async fn observe(&self) -> Observation {
        let mut seen = self.engine.observe(std::slice::from_ref(&self.handle)).await.unwrap();
        seen.remove(&self.handle.attempt).unwrap().unwrap()
    }
}

async fn answer(State(scenario): State<Arc<Scenario>>, request: Request) -> Response {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let respond = |status: u16, body: &Value| {
        let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
        response.header("content-type", "application/json").body(Body::from(format!("{body}\n"))).unwrap()
    };
    if let Some((status, body)) = &scenario.refusal {
        return respond(*status, body);
    }
    if query.contains("watch=true") {
        return respond(200, scenario.watch.as_ref().unwrap_or(&Value::Null));
    }
    let items = match path.rsplit('/').next().unwrap() {
        "pods" => &scenario.pods,
        "jobs" => &scenario.jobs,
        "events" => &scenario.events,
        other => panic!("nobody should ask for {other}"),
    };
    respond(200, &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
}

fn job() -> Value {
    json!({"metadata": {"uid": "a-job", "creationTimestamp": "2026-11-21T02:51:41Z"}, "status": {}})
}

/// The job is there and no pod comes: only an event says that the namespace's quota is used up.
#[tokio::test]
async fn quota_exceeded() {
    let events = vec![recorded("quota_exceeded")];
    let mock = Mock::start(Scenario { jobs: vec![job()], events, ..Scenario::default() }).await;
    let WorkloadPhase::Pending(WaitReason::NoCapacity, text) = mock.observe().await.phase else {
        panic!("it waits for room")
    };
    assert!(text.contains("exceeded quota"), "{text}");
}

/// The node ran out of something, and the kubelet threw the pod out.
#[tokio::test]
async fn evicted_by_its_node() {
    let mut pod = recorded("exit_139");
    pod["status"]["reason"] = "Evicted".into();
    pod["status"]["message"] = "The node was low on resource: memory.".into();
    let mock = Mock::start(Scenario { pods: vec![pod], ..Scenario::default() }).await;
    let WorkloadPhase::Exited(exit) = mock.observe().await.phase else { panic!("it has ended") };
    assert_eq!(exit.failure, Some(LaunchFailure::Evicted("The node was low on resource: memory.".to_owned())));
}

/// The node died, the cluster wants the pod gone, and nobody is there to end it.
#[tokio::test]
async fn node_lost() {
    // Recorded long ago: its time has passed.
    let mut pod = recorded("deleted_on_a_dead_node");
    pod["metadata"]["deletionTimestamp"] = "2020-01-01T00:00:00Z".into();
    let mock = Mock::start(Scenario { pods: vec![pod], ..Scenario::default() }).await;
    let WorkloadPhase::Exited(exit) = mock.observe().await.phase else { panic!("it is lost") };
    assert!(matches!(exit.failure, Some(LaunchFailure::Lost(_))), "{exit:?}");
}

/// Two pods for one attempt: the older one's answer counts, and both are named.
#[tokio::test]
async fn a_second_pod() {
    let pods = vec![recorded("its_replacement"), recorded("deleted_and_exits_0")];
    let mock = Mock::start(Scenario { pods, ..Scenario::default() }).await;
    let seen = mock.observe().await;
    let WorkloadPhase::Exited(exit) = seen.phase else { panic!("the first has ended") };
    assert!(matches!(exit.failure, Some(LaunchFailure::Evicted(_))), "{exit:?}");
    assert_eq!(seen.execution.unwrap().split('+').count(), 2);
}

/// A watch that has fallen too far behind says so in its stream, with status 200: it ends, and is opened anew.
#[tokio::test]
async fn a_watch_that_is_too_old_ends() {
    let mock = Mock::start(Scenario { watch: Some(recorded("watch_too_old")), ..Scenario::default() }).await;
    let changes = mock.engine.changes().collect::<Vec<_>>();
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), changes).await.expect("it ends"), []);
}

/// A list that went on for longer than the server remembers is no list, and never an absence.
#[tokio::test]
async fn a_list_that_expires_is_no_answer() {
    let refusal = Some((410, recorded("watch_too_old")["object"].clone()));
    let mock = Mock::start(Scenario { refusal, ..Scenario::default() }).await;
    assert_eq!(mock.engine.list().await.unwrap_err().persistence, Persistence::Temporary);
    let error = mock.engine.observe(std::slice::from_ref(&mock.handle)).await.unwrap_err();
    assert_eq!(error.persistence, Persistence::Temporary);
}

/// Credentials that are refused are told as such, with what to do.
#[tokio::test]
async fn credentials_refused() {
    let mock = Mock::start(Scenario { refusal: Some((401, recorded("unauthorized"))), ..Scenario::default() }).await;
    let error = mock.engine.list().await.unwrap_err();
    assert!(error.detail.contains("renew the credentials"), "{error}");
}
