//! A Nomad agent for tests: the part of its HTTP interface that Haulier uses, as recordings of a real one show it. What
//! tokens may do is as Nomad 2.0 was seen to have it.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use bollard::Docker;
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    task::{JoinHandle, JoinSet, block_in_place},
    time::timeout,
};
use uuid::Uuid;

use super::{
    node::{self, LABEL},
    tokens::{Allowed, CAPABILITIES, needs},
    world::{Shared, World, fresh},
};

/// A running agent: server and client in one.
pub struct Server {
    pub address: SocketAddr,
    pub token: String,
    agent: Agent,
    docker_host: String,
    listener: JoinHandle<()>,
}

#[derive(Clone)]
struct Agent {
    world: Shared,
    docker: Docker,
    /// Who may do what.
    tokens: Arc<Mutex<HashMap<String, Allowed>>>,
    id: Arc<str>,
    /// What runs on the node.
    tasks: Arc<Mutex<JoinSet<()>>>,
}

type Parameters = Query<HashMap<String, String>>;

impl Server {
    pub async fn start(docker_host: &str) -> Self {
        let docker = Docker::connect_with_host(docker_host).expect("the address is right");
        let docker = docker.with_timeout(Duration::from_secs(600));
        let (token, id) = (fresh().to_string(), fresh().to_string());
        let agent = Agent {
            world: Arc::new(World::default()),
            docker,
            tokens: Arc::default(),
            id: id.as_str().into(),
            tasks: Arc::default(),
        };
        let router = Router::new()
            .route("/v1/jobs", get(jobs).post(register))
            .route("/v1/job/{id}", get(job).delete(deregister))
            .route("/v1/job/{id}/allocations", get(allocations))
            .route("/v1/job/{id}/evaluations", get(evaluations))
            .route("/v1/job/{id}/summary", get(summary))
            .route("/v1/allocations", get(all_allocations))
            .route("/v1/allocation/{id}", get(allocation))
            .route("/v1/allocation/{id}/stop", post(replace))
            .route("/v1/client/fs/logs/{id}", get(logs))
            .route("/v1/event/stream", get(events))
            .route("/v1/agent/self", get(agent_self))
            .route("/v1/status/leader", get(async || Json(json!("127.0.0.1:4647"))))
            .route("/v1/var/{*path}", put(keep_variable).delete(remove_variable))
            .layer(middleware::from_fn_with_state(agent.clone(), checked))
            .with_state(agent.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let listener = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let server = Self { address, token, agent, docker_host: docker_host.to_owned(), listener };
        server.allow(&server.token, &CAPABILITIES);
        server
    }
}

impl Server {
    /// How many jobs and variables there are.
    pub fn count(&self) -> (usize, usize) {
        let state = self.agent.world.state();
        (state.jobs.len(), state.variables.len())
    }

    /// Lets the token do this, and nothing else.
    pub fn allow(&self, token: &str, capabilities: &[&str]) {
        self.agent
            .tokens
            .lock()
            .expect("nobody has panicked with it")
            .insert(token.to_owned(), Allowed::of(capabilities));
    }

    /// Removes whatever the node has started.
    fn remove_containers(&self) {
        let script = "docker ps -aq --filter label=$0 | xargs -r docker rm -fv";
        let label = format!("{LABEL}={}", self.agent.id);
        let _ = Command::new("sh").args(["-c", script, &label]).env("DOCKER_HOST", &self.docker_host).output();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listener.abort();
        for allocation in self.agent.world.state().allocations.values() {
            allocation.stop.send_replace(true);
        }
        self.remove_containers();
        // A container may be in the making: it goes with its task.
        let tasks = std::mem::take(&mut *self.agent.tasks.lock().expect("nobody has panicked with it"));
        let end = timeout(Duration::from_secs(20), tasks.join_all());
        let _ = block_in_place(|| Handle::current().block_on(end));
        self.remove_containers();
    }
}

fn text(status: u16, words: impl Into<String>) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], words.into()).into_response()
}

fn denied() -> Response {
    text(403, "Permission denied")
}

/// The token, and the index that every answer carries.
async fn checked(
    State(agent): State<Agent>,
    Query(parameters): Parameters,
    mut request: Request,
    next: Next,
) -> Response {
    if request.uri().path() != "/v1/status/leader" {
        let token = request.headers().get("x-nomad-token").and_then(|token| token.to_str().ok());
        let Some(token) = token else { return denied() };
        let known = agent.tokens.lock().expect("nobody has panicked with it").get(token).cloned();
        match known {
            Some(allowed) => {
                if needs(request.method(), request.uri().path()).is_some_and(|needed| !allowed.includes(needed)) {
                    return denied();
                }
                request.extensions_mut().insert(allowed);
            }
            None if Uuid::parse_str(token).is_ok() => return text(403, "ACL token not found"),
            None => return text(500, "acl token lookup failed: index error: UUID must be 36 characters"),
        }
    }
    // A question that waits for a change.
    if let Some(index) = parameters.get("index").and_then(|index| index.parse::<u64>().ok()) {
        let mut changed = agent.world.changed.subscribe();
        let wait = parameters.get("wait").and_then(|wait| wait.strip_suffix('s')?.parse().ok()).unwrap_or(300);
        let newer = changed.wait_for(|now| *now > index);
        let _ = tokio::time::timeout(Duration::from_secs(wait), newer).await;
    }
    let index = agent.world.state().index();
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-nomad-index", index.into());
    response
}

async fn register(State(agent): State<Agent>, Extension(allowed): Extension<Allowed>, body: Bytes) -> Response {
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) if body.is_empty() => return text(400, format!("EOF {error}")),
        Err(_) => return text(400, "invalid character 'b' looking for beginning of object key string"),
    };
    match agent.world.register(&request, allowed.includes("submit-job")) {
        Err((status, words)) => text(status, words),
        Ok((answer, allocation)) => {
            if let Some(allocation) = allocation {
                agent.run(allocation, request["Job"]["TaskGroups"][0]["Tasks"][0].clone());
            }
            Json(answer).into_response()
        }
    }
}

impl Agent {
    fn run(&self, allocation: String, task: Value) {
        let task = node::run(self.world.clone(), self.docker.clone(), self.id.to_string(), allocation, task);
        self.tasks.lock().expect("nobody has panicked with it").spawn(task);
    }
}

async fn jobs(State(agent): State<Agent>, Query(parameters): Parameters) -> Response {
    let state = agent.world.state();
    let prefix = parameters.get("prefix").map_or("", String::as_str);
    let stubs = state.jobs.iter().filter(|(id, _)| id.starts_with(prefix)).map(|(id, job)| {
        let mut stub = json!({"JobSummary": state.summary(id), "StatusDescription": "", "Periodic": false,
            "ParameterizedJob": false, "Multiregion": null, "Namespace": ""});
        for key in [
            "ID",
            "ParentID",
            "Name",
            "Datacenters",
            "Type",
            "Priority",
            "Stop",
            "Status",
            "CreateIndex",
            "ModifyIndex",
            "JobModifyIndex",
            "SubmitTime",
        ] {
            stub[key] = job[key].clone();
        }
        stub
    });
    Json(stubs.collect::<Value>()).into_response()
}

async fn job(State(agent): State<Agent>, Path(id): Path<String>) -> Response {
    match agent.world.state().jobs.get(&id) {
        Some(job) => Json(job.clone()).into_response(),
        None => text(404, "job not found"),
    }
}

async fn deregister(State(agent): State<Agent>, Path(id): Path<String>, Query(parameters): Parameters) -> Response {
    let purge = parameters.get("purge").is_some_and(|purge| purge == "true");
    Json(agent.world.deregister(&id, purge)).into_response()
}

async fn allocations(State(agent): State<Agent>, Path(id): Path<String>) -> Json<Value> {
    Json(json!(agent.world.state().allocations_of(&id)))
}

async fn evaluations(State(agent): State<Agent>, Path(id): Path<String>) -> Json<Value> {
    let state = agent.world.state();
    Json(state.evaluations.iter().filter(|evaluation| evaluation["JobID"] == id).cloned().collect())
}

async fn summary(State(agent): State<Agent>, Path(id): Path<String>) -> Response {
    let state = agent.world.state();
    if state.jobs.contains_key(&id) { Json(state.summary(&id)).into_response() } else { text(404, "job not found") }
}

async fn all_allocations(State(agent): State<Agent>, Query(parameters): Parameters) -> Json<Value> {
    let state = agent.world.state();
    let most = parameters.get("per_page").and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
    Json(state.allocations.values().map(|allocation| allocation.value.clone()).take(most).collect())
}

async fn allocation(State(agent): State<Agent>, Path(id): Path<String>) -> Response {
    if Uuid::parse_str(&id).is_err() {
        return text(500, "alloc lookup failed: index error: UUID must be 36 characters");
    }
    match agent.world.state().allocations.get(&id) {
        Some(allocation) => Json(allocation.value.clone()).into_response(),
        None => text(404, "alloc not found"),
    }
}

async fn replace(State(agent): State<Agent>, Path(id): Path<String>) -> Response {
    let Some((answer, new)) = agent.world.replace(&id) else { return text(404, "alloc not found") };
    let state = agent.world.state();
    let job = state.allocations[&new].value["JobID"].as_str().unwrap_or_default().to_owned();
    let task = state.jobs[&job]["TaskGroups"][0]["Tasks"][0].clone();
    drop(state);
    agent.run(new, task);
    Json(answer).into_response()
}

async fn logs(
    State(agent): State<Agent>,
    Extension(allowed): Extension<Allowed>,
    Path(id): Path<String>,
    Query(parameters): Parameters,
) -> Response {
    let parameter = |name: &str| parameters.get(name).map_or("", String::as_str);
    if parameter("task").is_empty() {
        return text(400, "must provide task name");
    }
    let file = match parameter("type") {
        "stdout" => 0,
        "stderr" => 1,
        _ => return text(400, "must provide log type (stdout/stderr)"),
    };
    if Uuid::parse_str(&id).is_err() {
        return text(500, "alloc lookup failed: index error: UUID must be 36 characters");
    }
    let state = agent.world.state();
    let Some(allocation) = state.allocations.get(&id) else {
        return text(404, format!("Unknown allocation {id:?}"));
    };
    if !allowed.includes("read-logs") {
        return text(500, "Permission denied");
    }
    if parameter("task") != "main" {
        return text(400, format!("unknown task name {:?}", parameter("task")));
    }
    if allocation.value["TaskStates"]["main"]["StartedAt"].is_null() {
        return text(404, "task \"main\" not started yet. No logs available");
    }
    let output = &allocation.output[file];
    let offset = parameter("offset").parse().unwrap_or(0usize).min(output.len());
    let from = if parameter("origin") == "end" { output.len() - offset } else { offset };
    ([(header::CONTENT_TYPE, "text/plain")], output[from..].to_vec()).into_response()
}

/// Whoever may not read jobs gets no events, and is not told so.
async fn events(State(agent): State<Agent>, Extension(allowed): Extension<Allowed>) -> Response {
    let allowed = allowed.includes("read-job");
    let receiver = agent.world.events.subscribe();
    let live = stream::unfold(receiver, move |mut receiver| async move {
        let event = receiver.recv().await.ok()?;
        if !allowed {
            std::future::pending::<()>().await;
        }
        Some((Ok::<_, Infallible>(format!("{event}\n")), receiver))
    });
    let first = stream::once(async { Ok("{}".to_owned()) });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(first.chain(live))).into_response()
}

async fn agent_self() -> Json<Value> {
    Json(
        json!({"member": {"Name": "vm.global", "Tags": {"build": "1.0.18", "role": "nomad"}}, "config": {}, "stats": {}}),
    )
}

async fn keep_variable(
    State(agent): State<Agent>,
    Extension(allowed): Extension<Allowed>,
    Path(path): Path<String>,
    Query(parameters): Parameters,
    body: Bytes,
) -> Response {
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(items) = value["Items"].as_object().filter(|items| !items.is_empty()) else {
        return text(400, "variable missing required Items object");
    };
    if !allowed.includes("write") {
        return denied();
    }
    if items.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum::<usize>() > 65_536 {
        return text(400, "RPC Error:: 400,variables are limited to 64KiB in total size");
    }
    if path.len() > 128 {
        return text(400, format!("RPC Error:: 400,invalid path {path:?}"));
    }
    let mut state = agent.world.state();
    if let Some(known) = state.variables.get(&path)
        && parameters.get("cas").is_some_and(|cas| cas == "0")
    {
        return (StatusCode::CONFLICT, Json(known.clone())).into_response();
    }
    state.variables.insert(path, value.clone());
    Json(value).into_response()
}

async fn remove_variable(
    State(agent): State<Agent>,
    Extension(allowed): Extension<Allowed>,
    Path(path): Path<String>,
) -> Response {
    if !allowed.includes("destroy") {
        return denied();
    }
    agent.world.state().variables.remove(&path);
    StatusCode::NO_CONTENT.into_response()
}
