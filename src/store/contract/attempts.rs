//! From the stored intent to the stored result.

use serde_json::{Map, Value, json};

use super::fixtures::{Subject, after, conclude, name};
use crate::{
    domain::{
        AttemptId, AttemptPhase, ErrorCode, Outcome, Phase, Progress, Reports, RunEventKind, StopCause, WaitReason,
    },
    store::{Concluded, LiveAttempt},
};

fn document(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(document) => document,
        other => panic!("{other} is no object"),
    }
}

async fn propose(subject: &Subject, id: AttemptId, state: Value) -> Concluded {
    let reports = Reports { state: Some(document(state)), ..Reports::default() };
    conclude(&subject.store, id, Ok(Outcome::Done), reports, after(2)).await.expect("the present attempt")
}

/// The whole way of a run that succeeds.
pub async fn launched_and_concluded(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    let id = subject.start(&job).await;
    let run = store.launched(id, "container", after(1)).await.unwrap().unwrap();
    assert_eq!((run.life.phase, run.started_at), (Phase::Running, Some(after(1))));
    let again = store.launched(id, "container", after(2)).await.unwrap().unwrap();
    assert_eq!(again.started_at, Some(after(1)), "doing it again changes nothing");
    assert_eq!(store.note_execution(id, "one").await.unwrap(), None);
    assert_eq!(store.note_execution(id, "one").await.unwrap(), None);
    assert_eq!(store.note_execution(id, "two").await.unwrap(), Some("one".to_owned()));
    let reports =
        Reports { output: Some(json!({"rows": 3})), metrics: [("rows".to_owned(), 3.0)].into(), ..Reports::default() };
    let concluded = conclude(store, id, Ok(Outcome::Done), reports, after(9)).await.unwrap();
    let run = subject.read(id.run).await;
    assert_eq!(run, concluded.run);
    assert_eq!((run.life.phase, run.exit_code, run.error.as_ref()), (Phase::Succeeded, Some(0), None));
    assert_eq!((run.finished_at, run.log.bytes, run.log.complete), (Some(after(9)), 7, true));
    assert_eq!((run.output.as_deref(), run.metrics["rows"]), (Some(r#"{"rows":3}"#), 3.0));
    let attempts = store.attempts(id.run).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].phase, attempts[0].handle.as_deref()), (AttemptPhase::Ended, Some("container")));
    assert_eq!((attempts[0].started_at, attempts[0].ended_at), (Some(after(1)), Some(after(9))));
    assert!(store.launch_plan(id).await.unwrap().is_none(), "there is nothing to launch any more");
}

/// Who speaks of an attempt that is over, or never was, is not heard.
pub async fn stale_attempts_change_nothing(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"retry": {"max_attempts": 2, "backoff": {"seconds": 0}}})).await;
    let first = subject.start(&job).await;
    let next = subject.conclude(first, Err(ErrorCode::ExitCode)).await.unwrap();
    let second = next.admitted[0].attempt;
    assert_eq!(second, AttemptId { number: 2, ..first });
    let before = subject.read(first.run).await;
    for stale in [first, AttemptId { number: 3, ..first }] {
        assert!(store.launched(stale, "late", after(3)).await.unwrap().is_none());
        assert!(subject.conclude(stale, Ok(Outcome::Done)).await.is_none());
        assert!(store.launch_plan(stale).await.unwrap().is_none());
        store
            .report_progress(stale, &Reports { metrics: [("n".to_owned(), 1.0)].into(), ..Reports::default() })
            .await
            .unwrap();
    }
    assert_eq!(subject.read(first.run).await, before);
    assert!(store.launch_plan(second).await.unwrap().is_some());
}

/// Nothing changes how a run has ended.
pub async fn ends_are_final(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    let id = subject.start(&job).await;
    subject.conclude(id, Err(ErrorCode::ExitCode)).await.unwrap();
    let end = subject.read(id.run).await;
    assert_eq!((end.life.phase, end.exit_code), (Phase::Failed, Some(1)));
    assert!(store.launched(id, "late", after(9)).await.unwrap().is_none());
    assert!(subject.conclude(id, Ok(Outcome::Done)).await.is_none());
    let stopped = store.stop(id.run, StopCause::Cancelled, "tester", after(9)).await.unwrap().unwrap();
    assert_eq!(stopped.run, end);
    assert_eq!(store.admit(after(9)).await.unwrap(), []);
    assert_eq!(subject.read(id.run).await, end);
}

/// A failed attempt goes back to the queue, waits its pause, and leaves its slot to others meanwhile.
pub async fn failures_are_retried(subject: &Subject) {
    let store = &subject.store;
    let retry = json!({"max_attempts": 2, "backoff": {"seconds": 10}});
    let job = subject.job(json!({"max_parallel": 1, "retry": retry})).await;
    let first = subject.start(&job).await;
    let (other, _) = subject.trigger(job.run()).await;
    let next = subject.conclude(first, Err(ErrorCode::ExitCode)).await.unwrap();
    assert_eq!(next.run.life.phase, Phase::Queued);
    assert_eq!((next.run.requeue_reason, next.run.not_before), (Some(WaitReason::BackingOff), Some(after(11))));
    assert_eq!(next.admitted[0].attempt.run, other);
    subject.succeed(next.admitted[0].attempt).await;
    assert_eq!(store.admit(after(10)).await.unwrap(), []);
    let second = store.admit(after(11)).await.unwrap()[0].attempt;
    assert_eq!(second, AttemptId { number: 2, ..first });
    let run = subject.conclude(second, Err(ErrorCode::ExitCode)).await.unwrap().run;
    assert_eq!((run.life.phase, run.life.own_failures), (Phase::Failed, 1));
    assert_eq!(run.error.unwrap().code, ErrorCode::ExitCode);
    let kinds: Vec<_> = store.timeline(&subject.read(first.run).await).await.unwrap().iter().map(|e| e.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == RunEventKind::Retrying).count(), 1);
    let attempts = store.attempts(first.run).await.unwrap();
    assert_eq!(attempts.iter().map(|attempt| attempt.exit_code).collect::<Vec<_>>(), [Some(1), Some(1)]);
    assert_ne!(attempts[0].nonce, attempts[1].nonce);
}

/// Failures of the infrastructure do not use up the script's attempts.
pub async fn infrastructure_failures_are_retried_apart(subject: &Subject) {
    let job = subject.job(json!({})).await;
    let mut id = subject.start(&job).await;
    for _ in 0..3 {
        let run = subject.conclude(id, Err(ErrorCode::EngineLost)).await.unwrap().run;
        assert_eq!(run.life.phase, Phase::Queued);
        id = subject.store.admit(after(1000)).await.unwrap()[0].attempt;
    }
    let run = subject.conclude(id, Err(ErrorCode::EngineLost)).await.unwrap().run;
    assert_eq!((run.life.phase, run.life.attempt), (Phase::Failed, 4));
}

/// A run that is to be continued goes behind those who wait, its state committed.
pub async fn slices_go_to_the_back(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"max_parallel": 1, "max_slices": 2})).await;
    let first = subject.start(&job).await;
    let (other, _) = subject.trigger(job.run()).await;
    let reports = Reports { state: Some(document(json!({"page": 1}))), ..Reports::default() };
    let next = conclude(store, first, Ok(Outcome::Continue), reports, after(2)).await.unwrap();
    assert_eq!((next.run.life.phase, next.run.life.slice, next.run.queued_at), (Phase::Queued, 2, after(2)));
    assert_eq!(next.admitted[0].attempt.run, other);
    let next = subject.succeed(next.admitted[0].attempt).await.admitted[0].attempt;
    assert_eq!(next, AttemptId { number: 2, ..first });
    let plan = store.launch_plan(next).await.unwrap().unwrap();
    assert_eq!((plan.state.as_deref(), plan.attempt.slice), (Some(r#"{"page":1}"#), 2));
    let run = subject.conclude(next, Ok(Outcome::Continue)).await.unwrap().run;
    assert_eq!((run.life.phase, run.error.unwrap().code), (Phase::Failed, ErrorCode::SliceLimit));
}

/// A failed attempt's state is not kept; a good one's is, with the run that made it.
pub async fn state_comes_with_success(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    let id = subject.start(&job).await;
    let reports = Reports { state: Some(document(json!({"n": 1}))), ..Reports::default() };
    conclude(store, id, Err(ErrorCode::ExitCode), reports, after(2)).await.unwrap();
    assert_eq!(store.states(job.id, None, 9).await.unwrap(), []);
    let id = subject.start(&job).await;
    propose(subject, id, json!({"n": 2})).await;
    let states = store.states(job.id, None, 9).await.unwrap();
    assert_eq!((states.len(), states[0].version, states[0].run), (1, 1, Some(id.run)));
    assert_eq!((&states[0].document, states[0].created_by.as_str()), (&document(json!({"n": 2})), "tester"));
    // One that tells no state leaves it.
    let id = subject.start(&job).await;
    subject.succeed(id).await;
    assert_eq!(store.states(job.id, None, 9).await.unwrap().len(), 1);
}

/// Of two runs that began with the same state, one commits.
pub async fn state_conflicts(subject: &Subject) {
    let job = subject.job(json!({"max_parallel": 2})).await;
    let (a, b) = (subject.start(&job).await, subject.start(&job).await);
    assert_eq!(propose(subject, a, json!({"by": "a"})).await.run.life.phase, Phase::Succeeded);
    let run = propose(subject, b, json!({"by": "b"})).await.run;
    assert_eq!((run.life.phase, run.error.unwrap().code), (Phase::Failed, ErrorCode::StateConflict));
    let states = subject.store.states(job.id, None, 9).await.unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].document, document(json!({"by": "a"})));
}

/// The last hundred versions are kept.
pub async fn state_history_is_bounded(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    for number in 1..=103 {
        let set = store.set_state(job.id, &document(json!({"n": number})), Some(number - 1), "tester", after(1)).await;
        assert_eq!(set.unwrap(), Ok(number));
    }
    let versions = |before, limit| async move {
        let states = store.states(job.id, before, limit).await.unwrap();
        states.into_iter().map(|state| state.version).collect::<Vec<_>>()
    };
    assert_eq!(versions(None, 500).await, (4..=103).rev().collect::<Vec<_>>());
    assert_eq!(versions(Some(6), 500).await, [5, 4]);
}

/// Set by hand, on the condition that it is still what one has seen.
pub async fn state_by_hand(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    let set = async |expected| store.set_state(job.id, &Map::new(), expected, "tester", after(1)).await.unwrap();
    assert_eq!(set(Some(1)).await, Err(0));
    assert_eq!(set(Some(0)).await, Ok(1));
    assert_eq!(set(Some(0)).await, Err(1));
    assert_eq!(set(None).await, Ok(2));
    let id = subject.start(&job).await;
    assert_eq!(set(Some(2)).await, Ok(3));
    let run = propose(subject, id, json!({})).await.run;
    assert_eq!(run.error.unwrap().code, ErrorCode::StateConflict, "a person changed it meanwhile");
}

/// Progress and metrics are seen while it runs; afterwards its end has the last word.
pub async fn reports_while_it_runs(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    let id = subject.start(&job).await;
    let progress = Some(Progress { done: Some(3.0), total: Some(10.0), text: Some("pages".to_owned()) });
    let reports =
        Reports { progress: progress.clone(), metrics: [("rows".to_owned(), 1.0)].into(), ..Reports::default() };
    store.launched(id, "container", after(1)).await.unwrap().unwrap();
    let run = store.report_progress(id, &reports).await.unwrap().unwrap();
    assert_eq!((&run.progress, run.metrics["rows"]), (&progress, 1.0));
    store.warn(id, after(2), "look here").await.unwrap();
    subject.succeed(id).await;
    store.report_progress(id, &Reports::default()).await.unwrap();
    let run = subject.read(id.run).await;
    assert_eq!(run.progress, progress, "the last that was told stays");
    let log = crate::domain::LogSummary { bytes: 99, complete: false, truncated: true };
    assert_eq!(store.set_log(id.run, log).await.unwrap().unwrap().log, log);
}

/// What a service that starts has to take up: all that is admitted and not concluded.
pub async fn live_attempts_are_listed(subject: &Subject) {
    let job = subject.job(json!({"name": name("live")})).await;
    let (a, b) = (subject.start(&job).await, subject.start(&job).await);
    subject.store.launched(b, "container", after(1)).await.unwrap();
    subject.store.stop(b.run, StopCause::Cancelled, "tester", after(2)).await.unwrap();
    let ended = subject.start(&job).await;
    subject.succeed(ended).await;
    let live = subject.store.live_attempts(|_| true).await.unwrap();
    let expected = |id, stop| LiveAttempt { id, engine: "simulated".to_owned(), stop };
    assert_eq!(live, [expected(a, false), expected(b, true)]);
}
