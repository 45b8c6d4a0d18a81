//! What a test can do to an engine, or behind its back.

use std::time::Duration;

use async_trait::async_trait;

use super::{Skipped, Step, Subject, Verdict, eventually};
use crate::engines::{Exit, Handle, LaunchFailure, LogSource, Persistence, WorkloadPhase};

/// The means of one kind of engine. What a kind has no means for is a visible skip.
#[async_trait]
pub trait Faults: Send + Sync {
    /// Takes the engine away; what runs on it may run on.
    async fn interrupt(&self) -> Verdict {
        Err(Skipped("the engine belongs to others, who need it"))
    }

    /// Brings it back.
    async fn restore(&self) {}

    /// Executes the workload a second time, which no service would.
    async fn start_again(&self, _handle: &Handle) -> Verdict {
        Err(Skipped("the test has no means to start a workload twice"))
    }

    /// Removes the workload as a stranger would, with all that the engine knows of it.
    async fn lose(&self, _handle: &Handle) -> Verdict {
        Err(Skipped("the test has no means to remove a workload behind the engine's back"))
    }
}

/// No means at all.
#[derive(Debug)]
pub struct NoFaults;

impl Faults for NoFaults {}

/// A workload that somebody removes is gone for certain, or has been thrown out; it has never succeeded.
pub async fn removed_behind_its_back(subject: &Subject) -> Verdict {
    let handle = subject.launch(&subject.spec(&[Step::Print("ready"), Step::AwaitTerm(0)])).await;
    subject.running(&handle).await;
    subject.begun(&handle).await;
    subject.faults.lose(&handle).await?;
    eventually("the removal is told", || async {
        match subject.observe(&handle).await.phase {
            WorkloadPhase::Absent => Some(()),
            WorkloadPhase::Exited(Exit { failure: Some(LaunchFailure::Evicted(_)), .. }) => Some(()),
            WorkloadPhase::Exited(exit) => panic!("a removed workload ended by itself: {exit:?}"),
            WorkloadPhase::Running(_) | WorkloadPhase::Pending(..) => None,
        }
    })
    .await;
    subject.engine.remove(&handle).await.expect("missing is success");
    assert_eq!(subject.observe(&handle).await.phase, WorkloadPhase::Absent);
    Ok(())
}

/// A second execution has another name than the first.
pub async fn second_execution_is_seen(subject: &Subject) -> Verdict {
    let handle = subject.launch(&subject.spec(&[Step::Print("ready"), Step::AwaitTerm(0)])).await;
    subject.running(&handle).await;
    let first = subject.observe(&handle).await.execution.expect("an execution has a name");
    subject.faults.start_again(&handle).await?;
    eventually("the second execution is seen", || async {
        let seen = subject.observe(&handle).await.execution;
        seen.is_some_and(|execution| execution != first).then_some(())
    })
    .await;
    Ok(())
}

/// While the engine is away nothing is known; when it is back, all is as it was, and what ended meanwhile has ended.
pub async fn engine_gone_and_back(subject: &Subject) -> Verdict {
    let waits = subject.launch(&subject.spec(&[Step::Print("ready"), Step::AwaitTerm(7)])).await;
    let ends = subject.launch(&subject.spec(&[Step::Sleep(1500), Step::Print("late"), Step::Exit(4)])).await;
    subject.running(&waits).await;
    subject.begun(&waits).await;
    subject.started(&ends).await;
    let execution = subject.observe(&waits).await.execution;
    subject.faults.interrupt().await?;
    let error = eventually("its absence is noticed", || async {
        match subject.engine.observe(std::slice::from_ref(&waits)).await {
            Err(error) => Some(error),
            Ok(mut seen) => seen.remove(&waits.attempt).and_then(Result::err),
        }
    })
    .await;
    assert_eq!(error.persistence, Persistence::Unreachable, "{error}");
    assert!(!subject.engine.probe().await.reachable);
    assert_eq!(subject.engine.list().await.expect_err("nobody can tell").persistence, Persistence::Unreachable);
    subject.faults.restore().await;
    eventually("it is back", || async { subject.engine.probe().await.reachable.then_some(()) }).await;
    let seen = subject.observe(&waits).await;
    assert!(matches!(seen.phase, WorkloadPhase::Running(_)), "{seen:?}");
    assert_eq!(seen.execution, execution);
    assert_eq!(subject.end(&ends).await.code, Some(4));
    assert_eq!(subject.output(&ends, LogSource::Stdout).await, b"late\n");
    subject.engine.stop(&waits, Duration::from_secs(30)).await.expect("it can be stopped");
    assert_eq!(subject.end(&waits).await.code, Some(7));
    Ok(())
}
