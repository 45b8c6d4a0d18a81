//! From a pod to what has become of the workload. Pure.
//!
//! The container's own state is the truth; the pod's phase and the job's status are late, and the job's says little.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStateTerminated, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    errors::{image_failure, is_missing_command},
    render::{CONTAINER, FINALIZER},
};
use crate::{
    domain::{Timestamp, WaitReason},
    engines::{EngineErrorKind, Exit, LaunchFailure, Observation, WorkloadPhase},
};

/// Marks a pod that the service has stopped, so that its end is not taken for somebody else's deed.
const STOPPED: &str = "haulier.io/stopped";
/// Keeps why a pod was ended before it could run.
const FAILURE: &str = "haulier.io/failure";
/// How long after its time a pod that is being deleted may still be said to run, before its node is taken for lost.
const NODE_LOST: Duration = Duration::from_secs(60);
/// How long after its time a pod that never ran may still be said to be on its way out.
const SETTLED: Duration = Duration::from_secs(5);

/// What a look at a pod tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// This.
    Is(WorkloadPhase),
    /// It is coming up; its events may tell more than this.
    Starting(WaitReason, String),
    /// It can never run, though the cluster goes on trying: it must be ended first.
    Doomed(Doom),
}

/// Why a pod can never run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doom {
    pub(super) why: Why,
    pub(super) detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    ImageNotFound,
    ImageUnauthorized,
    ImageInvalid,
    Rejected,
}

impl Doom {
    /// What the image's failure comes to, if trying again cannot help.
    pub(super) fn of_image(image: &str, text: &str) -> Option<Self> {
        let why = match image_failure(text)? {
            EngineErrorKind::ImageUnauthorized => Why::ImageUnauthorized,
            EngineErrorKind::ImageInvalid => Why::ImageInvalid,
            _ => Why::ImageNotFound,
        };
        Some(Self { why, detail: format!("{image}: {text}") })
    }

    /// The change that ends the pod, and keeps why. A pod that has come to its deadline keeps its record and its
    /// output, and starts nothing any more.
    pub(super) fn change(&self) -> Value {
        let failure = serde_json::to_string(self).unwrap_or_default();
        json!({"metadata": {"annotations": {FAILURE: failure}}, "spec": {"activeDeadlineSeconds": 1}})
    }

    fn failure(self) -> LaunchFailure {
        match self.why {
            Why::ImageNotFound => LaunchFailure::Image(EngineErrorKind::ImageNotFound, self.detail),
            Why::ImageUnauthorized => LaunchFailure::Image(EngineErrorKind::ImageUnauthorized, self.detail),
            Why::ImageInvalid => LaunchFailure::Image(EngineErrorKind::ImageInvalid, self.detail),
            Why::Rejected => LaunchFailure::Rejected(self.detail),
        }
    }
}

/// The change that marks a pod as stopped by us.
pub(super) fn stopped_mark() -> Value {
    json!({"metadata": {"annotations": {STOPPED: "true"}}})
}

/// The change that lets a pod's record go.
pub(super) fn release() -> Value {
    json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}})
}

/// Oldest first. Times are whole seconds, and a pod that is deleted at once is replaced within the one it was made in:
/// of such, whichever was to go first was there first, then whichever began first.
pub(super) fn in_order(pods: &mut [Pod]) {
    pods.sort_by_cached_key(|pod| {
        let metadata = &pod.metadata;
        let never = Timestamp::from_micros(i64::MAX);
        let begun = begun(pod).unwrap_or(never);
        (metadata.creation_timestamp.clone(), asked_to_go(pod).unwrap_or(never), begun, metadata.uid.clone())
    });
}

/// When somebody has asked for its deletion: its grace before the time that stands there.
fn asked_to_go(pod: &Pod) -> Option<Timestamp> {
    let due = pod.metadata.deletion_timestamp.as_ref().map(moment)?;
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    Some(due.minus(Duration::from_secs(u64::try_from(grace).unwrap_or(0))))
}

/// When its container began to run.
fn begun(pod: &Pod) -> Option<Timestamp> {
    let state = state(pod)?;
    let ended = state.terminated.as_ref().and_then(|ended| ended.started_at.as_ref());
    ended.or_else(|| state.running.as_ref()?.started_at.as_ref()).map(moment)
}

/// Whether nobody needs the pod's record any more: it is on its way out, and we have let it go.
pub(super) fn is_released(pod: &Pod) -> bool {
    let kept = pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    pod.metadata.deletion_timestamp.is_some() && !kept
}

/// Names the executions of an attempt, in the order of their pods: more than one, and something has started it again.
pub(super) fn execution(pods: &[Pod]) -> Option<String> {
    let executions: Vec<_> = pods
        .iter()
        .filter_map(|pod| {
            let status = container(pod)?;
            let id = status.container_id.as_deref().filter(|id| !id.is_empty())?;
            Some(format!("{}/{}", pod.metadata.uid.as_deref()?, id.rsplit('/').next()?))
        })
        .collect();
    (!executions.is_empty()).then(|| executions.join("+"))
}

/// What has become of the attempt whose pods these are, in their order: the first one counts.
pub(super) fn observation(pods: &[Pod], phase: WorkloadPhase) -> Observation {
    Observation { execution: execution(pods), phase }
}

/// Whether its image is pulled with a login.
pub(super) fn has_login(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.image_pull_secrets.as_ref()).is_some_and(|secrets| !secrets.is_empty())
}

pub(super) fn image(pod: &Pod) -> &str {
    let container = pod.spec.iter().flat_map(|spec| &spec.containers).find(|container| container.name == CONTAINER);
    container.and_then(|container| container.image.as_deref()).unwrap_or("the image")
}

pub(super) fn moment(time: &Time) -> Timestamp {
    Timestamp::from_micros(time.0.as_microsecond())
}

fn container(pod: &Pod) -> Option<&k8s_openapi::api::core::v1::ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|status| status.name == CONTAINER)
}

fn state(pod: &Pod) -> Option<&ContainerState> {
    container(pod)?.state.as_ref()
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn reason(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.reason.as_deref()).unwrap_or_default()
}

/// How the pod stands. `now`: by our own clock.
pub(super) fn look(pod: &Pod, now: Timestamp) -> Look {
    let state = state(pod);
    if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
        return exited(exit_of(pod, terminated));
    }
    let running = state.and_then(|state| state.running.as_ref());
    let started_at = begun(pod);
    let runs = Look::Is(WorkloadPhase::Running(started_at.unwrap_or(now)));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if phase == "Failed" {
        return match running {
            // Older kubelets say so before the container has ended, and never tell how it did.
            Some(_) if !is_overdue(pod, now) => runs,
            _ => exited(Exit { failure: Some(failure_of_pod(pod)), started_at, ..Exit::default() }),
        };
    }
    if let Some(deletion) = &pod.metadata.deletion_timestamp {
        let due = moment(deletion);
        return match running {
            Some(_) if now.since(due) > NODE_LOST => exited(Exit {
                failure: Some(LaunchFailure::Lost(format!("its node {} does not answer any more", node(pod)))),
                ..Exit::default()
            }),
            Some(_) => runs,
            None if pod.metadata.deletion_grace_period_seconds == Some(0) || now.since(due) > SETTLED => {
                exited(Exit { failure: Some(failure_of_pod(pod)), ..Exit::default() })
            }
            None => Look::Is(WorkloadPhase::Pending(WaitReason::Launching, "its pod is being deleted".to_owned())),
        };
    }
    if running.is_some() {
        return runs;
    }
    match state.and_then(|state| state.waiting.as_ref()) {
        Some(waiting) => {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            waits(pod, reason, waiting.message.as_deref().unwrap_or_default())
        }
        None => match condition(pod, "PodScheduled").filter(|condition| condition.status == "False") {
            Some(unscheduled) => {
                let text = unscheduled.message.clone().unwrap_or_else(|| "no node has room for it".to_owned());
                Look::Is(WorkloadPhase::Pending(WaitReason::NoCapacity, text))
            }
            None => Look::Starting(WaitReason::Launching, "its pod is being placed".to_owned()),
        },
    }
}

fn exited(exit: Exit) -> Look {
    Look::Is(WorkloadPhase::Exited(exit))
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("(none)")
}

/// Whether a pod past its deadline must have ended by now, with all its grace.
fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map_or(now, moment);
    let seconds = spec.active_deadline_seconds.unwrap_or(0) + spec.termination_grace_period_seconds.unwrap_or(30);
    now.since(started) > Duration::from_secs(u64::try_from(seconds).unwrap_or(0)) + SETTLED
}

/// What a container waits for, before it runs.
fn waits(pod: &Pod, reason: &str, message: &str) -> Look {
    let image = image(pod);
    match reason {
        "InvalidImageName" => Look::Doomed(Doom { why: Why::ImageInvalid, detail: format!("{image}: {message}") }),
        "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable" => {
            match Doom::of_image(image, message) {
                Some(doom) => Look::Doomed(doom),
                None => Look::Starting(WaitReason::PullingImage, format!("{image}: {message}")),
            }
        }
        "ErrImageNeverPull" => Look::Doomed(Doom {
            why: Why::ImageNotFound,
            detail: format!("{image}: the node does not have it and may not pull it"),
        }),
        // The secret is made right after the job: the kubelet looks again.
        "CreateContainerConfigError" if message.contains("secret") => {
            Look::Is(WorkloadPhase::Pending(WaitReason::Launching, message.to_owned()))
        }
        "CreateContainerConfigError" => Look::Doomed(Doom { why: Why::Rejected, detail: message.to_owned() }),
        "" | "ContainerCreating" | "PodInitializing" => {
            Look::Starting(WaitReason::Launching, "its container is being created".to_owned())
        }
        _ => Look::Is(WorkloadPhase::Pending(WaitReason::Launching, format!("{reason}: {message}"))),
    }
}

fn exit_of(pod: &Pod, terminated: &ContainerStateTerminated) -> Exit {
    let reason = terminated.reason.as_deref().unwrap_or_default();
    let message = terminated.message.clone().unwrap_or_default();
    // A kubelet that knows nothing of a container's end writes code 0 and no times.
    let (Some(started), Some(finished)) = (&terminated.started_at, &terminated.finished_at) else {
        return Exit { failure: Some(failure_of_pod(pod)), ..Exit::default() };
    };
    let never_ran = match reason {
        "ContainerCannotRun" | "StartError" if is_missing_command(&message) => {
            Some(LaunchFailure::CommandNotFound(message.clone()))
        }
        "ContainerCannotRun" | "StartError" => Some(LaunchFailure::Rejected(message.clone())),
        _ => None,
    };
    if never_ran.is_some() {
        return Exit { failure: never_ran, finished_at: Some(moment(finished)), ..Exit::default() };
    }
    let (started, finished) = (moment(started), moment(finished));
    let failure = disturbance(pod, finished);
    // Whoever looked after it was not there when it ended: its node lost power, or somebody removed it.
    if matches!(reason, "Unknown" | "ContainerStatusUnknown") {
        let lost =
            || LaunchFailure::Lost(format!("its node does not know how it has ended {message}").trim().to_owned());
        let failure = Some(failure.unwrap_or_else(lost));
        return Exit { failure, started_at: Some(started), finished_at: Some(finished), ..Exit::default() };
    }
    Exit {
        code: Some(terminated.exit_code),
        // Also said when only a child was killed, which the script may have coped with.
        out_of_memory: reason == "OOMKilled" && terminated.exit_code != 0,
        failure,
        started_at: Some(started),
        finished_at: Some(finished),
    }
}

/// What ended a pod from outside, when something other than the service did.
fn disturbance(pod: &Pod, finished: Timestamp) -> Option<LaunchFailure> {
    if annotation(pod, STOPPED).is_some() {
        return None;
    }
    let words = pod.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default();
    match reason(pod) {
        "Evicted" | "Preempting" => return Some(LaunchFailure::Evicted(words)),
        "DeadlineExceeded" => return Some(LaunchFailure::DeadlineExceeded(words)),
        "Terminated" | "NodeShutdown" | "Shutdown" => return Some(LaunchFailure::Interrupted(words)),
        "NodeLost" => return Some(LaunchFailure::Lost(words)),
        _ => {}
    }
    if let Some(disruption) = condition(pod, "DisruptionTarget").filter(|condition| condition.status == "True") {
        let words = disruption.message.clone().unwrap_or_default();
        return Some(match disruption.reason.as_deref() {
            Some("DeletionByPodGC" | "DeletionByTaintManager") => LaunchFailure::Lost(words),
            _ => LaunchFailure::Evicted(words),
        });
    }
    // It got its signal when the deletion was asked for.
    let asked = asked_to_go(pod)?;
    // Times are in whole seconds.
    (finished >= asked).then(|| LaunchFailure::Evicted("somebody deleted its pod while it ran".to_owned()))
}

/// Why a pod has ended whose container has told nothing.
fn failure_of_pod(pod: &Pod) -> LaunchFailure {
    if let Some(doom) = annotation(pod, FAILURE).and_then(|text| serde_json::from_str::<Doom>(text).ok()) {
        return doom.failure();
    }
    if annotation(pod, STOPPED).is_some() {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        // A kubelet with much to do takes the container away before it has read how it ended, and then calls it waiting;
        // a pod that never ran stays pending.
        return if phase == Some("Failed") {
            LaunchFailure::Lost("its node removed it before telling how it had ended".to_owned())
        } else {
            LaunchFailure::NeverStarted("its pod was deleted".to_owned())
        };
    }
    let never = Timestamp::from_micros(i64::MAX);
    if let Some(failure) = disturbance(pod, never) {
        return failure;
    }
    if let Some(vanished) = vanished(pod) {
        return LaunchFailure::Lost(vanished.message.clone().unwrap_or_default());
    }
    let message = pod.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default();
    LaunchFailure::Evicted(format!("{}: {message}", reason(pod)))
}

/// What a kubelet makes up for a container that it knew and does not find any more: at first only as what came before.
fn vanished(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let status = container(pod)?;
    let states = [status.state.as_ref(), status.last_state.as_ref()].into_iter().flatten();
    states
        .filter_map(|state| state.terminated.as_ref())
        .find(|ended| ended.reason.as_deref() == Some("ContainerStatusUnknown"))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
