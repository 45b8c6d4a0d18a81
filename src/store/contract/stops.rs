//! Ending runs early.

use serde_json::json;

use super::{
    contention::check_slots,
    fixtures::{START, Subject, after, conclude},
};
use crate::{
    domain::{ErrorCode, Outcome, Phase, Reports, RunEventKind, RunId, StopCause},
    store::RunFilter,
};

/// One that waits ends at once.
pub async fn stop_waiting(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"max_parallel": 1})).await;
    let running = subject.start(&job).await;
    let (waiting, _) = subject.trigger(job.run()).await;
    let stopped = store.stop(waiting, StopCause::Cancelled, "tester", after(1)).await.unwrap().unwrap();
    assert_eq!(stopped.run, subject.read(waiting).await);
    assert_eq!((stopped.run.life.phase, stopped.run.finished_at), (Phase::Cancelled, Some(after(1))));
    assert_eq!(stopped.run.error.unwrap().code, ErrorCode::Cancelled);
    assert_eq!(stopped.run.stopped_by.as_deref(), Some("tester"));
    assert!(subject.succeed(running).await.admitted.is_empty());
    assert!(store.stop(RunId::generate(), StopCause::Cancelled, "tester", after(1)).await.unwrap().is_none());
}

/// One that is active keeps its slot until its container has ended, and has then not succeeded.
pub async fn stop_active(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"max_parallel": 1})).await;
    let running = subject.start(&job).await;
    let (waiting, _) = subject.trigger(job.run()).await;
    let stopped = store.stop(running.run, StopCause::Abandoned, "haulier", after(1)).await.unwrap().unwrap();
    assert_eq!((stopped.run.life.phase, stopped.run.finished_at), (Phase::Starting, None));
    assert_eq!(store.admit(after(2)).await.unwrap(), []);
    assert!(store.launched(running, "container", after(2)).await.unwrap().is_some(), "its container came up");
    let concluded = subject.succeed(running).await;
    assert_eq!((concluded.run.life.phase, concluded.run.exit_code), (Phase::Cancelled, Some(0)));
    assert_eq!(concluded.run.error.unwrap().code, ErrorCode::Abandoned);
    assert_eq!(concluded.admitted[0].attempt.run, waiting);
}

/// All that match, a batch at a time, until there are none.
pub async fn stop_matching(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"name": "a", "max_parallel": 1})).await;
    let other = subject.job(json!({"name": "b"})).await;
    let running = subject.start(&job).await;
    let untouched = subject.start(&other).await;
    for _ in 0..205 {
        subject.trigger(job.run()).await;
    }
    let filter = RunFilter { jobs: vec![job.id], ..RunFilter::default() };
    let mut batches = Vec::new();
    loop {
        let stopped = store.stop_matching(filter.clone(), "tester", after(1)).await.unwrap();
        if stopped.is_empty() {
            break;
        }
        batches.push(stopped.len());
    }
    assert_eq!(batches, [200, 6]);
    assert_eq!(subject.read(running.run).await.life.stop, Some(StopCause::Cancelled));
    assert_eq!(subject.read(untouched.run).await.life.stop, None);
}

/// The first cause stays, and stands in the timeline once.
pub async fn stop_twice(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    let running = subject.start(&job).await;
    store.stop(running.run, StopCause::Cancelled, "first", after(1)).await.unwrap().unwrap();
    let again = store.stop(running.run, StopCause::Abandoned, "second", after(2)).await.unwrap().unwrap();
    assert_eq!((again.run.life.stop, again.run.stopped_by.as_deref()), (Some(StopCause::Cancelled), Some("first")));
    let timeline = store.timeline(&again.run).await.unwrap();
    let requests = timeline.iter().filter(|event| event.kind == RunEventKind::StopRequested);
    assert_eq!(requests.map(|event| event.detail.as_str()).collect::<Vec<_>>(), ["cancelled by first"]);
}

/// A stop that meets the launch and the end of the run either comes too late or decides how it ends.
pub async fn stop_is_never_lost(subject: &Subject) {
    let job = subject.job(json!({})).await;
    for round in 0..40 {
        let id = subject.start(&job).await;
        let store = || subject.store.clone();
        let (one, two, three) = (store(), store(), store());
        let stop = tokio::spawn(async move { one.stop(id.run, StopCause::Cancelled, "tester", after(2)).await });
        let launched = tokio::spawn(async move { two.launched(id, "container", after(1)).await });
        let end = tokio::spawn(async move {
            if round % 2 == 0 {
                return None;
            }
            conclude(&three, id, Ok(Outcome::Done), Reports::default(), after(3)).await
        });
        let told = stop.await.unwrap().unwrap().expect("the run exists").run;
        launched.await.unwrap().unwrap();
        if end.await.unwrap().is_none() {
            subject.succeed(id).await;
        }
        let run = subject.read(id.run).await;
        let expected = if told.life.stop.is_some() { Phase::Cancelled } else { Phase::Succeeded };
        assert_eq!(run.life.phase, expected);
        assert!(round % 2 == 1 || told.life.stop.is_some(), "nothing had ended before the stop");
    }
}

/// Stopping what waits while it is being admitted breaks neither.
pub async fn stop_races_admission(subject: &Subject) {
    subject.limit("api", 3).await;
    let job = subject.job(json!({"limits": [{"name": "api"}]})).await;
    for _ in 0..10 {
        let held: Vec<_> = [subject.start(&job).await, subject.start(&job).await, subject.start(&job).await].into();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(subject.trigger(job.run()).await.0);
        }
        let stops = waiting.iter().map(|run| {
            let (store, run) = (subject.store.clone(), *run);
            tokio::spawn(async move { store.stop(run, StopCause::Cancelled, "tester", after(1)).await.map(|_| ()) })
        });
        let stops: Vec<_> = stops.collect();
        let ends = held.into_iter().map(|id| {
            let store = subject.store.clone();
            tokio::spawn(async move { conclude(&store, id, Ok(Outcome::Done), Reports::default(), after(1)).await })
        });
        for end in ends.collect::<Vec<_>>() {
            assert!(end.await.unwrap().is_some());
        }
        for stop in stops {
            stop.await.unwrap().unwrap();
        }
        check_slots(&subject.store).await;
        for live in subject.store.live_attempts(|_| true).await.unwrap() {
            assert_eq!(subject.succeed(live.id).await.run.life.phase, Phase::Cancelled);
        }
    }
}

/// Live runs with a lease are listed, and no others.
pub async fn leases(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"max_parallel": 2})).await;
    let leased = || job.run_with(|run| run.abandon_after_seconds = Some(60));
    let (active, admitted) = subject.trigger(leased()).await;
    subject.start(&job).await;
    let (waiting, _) = subject.trigger(leased()).await;
    let listed = async || {
        let mut leased = store.leased_runs().await.unwrap();
        leased.sort_unstable_by_key(|leased| leased.0);
        leased
    };
    assert_eq!(listed().await, [(active, 60, START), (waiting, 60, START)]);
    store.stop(waiting, StopCause::Abandoned, "haulier", after(1)).await.unwrap();
    assert_eq!(listed().await, [(active, 60, START)]);
    subject.succeed(admitted[0].attempt).await;
    assert_eq!(listed().await, []);
}
