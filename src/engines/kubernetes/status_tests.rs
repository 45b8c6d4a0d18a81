use serde_json::Value;

use super::*;

/// Recorded answers of a real cluster.
fn recorded(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../../tests/kubernetes/recorded.json")).unwrap();
    let one = all[name].clone();
    assert!(!one.is_null(), "{name}");
    one
}

fn pod(of: Value) -> Pod {
    serde_json::from_value(of).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A moment after the recordings began, and before anything in them takes long.
fn now() -> Timestamp {
    at("2026-11-21T02:53:40Z")
}

fn seen(of: Value) -> Look {
    look(&pod(of), now())
}

fn exit(of: Value) -> Exit {
    match seen(of) {
        Look::Is(WorkloadPhase::Exited(exit)) => exit,
        other => panic!("no exit: {other:?}"),
    }
}

#[test]
fn ends_are_told_apart() {
    for (name, code, out_of_memory) in [
        ("exit_0", 0, false),
        ("exit_3", 3, false),
        ("exit_139", 139, false),
        ("out_of_memory", 137, true),
        ("out_of_memory_of_a_child", 7, true),
        ("kubelet_back", 3, false),
    ] {
        let exit = exit(recorded(name));
        assert_eq!((exit.code, exit.out_of_memory, &exit.failure), (Some(code), out_of_memory, &None), "{name}");
        assert!(exit.started_at.unwrap() <= exit.finished_at.unwrap());
    }
    let mut coped = recorded("out_of_memory_of_a_child");
    coped["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = 0.into();
    assert!(!exit(coped).out_of_memory);
}

#[test]
fn what_never_ran_has_no_exit_code() {
    let exit = exit(recorded("command_not_found"));
    assert!(matches!(&exit.failure, Some(LaunchFailure::CommandNotFound(text)) if text.contains("/no/such/binary")));
    assert_eq!((exit.code, exit.started_at), (None, None));
}

/// An end that a kubelet made up has code 0, and is no success.
#[test]
fn an_end_without_times_is_no_success() {
    let mut forgotten = recorded("exit_0");
    forgotten["status"]["containerStatuses"][0]["state"] = json!({"terminated": {"exitCode": 0}});
    let exit = exit(forgotten);
    assert_eq!(exit.code, None);
    assert!(exit.failure.is_some());
}

#[test]
fn images_that_cannot_be_had_doom_the_pod() {
    for (name, why) in [
        ("image_missing", Why::ImageNotFound),
        ("image_wants_login", Why::ImageUnauthorized),
        ("image_invalid", Why::ImageInvalid),
        ("image_never_pulled", Why::ImageNotFound),
    ] {
        let Look::Doomed(doom) = seen(recorded(name)) else { panic!("{name}: {:?}", seen(recorded(name))) };
        assert_eq!(doom.why, why, "{name}");
        // Once it has been ended, its record says why.
        let mut ended = recorded(name);
        ended["metadata"]["annotations"] = doom.change()["metadata"]["annotations"].clone();
        ended["status"]["phase"] = "Failed".into();
        ended["status"]["reason"] = "DeadlineExceeded".into();
        assert_eq!(exit(ended), Exit { failure: Some(doom.failure()), ..Exit::default() });
    }
    for name in ["image_backing_off", "image_host_unknown"] {
        assert!(matches!(seen(recorded(name)), Look::Starting(WaitReason::PullingImage, _)), "{name}");
    }
}

#[test]
fn what_is_coming_up_says_what_it_waits_for() {
    assert!(matches!(seen(recorded("being_created")), Look::Starting(WaitReason::Launching, _)));
    let Look::Is(WorkloadPhase::Pending(WaitReason::NoCapacity, text)) = seen(recorded("unplaced")) else {
        panic!("it waits for room")
    };
    assert!(text.contains("nodes are available"), "{text}");
    assert!(matches!(
        seen(recorded("secret_missing")),
        Look::Is(WorkloadPhase::Pending(WaitReason::Launching, text)) if text.contains("secret")
    ));
}

/// A node that is silent for a while is not lost; one that does not even delete what it should is.
#[test]
fn a_lost_node_is_told_from_a_silent_one() {
    assert!(matches!(seen(recorded("node_not_ready")), Look::Is(WorkloadPhase::Running(_))));
    let deleted = || pod(recorded("deleted_on_a_dead_node"));
    assert!(matches!(look(&deleted(), now()), Look::Is(WorkloadPhase::Running(_))));
    let Look::Is(WorkloadPhase::Exited(exit)) = look(&deleted(), now().plus(Duration::from_secs(120))) else {
        panic!("it is lost")
    };
    assert!(matches!(exit.failure, Some(LaunchFailure::Lost(_))), "{exit:?}");
}

#[test]
fn what_somebody_deleted_has_not_succeeded() {
    let theirs = exit(recorded("deleted_and_exits_0"));
    assert_eq!(theirs.code, Some(0));
    assert!(matches!(theirs.failure, Some(LaunchFailure::Evicted(_))), "{theirs:?}");
    assert!(matches!(exit(recorded("killed_after_deletion")).failure, Some(LaunchFailure::Evicted(_))));
    // What we have stopped has ended by our own will.
    let mut ours = recorded("deleted_and_exits_0");
    ours["metadata"]["annotations"] = stopped_mark()["metadata"]["annotations"].clone();
    assert_eq!((exit(ours.clone()).code, exit(ours).failure), (Some(0), None));
    // What had ended before is as it was.
    let mut before = recorded("deleted_and_exits_0");
    before["metadata"]["deletionTimestamp"] = "2026-11-21T02:52:45Z".into();
    assert_eq!((exit(before.clone()).code, exit(before).failure), (Some(0), None));
}

/// As a kubelet of 1.20 told it under load.
#[test]
fn an_end_that_the_node_has_lost_is_told_as_such() {
    let stopped = |phase: &str| {
        let mut of = recorded("being_created");
        of["metadata"]["annotations"] = stopped_mark()["metadata"]["annotations"].clone();
        of["metadata"]["deletionTimestamp"] = "2026-11-21T02:52:45Z".into();
        of["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        of["status"]["phase"] = phase.into();
        exit(of).failure.unwrap()
    };
    assert!(matches!(stopped("Failed"), LaunchFailure::Lost(_)));
    assert!(matches!(stopped("Pending"), LaunchFailure::NeverStarted(_)));
}

/// As a kubelet of 1.36 tells it, one after the other, of a container that it does not find any more.
#[test]
fn a_container_that_has_vanished_is_lost() {
    let vanished = json!({"terminated": {
        "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null,
        "message": "The container could not be located when the pod was terminated",
    }});
    let with = |state: &Value, last: &Value| {
        let mut of = recorded("exit_0");
        of["status"]["phase"] = "Failed".into();
        of["status"]["containerStatuses"][0]["state"] = state.clone();
        of["status"]["containerStatuses"][0]["lastState"] = last.clone();
        exit(of)
    };
    for exit in [with(&json!({"waiting": {"reason": "ContainerCreating"}}), &vanished), with(&vanished, &vanished)] {
        assert!(matches!(&exit.failure, Some(LaunchFailure::Lost(text)) if text.contains("located")), "{exit:?}");
        assert_eq!(exit.code, None);
    }
}

/// As containerd tells it of what ran when its node lost power: with a code that no script gave.
#[test]
fn an_end_that_no_runtime_saw_is_not_the_scripts() {
    let mut of = recorded("exit_139");
    of["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = 255.into();
    assert_eq!(exit(of.clone()).code, Some(255));
    of["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] = "Unknown".into();
    let exit = exit(of);
    assert!(matches!(&exit.failure, Some(LaunchFailure::Lost(_))), "{exit:?}");
    assert_eq!(exit.code, None);
}

#[test]
fn disturbances_are_told_apart() {
    let with = |reason: &str, condition: Option<&str>| {
        let mut of = recorded("exit_139");
        of["status"]["reason"] = reason.into();
        of["status"]["message"] = "the words".into();
        if let Some(reason) = condition {
            of["status"]["conditions"] =
                json!([{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "the words"}]);
        }
        exit(of).failure.unwrap()
    };
    let words = || "the words".to_owned();
    assert_eq!(with("Evicted", None), LaunchFailure::Evicted(words()));
    assert_eq!(with("NodeShutdown", None), LaunchFailure::Interrupted(words()));
    assert_eq!(with("DeadlineExceeded", None), LaunchFailure::DeadlineExceeded(words()));
    assert_eq!(with("", Some("PreemptionByScheduler")), LaunchFailure::Evicted(words()));
    assert_eq!(with("", Some("EvictionByEvictionAPI")), LaunchFailure::Evicted(words()));
    assert_eq!(with("", Some("DeletionByPodGC")), LaunchFailure::Lost(words()));
    // A pod that is evicted before it ran has no container.
    let mut never = recorded("unplaced");
    never["status"] = json!({"phase": "Failed", "reason": "Evicted", "message": "the words"});
    assert_eq!(exit(never).failure, Some(LaunchFailure::Evicted(words())));
}

/// Older kubelets tell the deadline first, and never the end.
#[test]
fn the_backstop_ends_after_its_grace() {
    let past = || pod(recorded("past_its_deadline"));
    let soon = at("2026-11-21T02:51:05Z");
    assert!(matches!(look(&past(), soon), Look::Is(WorkloadPhase::Running(_))));
    let Look::Is(WorkloadPhase::Exited(exit)) = look(&past(), now()) else { panic!("it has ended") };
    assert!(matches!(exit.failure, Some(LaunchFailure::DeadlineExceeded(_))), "{exit:?}");
}

#[test]
fn two_pods_are_two_executions() {
    let mut pods = [pod(recorded("its_replacement")), pod(recorded("deleted_and_exits_0"))];
    in_order(&mut pods);
    assert_eq!(pods[0].metadata.name, pod(recorded("deleted_and_exits_0")).metadata.name);
    let (one, both) = (execution(&pods[..1]).unwrap(), execution(&pods).unwrap());
    assert!(both.starts_with(&one) && both != one, "{one}, then {both}");
    assert_eq!(execution(&[pod(recorded("being_created"))]), None);
}

/// Seen: deleted in the second it was made in, and replaced in that same second.
#[test]
fn a_replacement_of_the_same_second_comes_second() {
    for uids in [["a", "b"], ["b", "a"]] {
        let (mut first, mut second) = (recorded("deleted_and_exits_0"), recorded("its_replacement"));
        for (of, uid) in [&mut first, &mut second].into_iter().zip(uids) {
            of["metadata"]["creationTimestamp"] = json!("2026-11-22T08:37:36Z");
            of["metadata"]["uid"] = json!(uid);
        }
        let is_first = |first: &Value, second: &Value| {
            let mut both = [pod(second.clone()), pod(first.clone())];
            in_order(&mut both);
            assert_eq!(both[0], pod(first.clone()), "{uids:?}");
        };
        is_first(&first, &second);
        // The job is over, so its second pod has to go, too, whatever its container comes to.
        for (of, due) in [(&mut first, "2026-11-22T08:37:46Z"), (&mut second, "2026-11-22T08:37:49Z")] {
            of["metadata"]["deletionTimestamp"] = json!(due);
            of["metadata"]["deletionGracePeriodSeconds"] = json!(10);
        }
        is_first(&first, &second);
        // Even at once: then by their containers.
        second["metadata"]["deletionTimestamp"] = first["metadata"]["deletionTimestamp"].clone();
        is_first(&first, &second);
    }
}

#[test]
fn a_record_is_kept_until_it_is_let_go() {
    let mut of = recorded("deleted_and_exits_0");
    of["metadata"]["finalizers"] = json!([FINALIZER]);
    assert!(!is_released(&pod(of.clone())));
    of["metadata"]["finalizers"] = json!(["another/one"]);
    assert!(is_released(&pod(of)));
    assert!(!is_released(&pod(recorded("exit_0"))));
}
