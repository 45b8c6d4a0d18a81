//! How a service stands, from its tasks alone. Pure.

use bollard::models::{Task, TaskState as State};

use super::snapshot::{Workload, container};
use crate::{
    domain::{Timestamp, WaitReason},
    engines::{
        Exit, LaunchFailure, WorkloadPhase,
        docker_api::{errors, moment},
    },
};

/// What the tasks say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// All there is to know.
    Phase(WorkloadPhase),
    /// A node has no image for it, and does not say why.
    NoImage {
        /// The task.
        task: String,
    },
}

/// What the workload's tasks say. `started_at`: since when the task ran, where that was seen.
pub(super) fn read(workload: &Workload, started_at: Option<Timestamp>) -> Reading {
    let Some(task) = workload.task() else {
        return Reading::Phase(if workload.stopped {
            never_started()
        } else {
            WorkloadPhase::Pending(WaitReason::Launching, "the swarm has just taken it on".to_owned())
        });
    };
    let status = task.status.clone().unwrap_or_default();
    let (state, words) = (status.state.unwrap_or(State::NEW), status.err.unwrap_or_default());
    let finished_at = moment(status.timestamp.as_deref());
    let code = status.container_status.and_then(|status| i32::try_from(status.exit_code?).ok());
    let ran = container(task).is_some();
    let ended = |code, failure| {
        let started_at = started_at.or_else(|| moment(task.created_at.as_deref())).filter(|_| ran);
        WorkloadPhase::Exited(Exit { code, out_of_memory: false, failure, started_at, finished_at })
    };
    Reading::Phase(match state {
        State::RUNNING => WorkloadPhase::Running(finished_at.unwrap_or(workload.created_at)),
        State::COMPLETE => ended(Some(0), None),
        State::SHUTDOWN | State::REMOVE if !ran => never_started(),
        State::SHUTDOWN if workload.stopped => ended(code, None),
        State::SHUTDOWN | State::REMOVE => {
            ended(None, Some(LaunchFailure::Evicted(or(words, "the swarm has ended it: was its node drained?"))))
        }
        State::FAILED if is_exit(&words) => ended(code, None),
        State::FAILED if errors::is_missing_command(&words) => ended(None, Some(LaunchFailure::CommandNotFound(words))),
        State::FAILED | State::REJECTED if errors::is_missing_image(&words) => {
            return Reading::NoImage { task: task.id.clone().unwrap_or_default() };
        }
        State::FAILED | State::REJECTED => ended(None, Some(LaunchFailure::Rejected(words))),
        State::ORPHANED => ended(None, Some(LaunchFailure::Lost(or(words, "its node is gone")))),
        // It will not come further.
        _ if workload.stopped && !ran && task.node_id.as_deref().is_none_or(str::is_empty) => never_started(),
        State::NEW | State::ALLOCATED | State::PENDING if !words.is_empty() => {
            WorkloadPhase::Pending(WaitReason::NoCapacity, words)
        }
        // A node that pulls says nothing more.
        State::PREPARING => {
            WorkloadPhase::Pending(WaitReason::PullingImage, format!("a node prepares {}", workload.image))
        }
        _ => WorkloadPhase::Pending(WaitReason::Launching, status.message.unwrap_or_default()),
    })
}

/// Whether the task can run no more.
pub(super) fn has_ended(task: &Task) -> bool {
    use State::{COMPLETE, FAILED, ORPHANED, REJECTED, REMOVE, SHUTDOWN};
    let state = task.status.as_ref().and_then(|status| status.state);
    matches!(state, Some(COMPLETE | FAILED | ORPHANED | REJECTED | REMOVE | SHUTDOWN))
}

/// Whether the words are about an exit code of the container, and not about a container that could not be.
fn is_exit(words: &str) -> bool {
    words.starts_with("task: non-zero exit") || words.is_empty()
}

fn never_started() -> WorkloadPhase {
    let failure = Some(LaunchFailure::NeverStarted("it was stopped before it ran".to_owned()));
    WorkloadPhase::Exited(Exit { failure, ..Exit::default() })
}

fn or(words: String, default: &str) -> String {
    if words.is_empty() { default.to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{AttemptId, RunId};

    fn workload(stopped: bool, tasks: &[Value]) -> Workload {
        Workload {
            id: "s1".to_owned(),
            attempt: AttemptId { run: RunId::generate(), number: 1 },
            image: "r/a:1".to_owned(),
            created_at: Timestamp::from_micros(1),
            stopped,
            tries: 0,
            tasks: tasks.iter().map(|task| serde_json::from_value(task.clone()).unwrap()).collect(),
        }
    }

    fn task(state: &str, error: &str, container: Option<(&str, i32)>) -> Value {
        let container = container.map(|(id, code)| json!({"ContainerID": id, "PID": 0, "ExitCode": code}));
        json!({"ID": "t1", "CreatedAt": "2026-01-01T00:00:00Z", "NodeID": "n1", "DesiredState": "running",
            "Status": {"Timestamp": "2026-01-01T00:00:09Z", "State": state, "Err": error, "ContainerStatus": container}})
    }

    fn exit(stopped: bool, task: &Value) -> Exit {
        match read(&workload(stopped, std::slice::from_ref(task)), None) {
            Reading::Phase(WorkloadPhase::Exited(exit)) => exit,
            other => panic!("{task}: {other:?}"),
        }
    }

    #[test]
    fn ends_are_told_apart() {
        let code = |exit: Exit| (exit.code, exit.failure);
        assert_eq!(code(exit(false, &task("complete", "", Some(("c", 0))))), (Some(0), None));
        assert_eq!(code(exit(false, &task("failed", "task: non-zero exit (3)", Some(("c", 3))))), (Some(3), None));
        assert_eq!(code(exit(true, &task("shutdown", "", Some(("c", 7))))), (Some(7), None));
        for (stopped, task, expected) in [
            (false, task("shutdown", "", Some(("c", 143))), "Evicted"),
            (true, task("shutdown", "", None), "NeverStarted"),
            (false, task("orphaned", "", Some(("c", 0))), "Lost"),
            (false, task("rejected", "invalid mount config", None), "Rejected"),
            (
                false,
                task("failed", "starting container failed: exec: \"x\": permission denied", Some(("c", 126))),
                "CommandNotFound",
            ),
        ] {
            let exit = exit(stopped, &task);
            assert!(format!("{:?}", exit.failure).contains(expected), "{task}: {exit:?}");
            assert_eq!(exit.code, None);
        }
    }

    #[test]
    fn an_end_keeps_the_start_that_was_seen() {
        let seen = Some(Timestamp::parse("2026-01-01T00:00:05Z").unwrap());
        let ended = workload(false, &[task("complete", "", Some(("c", 0)))]);
        let Reading::Phase(WorkloadPhase::Exited(exit)) = read(&ended, seen) else { panic!() };
        assert_eq!(exit.started_at, seen);
        assert_eq!(exit.finished_at, Some(Timestamp::parse("2026-01-01T00:00:09Z").unwrap()));
    }

    #[test]
    fn waits_are_told_apart() {
        let wait = |task: Value| match read(&workload(false, &[task]), None) {
            Reading::Phase(WorkloadPhase::Pending(reason, _)) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            wait(task("pending", "no suitable node (insufficient resources on 1 node)", None)),
            WaitReason::NoCapacity
        );
        assert_eq!(wait(task("pending", "", None)), WaitReason::Launching);
        assert_eq!(wait(task("preparing", "", None)), WaitReason::PullingImage);
        assert_eq!(wait(task("starting", "", Some(("c", 0)))), WaitReason::Launching);
    }

    #[test]
    fn a_missing_image_is_a_question_to_the_registry() {
        let rejected = workload(false, &[task("rejected", "No such image: r/a:1", None)]);
        assert_eq!(read(&rejected, None), Reading::NoImage { task: "t1".to_owned() });
    }

    #[test]
    fn what_has_run_matters_more_than_what_waits() {
        let mut waiting = task("pending", "no suitable node", None);
        waiting["ID"] = json!("t2");
        let both = workload(true, &[task("shutdown", "", Some(("c", 7))), waiting]);
        assert_eq!(both.task().and_then(|task| task.id.as_deref()), Some("t1"));
    }
}
