//! How a job stands, from its allocations alone. Pure.

use super::{
    render::TASK,
    types::{Allocation, Event, Job, TaskState, moment},
};
use crate::{
    domain::{Timestamp, WaitReason},
    engines::{EngineErrorKind, Exit, LaunchFailure, Persistence, WorkloadPhase, docker_api::errors},
};

/// What an allocation says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// All there is to know.
    Phase(WorkloadPhase),
    /// It failed before it ran, for want of an image that may come to be had.
    NoImage(String),
}

/// The job's allocations, oldest first.
pub(super) fn in_order(mut allocations: Vec<Allocation>) -> Vec<Allocation> {
    allocations.sort_by_key(|allocation| allocation.create_index);
    allocations
}

/// The allocation whose result counts: the first that could run at all. Later ones are replacements that nobody asked
/// for.
pub(super) fn first<'a>(job: &Job, allocations: &'a [Allocation]) -> Option<(&'a Allocation, Reading)> {
    let mut readings = allocations.iter().map(|allocation| (allocation, read(job, allocation)));
    let last = allocations.len().checked_sub(1)?;
    readings.by_ref().take(last).find(|(_, reading)| matches!(reading, Reading::Phase(_))).or_else(|| {
        let allocation = &allocations[last];
        Some((allocation, read(job, allocation)))
    })
}

/// What names the present execution: the newest allocation that has run.
pub(super) fn execution(allocations: &[Allocation]) -> Option<String> {
    let ran = |allocation: &&Allocation| started_at(allocation).is_some();
    allocations.iter().rev().find(ran).map(|allocation| allocation.id.clone())
}

/// Since when the allocation's task runs, or ran.
pub(super) fn started_at(allocation: &Allocation) -> Option<Timestamp> {
    moment(task(allocation)?.started_at.as_ref())
}

/// When its task ended.
pub(super) fn finished_at(allocation: &Allocation) -> Option<Timestamp> {
    moment(task(allocation)?.finished_at.as_ref())
}

fn task(allocation: &Allocation) -> Option<&TaskState> {
    allocation.task_states.as_ref()?.get(TASK)
}

fn read(job: &Job, allocation: &Allocation) -> Reading {
    let none = TaskState::default();
    let task = task(allocation).unwrap_or(&none);
    let events = task.events.as_deref().unwrap_or_default();
    let (started_at, finished_at) = (moment(task.started_at.as_ref()), moment(task.finished_at.as_ref()));
    let exit = |code, out_of_memory, failure| {
        Reading::Phase(WorkloadPhase::Exited(Exit { code, out_of_memory, failure, started_at, finished_at }))
    };
    let over = task.state == "dead" || matches!(allocation.client_status.as_str(), "complete" | "failed");
    if over {
        let ended_by_others = allocation.desired_status == "stop" && !job.stop;
        if ended_by_others {
            let why = format!("Nomad has ended it: {}", allocation.desired_description);
            return exit(None, false, Some(LaunchFailure::Evicted(why)));
        }
        if let Some(end) = events.iter().rev().find(|event| event.r#type == "Terminated") {
            let code = if end.exit_code == 0 && end.signal != 0 { 128 + end.signal } else { end.exit_code };
            let killed = end.details.iter().flatten().any(|(key, value)| key == "oom_killed" && value == "true");
            // Also told when only a child was killed; then the exit code decides what that meant.
            return exit(Some(code), killed && code != 0, None);
        }
        if job.stop {
            return exit(None, false, Some(LaunchFailure::NeverStarted("it was stopped before it ran".to_owned())));
        }
        return match failure(events, &allocation.client_description) {
            Ok(failure) => exit(None, false, Some(failure)),
            Err(words) => Reading::NoImage(words),
        };
    }
    Reading::Phase(match allocation.client_status.as_str() {
        "lost" => {
            let why = format!("its node {} is gone", allocation.node_name);
            return exit(None, false, Some(LaunchFailure::Lost(why)));
        }
        "running" | "unknown" if started_at.is_some() => {
            WorkloadPhase::Running(started_at.unwrap_or(Timestamp::from_micros(0)))
        }
        _ => waits(events, &allocation.node_name),
    })
}

/// Why a task never ran; `Err`: its image could not be had now.
fn failure(events: &[Event], description: &str) -> Result<LaunchFailure, String> {
    // A task that is killed before it ran is killed for a reason: a template that cannot be filled in, say.
    let is_cause = |event: &&Event| match event.r#type.as_str() {
        "Not Restarting" => false,
        "Killing" => event.details.iter().flatten().any(|(key, value)| key == "fails_task" && value == "true"),
        _ => true,
    };
    let last = events.iter().rev().find(is_cause);
    let Some(event) = last else { return Ok(LaunchFailure::Rejected(description.to_owned())) };
    let words = if event.driver_error.is_empty() { &event.display_message } else { &event.driver_error }.clone();
    if event.r#type != "Driver Failure" {
        return Ok(LaunchFailure::Rejected(format!("{}: {words}", event.r#type)));
    }
    if is_reference(&words) {
        return Ok(LaunchFailure::Image(EngineErrorKind::ImageInvalid, words));
    }
    if words.contains("Failed to pull") || words.contains("Failed to find docker image") {
        let (kind, persistence) = errors::pull_failure(&words);
        if persistence == Persistence::Permanent {
            return Ok(LaunchFailure::Image(kind, words));
        }
        return Err(words);
    }
    if errors::is_missing_command(&words) {
        return Ok(LaunchFailure::CommandNotFound(words));
    }
    Ok(LaunchFailure::Rejected(words))
}

fn is_reference(words: &str) -> bool {
    ["invalid reference format", "repository name must", "does not match registry specification"]
        .iter()
        .any(|needle| words.contains(needle))
}

fn waits(events: &[Event], node: &str) -> WorkloadPhase {
    match events.last() {
        Some(Event { r#type, details, display_message, .. }) if r#type == "Driver" => {
            let image = details.as_ref().and_then(|details| details.get("image")).unwrap_or(display_message);
            WorkloadPhase::Pending(WaitReason::PullingImage, format!("node {node} pulls {image}"))
        }
        Some(event) => WorkloadPhase::Pending(WaitReason::Launching, event.display_message.clone()),
        None => WorkloadPhase::Pending(WaitReason::Launching, format!("given to node {node}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(stop: bool) -> Job {
        Job { stop, version: 0, meta: None }
    }

    fn allocation(status: &str, desired: &str, started: bool, events: &Value) -> Allocation {
        let started = started.then_some("2026-01-01T00:00:01Z");
        let over = matches!(status, "complete" | "failed").then_some("2026-01-01T00:00:02Z");
        let state = if over.is_some() { "dead" } else { status };
        let value = json!({"ID": "a1", "ClientStatus": status, "DesiredStatus": desired, "CreateIndex": 5,
            "TaskStates": {"main": {"State": state, "StartedAt": started, "FinishedAt": over, "Events": events}}});
        serde_json::from_value(value).unwrap()
    }

    fn exit(stop: bool, allocation: &Allocation) -> Exit {
        match read(&job(stop), allocation) {
            Reading::Phase(WorkloadPhase::Exited(exit)) => exit,
            other => panic!("{other:?}"),
        }
    }

    fn terminated(code: i32, signal: i32, oom: &str) -> Value {
        json!([{"Type": "Started"}, {"Type": "Terminated", "ExitCode": code, "Signal": signal,
            "Details": {"oom_killed": oom}}, {"Type": "Not Restarting"}])
    }

    #[test]
    fn a_result_is_its_terminated_event() {
        for (status, desired, stop, events, expected) in [
            ("complete", "run", false, terminated(0, 0, "true"), (Some(0), false)),
            ("failed", "run", false, terminated(3, 0, "false"), (Some(3), false)),
            ("failed", "run", false, terminated(137, 0, "true"), (Some(137), true)),
            ("failed", "run", false, terminated(0, 9, "false"), (Some(137), false)),
            // What we have stopped is `complete`, whatever its code.
            ("complete", "stop", true, terminated(137, 0, "false"), (Some(137), false)),
        ] {
            let exit = exit(stop, &allocation(status, desired, true, &events));
            assert_eq!((exit.code, exit.out_of_memory, exit.failure), (expected.0, expected.1, None), "{events}");
        }
    }

    #[test]
    fn what_others_stop_is_evicted_and_what_we_stop_early_has_never_started() {
        let ended = exit(false, &allocation("complete", "stop", true, &terminated(143, 0, "false")));
        assert!(matches!(ended.failure, Some(LaunchFailure::Evicted(_))) && ended.code.is_none());
        let events = json!([{"Type": "Driver"}, {"Type": "Driver Failure", "DriverError": "Failed to pull `a`: x"}]);
        let ended = exit(true, &allocation("failed", "stop", false, &events));
        assert!(matches!(ended.failure, Some(LaunchFailure::NeverStarted(_))));
    }

    #[test]
    fn failures_before_the_start_are_told_apart_by_their_text() {
        let failed = |words: &str| {
            let events = json!([{"Type": "Driver Failure", "DriverError": words}, {"Type": "Not Restarting"}]);
            read(&job(false), &allocation("failed", "run", false, &events))
        };
        for (words, expected) in [
            ("Failed to pull `r/none:1`: API error (500): manifest unknown", EngineErrorKind::ImageNotFound),
            (
                "unable to create local docker image \"A//b\": does not match registry specification",
                EngineErrorKind::ImageInvalid,
            ),
        ] {
            let Reading::Phase(WorkloadPhase::Exited(Exit { failure: Some(LaunchFailure::Image(kind, _)), .. })) =
                failed(words)
            else {
                panic!("{words}")
            };
            assert_eq!(kind, expected, "{words}");
        }
        assert!(matches!(
            failed("Failed to pull `r/a:1`: API error (500): dial tcp: connection refused"),
            Reading::NoImage(_)
        ));
        let missing =
            failed("Failed to start container 1: API error (400): exec: \"x\": executable file not found in $PATH");
        let Reading::Phase(WorkloadPhase::Exited(exit)) = missing else { panic!() };
        assert!(matches!(exit.failure, Some(LaunchFailure::CommandNotFound(_))));
    }

    #[test]
    fn a_template_that_cannot_be_filled_in_is_what_is_wrong() {
        let events = json!([{"Type": "Template", "DisplayMessage": "Missing: nomad.var.block(a)"},
            {"Type": "Killing", "DisplayMessage": "Template failed: no such function", "Details": {"fails_task": "true"}}]);
        let ended = exit(false, &allocation("failed", "run", false, &events));
        assert_eq!(
            ended.failure,
            Some(LaunchFailure::Rejected("Killing: Template failed: no such function".to_owned()))
        );
    }

    #[test]
    fn the_first_result_counts_and_the_newest_execution_is_told() {
        let mut lost = allocation("lost", "stop", true, &json!([{"Type": "Started"}]));
        lost.id = "old".to_owned();
        let mut replacement = allocation("running", "run", true, &json!([{"Type": "Started"}]));
        (replacement.id, replacement.create_index) = ("new".to_owned(), 9);
        let both = in_order(vec![replacement, lost]);
        let (counts, reading) = first(&job(false), &both).unwrap();
        assert_eq!(counts.id, "old");
        assert!(
            matches!(reading, Reading::Phase(WorkloadPhase::Exited(exit)) if matches!(exit.failure, Some(LaunchFailure::Lost(_))))
        );
        assert_eq!(execution(&both).as_deref(), Some("new"));
    }

    #[test]
    fn a_pull_is_told() {
        let events = json!([{"Type": "Driver", "Details": {"image": "r/a:1"}}]);
        let Reading::Phase(WorkloadPhase::Pending(reason, detail)) =
            read(&job(false), &allocation("pending", "run", false, &events))
        else {
            panic!()
        };
        assert_eq!(reason, WaitReason::PullingImage);
        assert!(detail.contains("r/a:1"));
    }
}
