//! What has become of jobs.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use reqwest::Method;
use tokio::time::sleep;

use super::{
    NomadEngine,
    client::QUICK,
    logs::TAIL,
    operation::{LIST_JOBS, READ_JOB, READ_OUTPUT},
    read::{Reading, execution, finished_at, first, in_order, started_at},
    render::TASK,
    types::{Allocation, Evaluation, Job, JobStub},
};
use crate::{
    domain::{AttemptId, Clock, SystemClock, Timestamp, WaitReason, WorkloadName},
    engines::{
        EngineError, Exit, Found, Handle, LaunchFailure, Observation, Persistence, WorkloadPhase,
        docker_api::output::complaint_of_init, label,
    },
};

/// How many jobs are asked for at once.
const AT_ONCE: usize = 16;
/// How long a job whose image could not be had waits for its next try.
const PAUSE: Duration = Duration::from_secs(5);

impl NomadEngine {
    pub(super) async fn observe_jobs(
        &self,
        of: &[Handle],
    ) -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError> {
        let mut observed = stream::iter(of.to_vec())
            .map(|handle| async move { (handle.attempt, self.observe_one(&handle).await) })
            .buffer_unordered(AT_ONCE);
        let mut observations = HashMap::with_capacity(of.len());
        while let Some((attempt, observation)) = observed.next().await {
            match observation {
                Err(error) if error.persistence == Persistence::Unreachable => return Err(error),
                observation => _ = observations.insert(attempt, observation),
            }
        }
        Ok(observations)
    }

    async fn observe_one(&self, handle: &Handle) -> Result<Observation, EngineError> {
        let Some((job, allocations)) = self.look(&handle.id).await? else {
            return Ok(Observation { execution: None, phase: WorkloadPhase::Absent });
        };
        let Some((allocation, reading)) = first(&job, &allocations) else {
            return Ok(Observation { execution: None, phase: self.unplaced(&handle.id, &job).await? });
        };
        let execution = execution(&allocations);
        // States go backwards when a lost node returns: an end stays as it was seen.
        if let Some(exit) = self.ended.get(&allocation.id) {
            return Ok(Observation { execution, phase: WorkloadPhase::Exited(exit) });
        }
        let phase = match reading {
            Reading::Phase(WorkloadPhase::Exited(mut exit)) => {
                self.explain(allocation, &mut exit).await;
                self.ended.insert(allocation.id.clone(), exit.clone());
                WorkloadPhase::Exited(exit)
            }
            Reading::Phase(phase) => phase,
            Reading::NoImage(words) => {
                let due = finished_at(allocation).is_none_or(|end| SystemClock.now().since(end) >= PAUSE);
                if due && allocation.job_version == job.version {
                    self.try_again(&handle.id).await?;
                }
                WorkloadPhase::Pending(WaitReason::PullingImage, words)
            }
        };
        Ok(Observation { execution, phase })
    }

    /// A job and its allocations, oldest first; `None` when there is no such job.
    pub(super) async fn look(&self, id: &str) -> Result<Option<(Job, Vec<Allocation>)>, EngineError> {
        let Some(job) = self.client.get::<Job>(READ_JOB, &format!("/v1/job/{id}")).await? else {
            return Ok(None);
        };
        let path = format!("/v1/job/{id}/allocations");
        let allocations = self.client.get(READ_JOB, &path).await?;
        Ok(Some((job, in_order(allocations.unwrap_or_default()))))
    }

    async fn unplaced(&self, id: &str, job: &Job) -> Result<WorkloadPhase, EngineError> {
        if job.stop {
            let failure = Some(LaunchFailure::NeverStarted("it was stopped before it ran".to_owned()));
            return Ok(WorkloadPhase::Exited(Exit { failure, ..Exit::default() }));
        }
        let path = format!("/v1/job/{id}/evaluations");
        let evaluations: Option<Vec<Evaluation>> = self.client.get(READ_JOB, &path).await?;
        let failed = evaluations.into_iter().flatten().find_map(|it| it.failed?.into_values().next());
        Ok(match failed {
            Some(failure) => WorkloadPhase::Pending(WaitReason::NoCapacity, failure.to_string()),
            None => WorkloadPhase::Pending(WaitReason::Launching, "Nomad looks for a node".to_owned()),
        })
    }

    /// Finds out what an exit code alone does not tell: the init process is the container's first, so Nomad does not
    /// know of a command that it could not execute. Its complaint can be lost, as the end of any output; a shell that
    /// does not find a command has written more than that.
    async fn explain(&self, allocation: &Allocation, exit: &mut Exit) {
        let (None, Some(code @ (126 | 127)), true) = (&exit.failure, exit.code, self.config.init) else { return };
        for pause in [Duration::ZERO, TAIL] {
            sleep(pause).await;
            let Some(end) = self.end_of_output(&allocation.id, "stderr").await else { return };
            let last = end.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            exit.failure = complaint_of_init(last).map(LaunchFailure::CommandNotFound);
            if !end.is_empty() {
                return;
            }
        }
        if self.end_of_output(&allocation.id, "stdout").await.is_some_and(|end| end.is_empty()) {
            let words = format!("exit code {code} without a word: is the command in the image, and executable?");
            exit.failure = Some(LaunchFailure::CommandNotFound(words));
        }
    }

    /// The last that the task has written there; `None` when nobody can tell.
    async fn end_of_output(&self, allocation: &str, kind: &str) -> Option<Bytes> {
        let path = format!("/v1/client/fs/logs/{allocation}");
        let query = [("task", TASK), ("type", kind), ("origin", "end"), ("offset", "300"), ("plain", "true")];
        let request = self.client.request(Method::GET, &path).timeout(QUICK).query(&query);
        self.client.send(READ_OUTPUT, request).await.ok()?.bytes().await.ok()
    }

    pub(super) async fn list_jobs(&self) -> Result<Vec<Found>, EngineError> {
        let stubs: Option<Vec<JobStub>> = self.client.get(LIST_JOBS, "/v1/jobs?prefix=r-").await?;
        let stubs = stubs.unwrap_or_default().into_iter();
        let named = stubs.filter_map(|stub| Some((WorkloadName::attempt(&stub.id)?, stub)));
        let mut owned = stream::iter(named)
            .map(|(attempt, stub)| async move { (attempt, self.is_ours(&stub.id, stub.submit_time).await, stub) })
            .buffer_unordered(AT_ONCE);
        let mut found = Vec::new();
        while let Some((attempt, ours, stub)) = owned.next().await {
            if ours? {
                let summary = stub.job_summary.and_then(|summary| summary.summary);
                let running = summary.into_iter().flatten().any(|(_, group)| group.running > 0);
                let created_at = Timestamp::from_micros(stub.submit_time / 1000);
                found.push(Found { handle: Handle { attempt, id: stub.id }, created_at, running });
            }
        }
        Ok(found)
    }

    /// Whether the job carries our owner's label: a list does not tell, and it never changes.
    async fn is_ours(&self, id: &str, submitted: i64) -> Result<bool, EngineError> {
        let key = (id.to_owned(), submitted);
        if let Some(known) = self.owned.get(&key) {
            return Ok(known);
        }
        let Some(job) = self.client.get::<Job>(READ_JOB, &format!("/v1/job/{id}")).await? else {
            return Ok(false);
        };
        let ours = job.meta.unwrap_or_default().get(label::OWNER) == Some(&self.owner.to_string());
        self.owned.insert(key, ours);
        Ok(ours)
    }

    /// The allocation whose output is the workload's: which, and whether its task has ended by then, and when.
    pub(super) async fn output_of(&self, id: &str) -> Result<Output, EngineError> {
        let Some((job, allocations)) = self.look(id).await? else { return Ok(Output::Gone) };
        Ok(match first(&job, &allocations) {
            None if job.stop => Output::Gone,
            None | Some((_, Reading::NoImage(_))) => Output::NotYet,
            Some((allocation, Reading::Phase(phase))) => match (started_at(allocation), phase) {
                (None, WorkloadPhase::Exited(_)) => Output::Gone,
                (None, _) => Output::NotYet,
                (Some(started_at), phase) => {
                    let ended_at = match phase {
                        WorkloadPhase::Exited(exit) => Some(exit.finished_at.unwrap_or(started_at)),
                        _ => None,
                    };
                    Output::Of { allocation: allocation.id.clone(), started_at, ended_at }
                }
            },
        })
    }
}

/// Where a workload's output is.
#[derive(Debug)]
pub(super) enum Output {
    /// Nowhere, and there will be none.
    Gone,
    NotYet,
    /// With this allocation.
    Of {
        allocation: String,
        started_at: Timestamp,
        /// When its task had ended by now.
        ended_at: Option<Timestamp>,
    },
}
