//! What the swarm knows of our services, asked for once for all who want to know.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bollard::{
    errors::Error,
    models::{NodeState, Service, Task},
    query_parameters::{ListServicesOptions, ListTasksOptions},
};
use tokio::{sync::Mutex, time::Instant};

use super::render::NOWHERE;
use crate::{
    domain::{AttemptId, InstallationId, Timestamp, WorkloadName},
    engines::{
        EngineError, Handle,
        docker_api::{
            client::{Client, QUICK},
            errors::classify,
            moment,
        },
        label,
    },
};

/// How old an answer may be for those who only wait for a change.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// How old an answer about nodes may be.
pub(super) const NODES: Duration = Duration::from_secs(5);

/// One service of ours, with its tasks.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) id: String,
    pub(super) attempt: AttemptId,
    pub(super) image: String,
    pub(super) created_at: Timestamp,
    /// Whether it was stopped: no node may run it any more.
    pub(super) stopped: bool,
    /// How often its task was made anew because the image could not be had.
    pub(super) tries: u64,
    /// Oldest first, without those that exist only because it was stopped.
    pub(super) tasks: Vec<Task>,
}

/// All services of ours at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    begun: Instant,
    workloads: HashMap<AttemptId, Workload>,
}

impl Snapshot {
    /// What the handle stands for, by the service's id or its name.
    pub(super) fn of(&self, handle: &Handle) -> Option<&Workload> {
        let found = self.workloads.get(&handle.attempt)?;
        (found.id == handle.id || handle.attempt.workload_name().as_str() == handle.id).then_some(found)
    }

    pub(super) fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values()
    }
}

/// One node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) name: String,
    /// Since when this side has seen it down.
    pub(super) down_since: Option<Instant>,
    /// When the swarm last noted something new about it: that it came up or went down, most often.
    pub(super) noted_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Nodes {
    begun: Option<Instant>,
    all: Arc<HashMap<String, Node>>,
}

/// The swarm, as one owner sees it.
#[derive(Debug)]
pub(super) struct Cluster {
    client: Arc<Client>,
    owner: InstallationId,
    latest: Mutex<Option<Arc<Snapshot>>>,
    nodes: Mutex<Nodes>,
}

impl Cluster {
    pub(super) fn new(client: Arc<Client>, owner: InstallationId) -> Self {
        Self { client, owner, latest: Mutex::default(), nodes: Mutex::default() }
    }

    /// Our services as they stood at most so long ago. Who asks meanwhile shares the answer.
    pub(super) async fn snapshot(&self, max_age: Duration) -> Result<Arc<Snapshot>, EngineError> {
        let asked = Instant::now();
        let mut latest = self.latest.lock().await;
        if let Some(snapshot) = latest.as_ref().filter(|snapshot| snapshot.begun + max_age >= asked) {
            return Ok(snapshot.clone());
        }
        let begun = Instant::now();
        // Tasks first: then a service that has none is new, and a task that has no service is one that goes.
        let tasks = self.tasks().await.map_err(|error| classify("list the tasks", error))?;
        let services = self.services().await.map_err(|error| classify("list the services", error))?;
        let snapshot = Arc::new(Snapshot { begun, workloads: join(services, tasks) });
        *latest = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// All nodes, by id, as they stood at most so long ago.
    pub(super) async fn nodes(&self, max_age: Duration) -> Result<Arc<HashMap<String, Node>>, EngineError> {
        let asked = Instant::now();
        let mut nodes = self.nodes.lock().await;
        if nodes.begun.is_some_and(|begun| begun + max_age >= asked) {
            return Ok(nodes.all.clone());
        }
        let begun = Instant::now();
        let answer = self.client.call(QUICK, |docker| async move { docker.list_nodes(None).await }).await;
        let answer = answer.map_err(|error| classify("list the nodes", error))?;
        let all = answer.into_iter().filter_map(|node| {
            let id = node.id?;
            let down = node.status.and_then(|status| status.state) == Some(NodeState::DOWN);
            let name = node.description.and_then(|description| description.hostname).unwrap_or_else(|| id.clone());
            let noted_at = moment(node.updated_at.as_deref());
            // It may have been up between two looks.
            let known = nodes.all.get(&id).filter(|known| known.noted_at == noted_at).and_then(|node| node.down_since);
            Some((id, Node { name, down_since: down.then(|| known.unwrap_or(begun)), noted_at }))
        });
        let all: Arc<HashMap<_, _>> = Arc::new(all.collect());
        *nodes = Nodes { begun: Some(begun), all: all.clone() };
        Ok(all)
    }

    /// A filter for what carries our owner's label.
    pub(super) fn ours(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{}={}", label::OWNER, self.owner)])])
    }

    async fn tasks(&self) -> Result<Vec<Task>, Error> {
        let options = ListTasksOptions { filters: Some(self.ours()) };
        self.client.call(QUICK, |docker| async move { docker.list_tasks(Some(options)).await }).await
    }

    async fn services(&self) -> Result<Vec<Service>, Error> {
        let options = ListServicesOptions { filters: Some(self.ours()), status: None };
        self.client.call(QUICK, |docker| async move { docker.list_services(Some(options)).await }).await
    }
}

/// Puts tasks to their services. What has no name of ours is not ours.
fn join(services: Vec<Service>, tasks: Vec<Task>) -> HashMap<AttemptId, Workload> {
    let mut by_service: HashMap<String, Vec<Task>> = HashMap::new();
    let mut seen = HashSet::new();
    for mut task in tasks {
        let Some(service) = task.service_id.clone() else { continue };
        if is_nowhere(&task) || !seen.insert(task.id.clone()) {
            continue;
        }
        // It holds the environment, and with it secrets: nobody needs that.
        if let Some(container) = task.spec.as_mut().and_then(|spec| spec.container_spec.as_mut()) {
            container.env = None;
        }
        by_service.entry(service).or_default().push(task);
    }
    let workloads = services.into_iter().filter_map(|service| {
        let (id, spec) = (service.id?, service.spec?);
        let attempt = WorkloadName::attempt(spec.name.as_deref()?)?;
        let template = spec.task_template.unwrap_or_default();
        let mut tasks = by_service.remove(&id).unwrap_or_default();
        // As times, for as texts one with fewer digits comes last.
        tasks.sort_by_cached_key(|task| moment(task.created_at.as_deref()));
        let workload = Workload {
            attempt,
            created_at: moment(service.created_at.as_deref()).unwrap_or(Timestamp::from_micros(0)),
            stopped: template.placement.as_ref().is_some_and(has_nowhere),
            tries: template.force_update.unwrap_or_default(),
            image: template.container_spec.and_then(|container| container.image).unwrap_or_default(),
            tasks,
            id,
        };
        Some((attempt, workload))
    });
    workloads.collect()
}

fn is_nowhere(task: &Task) -> bool {
    task.spec.as_ref().and_then(|spec| spec.placement.as_ref()).is_some_and(has_nowhere)
}

pub(super) fn has_nowhere(placement: &bollard::models::TaskSpecPlacement) -> bool {
    placement.constraints.iter().flatten().any(|constraint| constraint == NOWHERE)
}

impl Workload {
    /// The task that matters: the newest that a node has begun to run, else the newest.
    pub(super) fn task(&self) -> Option<&Task> {
        let ran = |task: &&Task| container(task).is_some();
        self.tasks.iter().rev().find(ran).or(self.tasks.last())
    }
}

/// The container that a node has made for the task.
pub(super) fn container(task: &Task) -> Option<&str> {
    let id = task.status.as_ref()?.container_status.as_ref()?.container_id.as_deref()?;
    Some(id).filter(|id| !id.is_empty())
}
