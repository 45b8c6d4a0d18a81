//! What has become of many workloads, in two or three calls.

use std::{collections::HashMap, time::Duration};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Event, Pod},
};

use super::{
    KubernetesEngine,
    client::each,
    status::{self, Doom, Look, Why, has_login, is_released, look, moment, observation},
};
use crate::{
    domain::{AttemptId, Clock, SystemClock, Timestamp, WaitReason, WorkloadName},
    engines::{EngineError, Exit, Found, Handle, LaunchFailure, Observation, WorkloadPhase, label},
};

/// Up to so many are named one by one; for more, all of ours are listed.
const NAMED: usize = 40;

/// After so long a pull was tried again, also where no event has told of it: a server keeps only so many.
const UNTOLD: Duration = Duration::from_secs(60);

/// The answer for each workload.
pub(super) type Answers = HashMap<AttemptId, Result<Observation, EngineError>>;

impl KubernetesEngine {
    pub(super) async fn observe_pods(&self, of: &[Handle]) -> Result<Answers, EngineError> {
        if of.is_empty() {
            return Ok(HashMap::new());
        }
        let selector = self.selector(of);
        // Pods first: a job that is gone when it is asked for cannot have made one since.
        let mut pods = by_attempt(self.client.list::<Pod>("list the pods", &selector).await?);
        let missing = of.iter().any(|handle| !pods.contains_key(&handle.attempt));
        let jobs = if missing { self.client.list::<Job>("list the jobs", &selector).await? } else { Vec::new() };
        let jobs: HashMap<_, _> = jobs.into_iter().filter_map(|job| Some((job.metadata.name.clone()?, job))).collect();
        let now = SystemClock.now();
        let answers = each(of.iter().cloned(), |handle| {
            let mut pods = pods.remove(&handle.attempt).unwrap_or_default();
            let job = jobs.get(handle.attempt.workload_name().as_str());
            async move {
                status::in_order(&mut pods);
                let phase = match pods.first() {
                    Some(first) => self.phase_of_pod(first, now).await,
                    None => self.phase_of_job(job).await,
                };
                (handle.attempt, phase.map(|phase| observation(&pods, phase)))
            }
        })
        .await;
        Ok(answers.into_iter().collect())
    }

    fn selector(&self, of: &[Handle]) -> String {
        let ours = self.client.ours();
        if of.len() > NAMED {
            return ours;
        }
        let runs: Vec<_> = of.iter().map(|handle| handle.attempt.run.to_string()).collect();
        format!("{ours},{} in ({})", label::RUN, runs.join(","))
    }

    async fn phase_of_pod(&self, pod: &Pod, now: Timestamp) -> Result<WorkloadPhase, EngineError> {
        let events = || self.client.events(pod.metadata.uid.as_deref().unwrap_or_default());
        let (doom, known) = match look(pod, now) {
            Look::Is(phase) => return Ok(phase),
            Look::Doomed(doom) => (doom, None),
            Look::Starting(reason, detail) => {
                let mut events = events().await?;
                match explain(pod, reason, detail, &mut events) {
                    Ok((reason, detail)) => return Ok(WorkloadPhase::Pending(reason, detail)),
                    Err(doom) => (doom, Some(events)),
                }
            }
        };
        if doom.why == Why::ImageUnauthorized && has_login(pod) {
            let events = match known {
                Some(events) => events,
                None => events().await?,
            };
            if !is_tried_again(pod, &events, now) {
                return Ok(WorkloadPhase::Pending(WaitReason::PullingImage, doom.detail));
            }
        }
        // Only what can never start any more has ended; the next look sees that.
        self.client.patch_pod(pod, &doom.change()).await?;
        Ok(WorkloadPhase::Pending(WaitReason::PullingImage, doom.detail))
    }

    async fn phase_of_job(&self, job: Option<&Job>) -> Result<WorkloadPhase, EngineError> {
        let Some(job) = job.filter(|job| job.metadata.deletion_timestamp.is_none()) else {
            return Ok(WorkloadPhase::Absent);
        };
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
        if conditions.into_iter().flatten().any(|it| it.status == "True" && matches!(&*it.type_, "Complete" | "Failed"))
        {
            let failure = LaunchFailure::Lost("its job has ended, and its pod's record is gone".to_owned());
            return Ok(WorkloadPhase::Exited(Exit { failure: Some(failure), ..Exit::default() }));
        }
        let mut events = self.client.events(job.metadata.uid.as_deref().unwrap_or_default()).await?;
        latest_first(&mut events);
        let refused = events.into_iter().find(|event| event.reason.as_deref() == Some("FailedCreate"));
        Ok(match refused.and_then(|event| event.message) {
            Some(text) if text.contains("exceeded quota") => WorkloadPhase::Pending(WaitReason::NoCapacity, text),
            Some(text) => WorkloadPhase::Pending(WaitReason::Launching, text),
            None => WorkloadPhase::Pending(WaitReason::Launching, "its pod is being made".to_owned()),
        })
    }

    pub(super) async fn list_workloads(&self) -> Result<Vec<Found>, EngineError> {
        let ours = self.client.ours();
        let pods = by_attempt(self.client.list::<Pod>("list the pods", &ours).await?);
        let jobs = self.client.list::<Job>("list the jobs", &ours).await?;
        let mut created: HashMap<AttemptId, Timestamp> = HashMap::new();
        let metadata = jobs.iter().map(|job| &job.metadata).chain(pods.values().flatten().map(|pod| &pod.metadata));
        for metadata in metadata {
            if let (Some(attempt), Some(at)) = (attempt_of(metadata.labels.as_ref()), &metadata.creation_timestamp) {
                created.entry(attempt).and_modify(|known| *known = (*known).min(moment(at))).or_insert(moment(at));
            }
        }
        let found = created.into_iter().map(|(attempt, created_at)| Found {
            handle: Handle { attempt, id: attempt.workload_name().to_string() },
            created_at,
            running: pods.get(&attempt).is_some_and(|pods| pods.iter().any(is_alive)),
        });
        Ok(found.collect())
    }
}

fn is_alive(pod: &Pod) -> bool {
    matches!(look(pod, SystemClock.now()), Look::Is(WorkloadPhase::Running(_)))
}

/// The pods whose record is still needed.
fn by_attempt(pods: Vec<Pod>) -> HashMap<AttemptId, Vec<Pod>> {
    let mut by_attempt: HashMap<_, Vec<_>> = HashMap::new();
    for pod in pods.into_iter().filter(|pod| !is_released(pod)) {
        if let Some(attempt) = attempt_of(pod.metadata.labels.as_ref()) {
            by_attempt.entry(attempt).or_default().push(pod);
        }
    }
    by_attempt
}

/// The attempt that an object's labels name.
pub(super) fn attempt_of(labels: Option<&std::collections::BTreeMap<String, String>>) -> Option<AttemptId> {
    let labels = labels?;
    let (run, number) = (labels.get(label::RUN)?.parse().ok()?, labels.get(label::ATTEMPT)?.parse().ok()?);
    let attempt = AttemptId { run, number };
    // Labels that nobody of us has written may hold anything.
    (WorkloadName::attempt(attempt.workload_name().as_str()) == Some(attempt)).then_some(attempt)
}

/// What the events tell of a pod that is coming up, better than its state does; or why it never will.
fn explain(pod: &Pod, reason: WaitReason, detail: String, events: &mut [Event]) -> Result<(WaitReason, String), Doom> {
    latest_first(events);
    let image = status::image(pod);
    for event in events {
        let text = event.message.as_deref().unwrap_or_default();
        match event.reason.as_deref().unwrap_or_default() {
            "Failed" if is_failed_pull(event) => {
                return match Doom::of_image(image, text) {
                    Some(doom) => Err(doom),
                    None => Ok((WaitReason::PullingImage, format!("{image}: {text}"))),
                };
            }
            // Of one that is tried again, only why it failed is of interest.
            "Pulling" if reason != WaitReason::PullingImage => {
                return Ok((WaitReason::PullingImage, format!("pulling {image}")));
            }
            "FailedMount" | "FailedCreatePodSandBox" | "FailedAttachVolume" => {
                return Ok((WaitReason::Launching, text.to_owned()));
            }
            "Pulled" | "Created" | "Started" => break,
            _ => {}
        }
    }
    Ok((reason, detail))
}

/// Whether the kubelet has tried the pull again, with the login: its first try may have come before the secret.
fn is_tried_again(pod: &Pod, events: &[Event], now: Timestamp) -> bool {
    let failures = events.iter().filter(|event| is_failed_pull(event));
    let created = pod.metadata.creation_timestamp.as_ref().map_or(now, moment);
    failures.map(|event| event.count.unwrap_or(1)).sum::<i32>() > 1 || now.since(created) > UNTOLD
}

fn is_failed_pull(event: &Event) -> bool {
    let message = event.message.as_deref().unwrap_or_default();
    event.reason.as_deref() == Some("Failed") && message.contains("Failed to pull image")
}

fn latest_first(events: &mut [Event]) {
    events.sort_by_key(|event| {
        let time = event.last_timestamp.clone().map(|time| time.0);
        std::cmp::Reverse(time.or_else(|| event.event_time.clone().map(|time| time.0)))
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_login_is_refused_only_when_it_was_tried() {
        let created = "2026-11-21T14:42:33Z";
        let pod: Pod = serde_json::from_value(json!({"metadata": {"creationTimestamp": created}})).unwrap();
        let failed = |count: Option<i32>, reason: &str| -> Event {
            let text = "Failed to pull image \"i\": no basic auth credentials";
            let event =
                json!({"metadata": {}, "involvedObject": {}, "reason": reason, "message": text, "count": count});
            serde_json::from_value(event).unwrap()
        };
        let tried = |events: &[Event], after| {
            let created = moment(pod.metadata.creation_timestamp.as_ref().unwrap());
            is_tried_again(&pod, events, created.plus(Duration::from_secs(after)))
        };
        assert!(!tried(&[], 5));
        assert!(!tried(&[failed(Some(1), "Failed"), failed(Some(3), "BackOff")], 5));
        assert!(tried(&[failed(Some(2), "Failed")], 15));
        assert!(tried(&[failed(None, "Failed"), failed(None, "Failed")], 15));
        assert!(tried(&[], 61));
    }
}
