//! What has become of containers.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bollard::{
    errors::Error,
    models::{
        ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum,
    },
    query_parameters::{InspectNetworkOptions, ListContainersOptions},
};
use futures::{StreamExt, stream};
use tokio::time::sleep;

use super::DockerEngine;
use crate::{
    domain::{AttemptId, Timestamp, WaitReason, WorkloadName},
    engines::{
        EngineError, Exit, Found, Handle, LaunchFailure, Observation, WorkloadPhase,
        docker_api::{
            client::QUICK,
            errors::{self, classify},
            moment,
            output::{beginning, complaint_of_init, first_errors},
        },
        label,
    },
};

/// Up to so many containers are inspected one by one; for more, a list tells first which of them have changed.
const FEW: usize = 4;
/// How many are inspected at once.
const AT_ONCE: usize = 8;
/// When to ask again for the reason of a kill.
const REASON_COMES_LATE: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(200)];
/// How long before its own start a daemon may have ended containers as it shut down (137, 143).
const SHUTDOWN: Duration = Duration::from_secs(600);
/// How long before the end of its start a daemon may have found containers dead (255).
const STARTUP: Duration = Duration::from_secs(60);

impl DockerEngine {
    pub(super) async fn observe_containers(
        &self,
        of: &[Handle],
    ) -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError> {
        let mut observations = HashMap::with_capacity(of.len());
        // Ids of those that a list shows running, where it could be had.
        let running: HashSet<String> = if of.len() > FEW {
            let all = self.summaries().await?;
            all.into_iter().filter(is_running).filter_map(|summary| summary.id).collect()
        } else {
            HashSet::new()
        };
        let mut unknown = Vec::new();
        for handle in of {
            let since = running.contains(&handle.id).then(|| self.running_since.get(&handle.id)).flatten();
            if let Some((execution, since)) = since {
                let observation = Observation { execution: Some(execution), phase: WorkloadPhase::Running(since) };
                observations.insert(handle.attempt, Ok(observation));
            } else {
                unknown.push(handle.clone());
            }
        }
        let mut inspected = stream::iter(unknown)
            .map(|handle| async move { (handle.attempt, self.observe_one(&handle).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((attempt, observation)) = inspected.next().await {
            match observation {
                Err(error) if errors::is_unreachable(&error) => return Err(classify("inspect the container", error)),
                other => {
                    let observation = other.map_err(|error| classify("inspect the container", error));
                    observations.insert(attempt, observation);
                }
            }
        }
        drop(inspected);
        Ok(observations)
    }

    async fn observe_one(&self, handle: &Handle) -> Result<Observation, Error> {
        let Some(found) = self.client.inspect(&handle.id).await? else {
            self.running_since.remove(&handle.id);
            return Ok(Observation { execution: None, phase: WorkloadPhase::Absent });
        };
        let mut observation = read(&found);
        match &mut observation.phase {
            WorkloadPhase::Running(since) => {
                if let Some(execution) = observation.execution.clone() {
                    self.running_since.insert(handle.id.clone(), (execution, *since));
                }
            }
            WorkloadPhase::Exited(exit) => self.explain(&handle.id, exit).await?,
            WorkloadPhase::Pending(..) | WorkloadPhase::Absent => {}
        }
        Ok(observation)
    }

    /// Whether the kernel killed it for want of memory. The daemon hears of the exit and of the reason in two messages,
    /// and on a busy machine the reason comes last.
    async fn killed_for_memory(&self, container: &str) -> Result<bool, Error> {
        for pause in REASON_COMES_LATE {
            sleep(pause).await;
            let found = self.client.inspect(container).await?;
            if found.and_then(|found| found.state?.oom_killed) == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finds out what an exit code alone does not tell.
    async fn explain(&self, container: &str, exit: &mut Exit) -> Result<(), Error> {
        if exit.out_of_memory || exit.failure.is_some() {
            return Ok(());
        }
        if exit.code == Some(137) && !self.podman && self.killed_for_memory(container).await? {
            exit.out_of_memory = true;
            return Ok(());
        }
        match exit.code {
            // Podman's init ends with 1.
            Some(code) if matches!(code, 126 | 127) || self.podman && code == 1 => {
                exit.failure = self.complaint_of_init(container).await?.map(LaunchFailure::CommandNotFound);
            }
            Some(137 | 143 | 255) => {
                if let Some(boot) = self.daemon_start().await?
                    && ended_with_daemon(exit, boot)
                {
                    let text = format!("the daemon was restarted ({boot}) while the container ran");
                    exit.failure = Some(LaunchFailure::Interrupted(text));
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn complaint_of_init(&self, container: &str) -> Result<Option<String>, Error> {
        let first = self
            .client
            .call(QUICK, |docker| async move { beginning(docker.logs(container, Some(first_errors()))).await })
            .await?;
        Ok(complaint_of_init(&first))
    }

    /// When the daemon was started: it makes its default bridge anew then, unless it kept containers running
    /// meanwhile. `None` where that cannot be told.
    async fn daemon_start(&self) -> Result<Option<Timestamp>, Error> {
        if self.podman {
            return Ok(None);
        }
        let answer = self
            .client
            .call(QUICK, |docker| async move { docker.inspect_network("bridge", None::<InspectNetworkOptions>).await })
            .await;
        match answer {
            Ok(bridge) => Ok(moment(bridge.created.as_deref())),
            Err(error) if errors::is_unreachable(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    pub(super) async fn list_containers(&self) -> Result<Vec<Found>, EngineError> {
        let all = self.summaries().await?;
        Ok(all.into_iter().filter_map(found).collect())
    }

    /// Our containers, all of them.
    async fn summaries(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let filter = HashMap::from([("label".to_owned(), vec![format!("{}={}", label::OWNER, self.owner)])]);
        let mut tries = 0;
        loop {
            let options = ListContainersOptions { all: true, filters: Some(filter.clone()), ..Default::default() };
            match self.client.call(QUICK, |docker| async move { docker.list_containers(Some(options)).await }).await {
                // Podman names states that Docker does not have, all of them brief.
                Err(Error::JsonDataError { .. }) if tries < 40 => {
                    tries += 1;
                    sleep(Duration::from_millis(50)).await;
                }
                answer => return answer.map_err(|error| classify("list the containers", error)),
            }
        }
    }
}

/// Whether the container stands as `create` has left it.
pub(super) fn is_created(state: &ContainerState) -> bool {
    matches!(state.status, Some(ContainerStateStatusEnum::CREATED))
}

fn is_running(summary: &ContainerSummary) -> bool {
    use ContainerSummaryStateEnum as State;
    matches!(summary.state, Some(State::RUNNING | State::PAUSED | State::RESTARTING | State::STOPPING))
}

fn found(summary: ContainerSummary) -> Option<Found> {
    let running = is_running(&summary);
    let labels = summary.labels.unwrap_or_default();
    let named = |name: &str| labels.get(name);
    let by_label = named(label::RUN)
        .and_then(|run| run.parse().ok())
        .zip(named(label::ATTEMPT).and_then(|number| number.parse().ok()))
        .map(|(run, number)| AttemptId { run, number });
    let by_name =
        || summary.names.iter().flatten().find_map(|name| WorkloadName::attempt(name.trim_start_matches('/')));
    let created_at = Timestamp::from_micros(summary.created.unwrap_or_default().saturating_mul(1_000_000));
    Some(Found { handle: Handle { attempt: by_label.or_else(by_name)?, id: summary.id? }, created_at, running })
}

/// How the container stands, from the daemon's answer alone.
fn read(found: &ContainerInspectResponse) -> Observation {
    use ContainerStateStatusEnum as Status;
    let state = found.state.clone().unwrap_or_default();
    let started_at = moment(state.started_at.as_deref());
    let execution = started_at
        .and(state.started_at.as_deref())
        .map(|started| format!("{}@{started}", found.id.as_deref().unwrap_or_default()));
    let complaint = state.error.clone().filter(|error| !error.is_empty());
    let phase = match (state.status, started_at) {
        (Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING), Some(since)) => {
            WorkloadPhase::Running(since)
        }
        (Some(Status::EXITED | Status::DEAD | Status::REMOVING), Some(_)) => {
            let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
            WorkloadPhase::Exited(Exit {
                code,
                // Also set when only a child was killed; then the exit code decides what that meant.
                out_of_memory: state.oom_killed == Some(true) && code != Some(0),
                failure: None,
                started_at,
                // Podman can have them the wrong way round when there is hardly anything between.
                finished_at: moment(state.finished_at.as_deref()).max(started_at),
            })
        }
        _ => match complaint {
            Some(text) if errors::is_missing_command(&text) => {
                WorkloadPhase::Exited(Exit { failure: Some(LaunchFailure::CommandNotFound(text)), ..Exit::default() })
            }
            // It can be started again: the launch is not over.
            Some(text) => WorkloadPhase::Pending(WaitReason::Launching, text),
            None => WorkloadPhase::Pending(WaitReason::Launching, "the container is created, not started".to_owned()),
        },
    };
    Observation { execution, phase }
}

/// Whether a daemon that was started at `boot` has ended the container, or its predecessor on its way out.
fn ended_with_daemon(exit: &Exit, boot: Timestamp) -> bool {
    let before = if exit.code == Some(255) { STARTUP } else { SHUTDOWN };
    exit.started_at.is_some_and(|started| started < boot)
        && exit.finished_at.is_none_or(|finished| finished > boot.minus(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(json: serde_json::Value) -> Observation {
        let state = serde_json::from_value(json).unwrap();
        read(&ContainerInspectResponse { id: Some("c1".to_owned()), state: Some(state), ..Default::default() })
    }

    #[test]
    fn a_created_container_has_not_exited_although_its_code_is_zero() {
        let created = serde_json::json!({"Status": "created", "ExitCode": 0, "StartedAt": "0001-01-01T00:00:00Z"});
        let seen = container(created);
        assert_eq!(seen.execution, None);
        assert!(matches!(seen.phase, WorkloadPhase::Pending(WaitReason::Launching, _)));
    }

    #[test]
    fn a_failed_start_for_want_of_the_command_is_an_end() {
        let seen =
            container(serde_json::json!({"Status": "created", "ExitCode": 127, "StartedAt": "0001-01-01T00:00:00Z",
            "Error": "exec: \"nope\": executable file not found in $PATH: unknown"}));
        let WorkloadPhase::Exited(exit) = seen.phase else { panic!("{seen:?}") };
        assert!(matches!(exit.failure, Some(LaunchFailure::CommandNotFound(_))));
        assert_eq!(exit.code, None);
    }

    #[test]
    fn memory_counts_only_when_the_script_failed() {
        for (code, expected) in [(0, false), (137, true), (1, true)] {
            let seen = container(serde_json::json!({"Status": "exited", "ExitCode": code, "OOMKilled": true,
                "StartedAt": "2026-01-01T00:00:00.5Z", "FinishedAt": "2026-01-01T00:00:01Z"}));
            assert_eq!(seen.execution.as_deref(), Some("c1@2026-01-01T00:00:00.5Z"));
            let WorkloadPhase::Exited(exit) = seen.phase else { panic!("{seen:?}") };
            assert_eq!((exit.code, exit.out_of_memory), (Some(code), expected));
        }
    }

    #[test]
    fn ends_near_a_daemons_start_are_its_own_doing() {
        let minute = |minute: i64| Timestamp::from_micros(minute * 60_000_000);
        let exit = |code, started, finished| Exit {
            code: Some(code),
            started_at: Some(minute(started)),
            finished_at: Some(minute(finished)),
            ..Exit::default()
        };
        let boot = minute(100);
        assert!(ended_with_daemon(&exit(137, 1, 95), boot));
        assert!(ended_with_daemon(&exit(255, 1, 100), boot));
        assert!(!ended_with_daemon(&exit(255, 1, 95), boot));
        assert!(!ended_with_daemon(&exit(137, 1, 2), boot));
        assert!(!ended_with_daemon(&exit(137, 101, 102), boot));
    }
}
