//! What has become of services.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::Task,
    query_parameters::{ListConfigsOptions, ListSecretsOptions},
};

use super::{
    SwarmEngine,
    read::{Reading, read},
    snapshot::{NODES, Node, Workload},
};
use crate::{
    domain::{AttemptId, Timestamp, WorkloadName},
    engines::{
        EngineError, Exit, Found, Handle, LaunchFailure, Observation, Persistence, WorkloadPhase,
        docker_api::{
            client::QUICK,
            errors::{self, classify},
            moment,
            output::{beginning, complaint_of_init, first_errors},
        },
    },
};

/// How near to each other a task's end and its node's return are when the one is the other's doing.
const RESTART: Duration = Duration::from_secs(60);

impl SwarmEngine {
    pub(super) async fn observe_services(
        &self,
        of: &[Handle],
    ) -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError> {
        let snapshot = self.cluster.snapshot(Duration::ZERO).await?;
        let mut observations = HashMap::with_capacity(of.len());
        for handle in of {
            let observation = match snapshot.of(handle) {
                Some(workload) => self.observe_one(workload).await,
                None => Ok(Observation { execution: None, phase: WorkloadPhase::Absent }),
            };
            match observation {
                Err(error) if error.persistence == Persistence::Unreachable => return Err(error),
                observation => _ = observations.insert(handle.attempt, observation),
            }
        }
        Ok(observations)
    }

    async fn observe_one(&self, workload: &Workload) -> Result<Observation, EngineError> {
        let task = workload.task();
        let id = task.and_then(|task| task.id.as_deref());
        let mut phase = match read(workload, id.and_then(|id| self.started.get(id))) {
            Reading::Phase(phase) => phase,
            Reading::NoImage { task } => self.without_image(workload, &task).await?,
        };
        if let (Some(task), Some(id)) = (task, id) {
            match &mut phase {
                WorkloadPhase::Running(since) => {
                    self.started.insert(id.to_owned(), *since);
                    self.logins.remove(&workload.attempt);
                    if let Some(why) = self.lost_with_node(task).await? {
                        let failure = Some(LaunchFailure::Lost(why));
                        phase = WorkloadPhase::Exited(Exit { failure, started_at: Some(*since), ..Exit::default() });
                    }
                }
                // Nobody will start it elsewhere.
                WorkloadPhase::Pending(..) => {
                    if let Some(why) = self.lost_with_node(task).await? {
                        phase =
                            WorkloadPhase::Exited(Exit { failure: Some(LaunchFailure::Lost(why)), ..Exit::default() });
                    }
                }
                WorkloadPhase::Exited(exit) => self.explain(task, id, exit).await?,
                WorkloadPhase::Absent => {}
            }
        }
        let ran = matches!(&phase, WorkloadPhase::Running(_))
            || matches!(&phase, WorkloadPhase::Exited(exit) if exit.started_at.is_some());
        Ok(Observation { execution: id.filter(|_| ran).map(str::to_owned), phase })
    }

    /// Why a task that is said to run, or to be about to, does not: its node was down for too long, or is no longer one.
    async fn lost_with_node(&self, task: &Task) -> Result<Option<String>, EngineError> {
        let Some(id) = task.node_id.as_deref().filter(|id| !id.is_empty()) else { return Ok(None) };
        let limit = Duration::from_secs(self.config.node_lost_seconds);
        let known = self.cluster.nodes(NODES).await?;
        if loss(&known, id, limit).is_none() {
            return Ok(None);
        }
        // It may be back, and the task its first.
        Ok(loss(&*self.cluster.nodes(Duration::ZERO).await?, id, limit))
    }

    /// Finds out what an exit code alone does not tell.
    async fn explain(&self, task: &Task, id: &str, exit: &mut Exit) -> Result<(), EngineError> {
        if exit.failure.is_some() {
            return Ok(());
        }
        if let Some(known) = self.explained.get(id) {
            exit.failure = known;
            return Ok(());
        }
        exit.failure = match exit.code {
            Some(126 | 127) => self.complaint_of_init(id).await?.map(LaunchFailure::CommandNotFound),
            Some(137 | 143 | 255) => self.ended_with_node(task, exit).await?.map(LaunchFailure::Interrupted),
            _ => return Ok(()),
        };
        self.explained.insert(id.to_owned(), exit.failure.clone());
        Ok(())
    }

    async fn complaint_of_init(&self, task: &str) -> Result<Option<String>, EngineError> {
        let answer = self
            .client
            .call(QUICK, |docker| async move { beginning(docker.task_logs(task, Some(first_errors()))).await })
            .await;
        match answer {
            Err(error) if errors::status(&error) == Some(404) => Ok(None),
            answer => {
                let first = answer.map_err(|error| classify("read the beginning of the output", error))?;
                Ok(complaint_of_init(&first))
            }
        }
    }

    /// Why a kill is the doing of its node, which was restarted.
    async fn ended_with_node(&self, task: &Task, exit: &Exit) -> Result<Option<String>, EngineError> {
        let Some(id) = task.node_id.as_deref() else { return Ok(None) };
        let nodes = self.cluster.nodes(Duration::ZERO).await?;
        let Some(node) = nodes.get(id) else { return Ok(None) };
        // A node that comes back tells of its tasks a moment before it is noted as ready.
        if node.down_since.is_some() {
            return Ok(Some(format!("its node {} was down while the container ran", node.name)));
        }
        let near = node.noted_at.filter(|noted_at| ended_near(exit, *noted_at));
        Ok(near.map(|noted_at| format!("its node {} was restarted ({noted_at}) while the container ran", node.name)))
    }

    /// Our services, and the contents of files whose service was never made.
    pub(super) async fn list_services(&self) -> Result<Vec<Found>, EngineError> {
        // Contents first: what has no service afterwards has none that was made before.
        let contents = self.contents().await?;
        let snapshot = self.cluster.snapshot(Duration::ZERO).await?;
        let mut found: HashMap<_, _> = contents
            .into_iter()
            .map(|(attempt, created_at)| {
                let handle = Handle { attempt, id: attempt.workload_name().to_string() };
                (attempt, Found { handle, created_at, running: false })
            })
            .collect();
        for workload in snapshot.workloads() {
            let handle = Handle { attempt: workload.attempt, id: workload.id.clone() };
            let running = matches!(read(workload, None), Reading::Phase(WorkloadPhase::Running(_)));
            found.insert(workload.attempt, Found { handle, created_at: workload.created_at, running });
        }
        Ok(found.into_values().collect())
    }

    /// Whose files are stored on the manager, and since when.
    async fn contents(&self) -> Result<Vec<(AttemptId, Timestamp)>, EngineError> {
        let options = ListSecretsOptions { filters: Some(self.cluster.ours()) };
        let secrets = self.client.call(QUICK, |docker| async move { docker.list_secrets(Some(options)).await }).await;
        let options = ListConfigsOptions { filters: Some(self.cluster.ours()) };
        let configs = self.client.call(QUICK, |docker| async move { docker.list_configs(Some(options)).await }).await;
        let secrets = secrets.map_err(|error| classify("list the secrets", error))?;
        let configs = configs.map_err(|error| classify("list the configs", error))?;
        let secrets = secrets.into_iter().map(|secret| (secret.spec.and_then(|spec| spec.name), secret.created_at));
        let configs = configs.into_iter().map(|config| (config.spec.and_then(|spec| spec.name), config.created_at));
        let all = secrets.chain(configs).filter_map(|(name, created_at)| {
            let attempt = WorkloadName::attempt(name?.rsplit_once("-f")?.0)?;
            Some((attempt, moment(created_at.as_deref())?))
        });
        Ok(all.collect())
    }
}

/// Why what a node has is lost, if it is.
fn loss(nodes: &HashMap<String, Node>, id: &str, limit: Duration) -> Option<String> {
    match nodes.get(id) {
        None => Some(format!("its node {id} has left the swarm")),
        Some(Node { name, down_since: Some(since), .. }) if since.elapsed() >= limit => {
            Some(format!("its node {name} has been down for {} s", since.elapsed().as_secs()))
        }
        Some(_) => None,
    }
}

/// Whether something that ran before its node came up ended about then.
fn ended_near(exit: &Exit, noted_at: Timestamp) -> bool {
    exit.started_at.is_some_and(|started| started < noted_at)
        && exit
            .finished_at
            .is_none_or(|finished| finished > noted_at.minus(RESTART) && finished < noted_at.plus(RESTART))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_near_a_nodes_return_are_its_doing() {
        let minute = |minute: i64| Timestamp::from_micros(minute * 60_000_000);
        let exit = |started, finished| Exit {
            code: Some(137),
            started_at: Some(minute(started)),
            finished_at: Some(minute(finished)),
            ..Exit::default()
        };
        let noted = minute(100);
        assert!(ended_near(&exit(1, 100), noted));
        assert!(!ended_near(&exit(1, 90), noted));
        assert!(!ended_near(&exit(1, 110), noted));
        assert!(!ended_near(&exit(101, 102), noted));
    }
}
