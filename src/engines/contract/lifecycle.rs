//! Once and only once: launching, adopting, stopping, removing, listing, telling.

use std::{collections::HashSet, time::Duration};

use futures::{StreamExt, future::join_all};
use tokio::time::{Instant, timeout};

use super::{PATIENCE, Step, Subject, Verdict, eventually};
use crate::{
    domain::AttemptId,
    engines::{
        Change, EngineErrorKind, Exit, Handle, LaunchFailure, LaunchProgress, LaunchSpec, LogSource, WorkloadPhase,
    },
};

const GRACE: Duration = Duration::from_secs(30);

/// One line for each start.
fn once(subject: &Subject) -> LaunchSpec {
    subject.spec(&[Step::Print("started"), Step::Exit(0)])
}

async fn assert_started_once(subject: &Subject, handle: &Handle) {
    assert_eq!(subject.end(handle).await.code, Some(0));
    assert_eq!(subject.output(handle, LogSource::Stdout).await, b"started\n");
    assert_eq!(subject.engine.list().await.expect("a list").len(), 1);
}

/// Two launches of one attempt, in one process and in two, are one start.
pub async fn ensure_twice_at_once(subject: &Subject) -> Verdict {
    let spec = once(subject);
    let (a, b, c) = tokio::join!(subject.launch(&spec), subject.launch(&spec), async {
        subject.other.ensure(&spec, &LaunchProgress::new().0).await.expect("the launch succeeds")
    });
    assert_eq!((&a, &b), (&b, &c));
    assert_started_once(subject, &a).await;
    Ok(())
}

/// What has ended is not started again.
pub async fn ensure_again_after_the_end(subject: &Subject) -> Verdict {
    let spec = once(subject);
    let (handle, exit) = subject.run(&spec).await;
    let execution = subject.observe(&handle).await.execution;
    assert_eq!(subject.launch(&spec).await, handle);
    assert_eq!(subject.end(&handle).await, exit);
    assert_eq!(subject.observe(&handle).await.execution, execution);
    assert_started_once(subject, &handle).await;
    Ok(())
}

/// Another process finds, watches, stops and removes what this one has launched.
pub async fn adopted_by_another_instance(subject: &Subject) -> Verdict {
    let spec = subject.spec(&[Step::Print("started"), Step::AwaitTerm(0)]);
    let handle = subject.launch(&spec).await;
    subject.running(&handle).await;
    assert_eq!(subject.other.ensure(&spec, &LaunchProgress::new().0).await.expect("it is adopted"), handle);
    let found = subject.other.list().await.expect("a list");
    assert_eq!(found.iter().map(|found| (&found.handle, found.running)).collect::<Vec<_>>(), [(&handle, true)]);
    // The script's trap must be set.
    let first = subject.other.logs(&handle).next().await.expect("a frame").expect("the output can be read");
    assert_eq!(&first.bytes[..], b"started\n");
    subject.other.stop(&handle, GRACE).await.expect("it can be stopped");
    assert_eq!(subject.end(&handle).await.code, Some(0));
    if subject.engine.capabilities().output_after_stop {
        assert_started_once(subject, &handle).await;
    }
    subject.other.remove(&handle).await.expect("it can be removed");
    assert_eq!(subject.observe(&handle).await.phase, WorkloadPhase::Absent);
    Ok(())
}

/// A workload of another owner is not adopted.
pub async fn taken_name(subject: &Subject) -> Verdict {
    let mut theirs = subject.spec(&[Step::AwaitTerm(0)]);
    let ours = subject.spec(&[Step::Exit(0)]);
    theirs.attempt = ours.attempt;
    let stranger = subject.stranger_owner(&mut theirs).await;
    let error = subject.engine.ensure(&ours, &LaunchProgress::new().0).await.expect_err("the name is taken");
    assert_eq!(error.kind, EngineErrorKind::Conflict, "{error}");
    assert!(error.is_permanent());
    assert_eq!(subject.engine.list().await.expect("a list"), Vec::new());
    subject.stranger.remove(&stranger).await.expect("it can be removed");
    Ok(())
}

/// TERM is enough for who listens.
pub async fn stop_with_term(subject: &Subject) -> Verdict {
    let handle = subject.launch(&subject.spec(&[Step::Print("ready"), Step::AwaitTerm(7)])).await;
    subject.begun(&handle).await;
    let asked = Instant::now();
    subject.engine.stop(&handle, GRACE).await.expect("it can be stopped");
    assert_ended(subject, &subject.end(&handle).await, 7);
    assert!(asked.elapsed() < GRACE);
    Ok(())
}

/// Checks how a workload has ended that was stopped.
fn assert_ended(subject: &Subject, exit: &Exit, code: i32) {
    match exit.failure {
        Some(LaunchFailure::Lost(_)) if subject.may_lose_ends => assert_eq!(exit.code, None),
        _ => assert_eq!((exit.code, exit.out_of_memory), (Some(code), false), "{exit:?}"),
    }
}

/// KILL comes to who does not, after the grace and not before.
pub async fn stop_with_kill(subject: &Subject) -> Verdict {
    let handle = subject.launch(&subject.spec(&[Step::Print("ready"), Step::IgnoreTerm])).await;
    subject.begun(&handle).await;
    let asked = Instant::now();
    subject.engine.stop(&handle, Duration::from_secs(2)).await.expect("it can be stopped");
    assert_ended(subject, &subject.end(&handle).await, 137);
    assert!(asked.elapsed() >= Duration::from_millis(1900), "{:?}", asked.elapsed());
    Ok(())
}

/// What is not there needs no stopping.
pub async fn stop_missing(subject: &Subject) -> Verdict {
    let attempt = subject.spec(&[]).attempt;
    let handle = Handle { attempt, id: attempt.workload_name().to_string() };
    subject.engine.stop(&handle, GRACE).await.expect("missing is success");
    Ok(())
}

/// Nor does what has ended; its end stays as it was.
pub async fn stop_ended(subject: &Subject) -> Verdict {
    let (handle, exit) = subject.run(&subject.spec(&[Step::Exit(3)])).await;
    subject.engine.stop(&handle, GRACE).await.expect("ended is success");
    assert_eq!(subject.end(&handle).await, exit);
    Ok(())
}

/// Removal does not ask how it stands.
pub async fn remove_running(subject: &Subject) -> Verdict {
    let handle = subject.launch(&subject.spec(&[Step::IgnoreTerm])).await;
    subject.running(&handle).await;
    subject.engine.remove(&handle).await.expect("it can be removed");
    assert_eq!(subject.observe(&handle).await.phase, WorkloadPhase::Absent);
    Ok(())
}

/// Removed twice, at once and one after the other.
pub async fn remove_twice(subject: &Subject) -> Verdict {
    let (handle, _) = subject.run(&once(subject)).await;
    let (a, b) = tokio::join!(subject.engine.remove(&handle), subject.other.remove(&handle));
    a.and(b).expect("both succeed");
    subject.engine.remove(&handle).await.expect("missing is success");
    assert_eq!(subject.observe(&handle).await.phase, WorkloadPhase::Absent);
    assert_eq!(subject.engine.list().await.expect("a list"), Vec::new());
    Ok(())
}

/// A list holds ours alone, running or not.
pub async fn list_is_ours(subject: &Subject) -> Verdict {
    assert_eq!(subject.engine.list().await.expect("a list"), Vec::new());
    let stranger = subject.stranger_owner(&mut subject.spec(&[Step::AwaitTerm(0)])).await;
    let (ended, _) = subject.run(&once(subject)).await;
    let running = subject.launch(&subject.spec(&[Step::AwaitTerm(0)])).await;
    subject.running(&running).await;
    let found: HashSet<_> = subject
        .engine
        .list()
        .await
        .expect("a list")
        .into_iter()
        .map(|it| (it.handle.attempt, it.handle.id, it.running))
        .collect();
    let expected = HashSet::from([(ended.attempt, ended.id, false), (running.attempt, running.id, true)]);
    assert_eq!(found, expected);
    assert_eq!(subject.stranger.list().await.expect("a list").len(), 1);
    subject.stranger.remove(&stranger).await.expect("it can be removed");
    Ok(())
}

/// An end is told without being asked for.
pub async fn changes_wake(subject: &Subject) -> Verdict {
    let handle = subject.launch(&subject.spec(&[Step::AwaitTerm(0)])).await;
    subject.running(&handle).await;
    let mut changes = subject.engine.changes();
    let stop = async {
        subject.engine.stop(&handle, GRACE).await.expect("it can be stopped");
    };
    let told = async {
        loop {
            let change = changes.next().await.expect("the stream goes on");
            let ours = matches!(change, Change::Workload(attempt) if attempt == handle.attempt);
            if (ours || change == Change::Everything)
                && matches!(subject.observe(&handle).await.phase, WorkloadPhase::Exited(_))
            {
                return;
            }
        }
    };
    let ((), ()) = timeout(PATIENCE, async { tokio::join!(stop, told) }).await.expect("the end is told");
    Ok(())
}

/// One question about many, of every kind, has an answer for each.
pub async fn observe_many(subject: &Subject) -> Verdict {
    let (ended, _) = subject.run(&subject.spec(&[Step::Exit(4)])).await;
    let running = join_all((0..6).map(|_| async { subject.launch(&subject.spec(&[Step::AwaitTerm(0)])).await })).await;
    join_all(running.iter().map(|handle| subject.running(handle))).await;
    let attempt = subject.spec(&[]).attempt;
    let missing = Handle { attempt, id: attempt.workload_name().to_string() };
    let all: Vec<_> = running.iter().chain([&ended, &missing]).cloned().collect();
    // The second time, an engine may answer from what it has seen; it must be the same.
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut seen = subject.engine.observe(&all).await.expect("the engine answers");
        assert_eq!(seen.len(), all.len());
        let mut phase = |attempt: AttemptId| seen.remove(&attempt).expect("an entry").expect("an observation");
        assert!(matches!(phase(ended.attempt).phase, WorkloadPhase::Exited(exit) if exit.code == Some(4)));
        assert_eq!(phase(missing.attempt).phase, WorkloadPhase::Absent);
        let running: Vec<_> = running.iter().map(|handle| phase(handle.attempt)).collect();
        assert!(running.iter().all(|seen| matches!(seen.phase, WorkloadPhase::Running(_))), "{running:?}");
        assert!(running.iter().all(|seen| seen.execution.is_some()));
        answers.push(running);
    }
    assert_eq!(answers[0], answers[1]);
    Ok(())
}

/// Many at once, each with its own answer.
pub async fn many_at_once(subject: &Subject) -> Verdict {
    let all = join_all((0..i32::from(subject.many)).map(|code| async move {
        let text = format!("this is {code}");
        let spec = subject.spec(&[Step::Print(&text), Step::Exit(code)]);
        (code, subject.launch(&spec).await)
    }))
    .await;
    let handles: Vec<_> = all.iter().map(|(_, handle)| handle.clone()).collect();
    let seen = eventually("all have ended", || async {
        let seen = subject.engine.observe(&handles).await.expect("the engine answers");
        let ended = |it: &Result<_, _>| matches!(it, Ok(super::Observation { phase: WorkloadPhase::Exited(_), .. }));
        seen.values().all(ended).then_some(seen)
    })
    .await;
    for (code, handle) in all {
        let observation = seen[&handle.attempt].as_ref().expect("an observation");
        assert!(
            matches!(&observation.phase, WorkloadPhase::Exited(exit) if exit.code == Some(code)),
            "{observation:?}"
        );
        assert_eq!(subject.output(&handle, LogSource::Stdout).await, format!("this is {code}\n").as_bytes());
    }
    assert_eq!(subject.engine.list().await.expect("a list").len(), usize::from(subject.many));
    Ok(())
}

/// A launch that is given up at any point can be made again, and is one start.
pub async fn dropped_launch(subject: &Subject) -> Verdict {
    for millis in [0, 3, 10, 20, 40, 80, 160] {
        let spec = once(subject);
        let _ = timeout(Duration::from_millis(millis), subject.engine.ensure(&spec, &LaunchProgress::new().0)).await;
        let handle = subject.launch(&spec).await;
        assert_eq!(subject.end(&handle).await.code, Some(0));
        assert_eq!(subject.output(&handle, LogSource::Stdout).await, b"started\n", "dropped after {millis} ms");
    }
    Ok(())
}

impl Subject {
    /// Launches as the other owner.
    async fn stranger_owner(&self, spec: &mut LaunchSpec) -> Handle {
        spec.owner = self.stranger_id;
        self.stranger.ensure(spec, &LaunchProgress::new().0).await.expect("the launch succeeds")
    }
}
