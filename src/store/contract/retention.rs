//! What is kept no longer.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::fixtures::{START, Subject, TestJob, after};
use crate::{
    domain::{
        AttemptId, CallbackKind, CallbackOutcome, CallbackState, ErrorCode, IfExists, Phase, Run, RunId, StopCause,
    },
    store::{NewCallback, NewRun, RunFilter, TriggerOutcome},
};

fn called_back(new: NewRun) -> NewRun {
    let (delivery, kind) = (Uuid::now_v7(), CallbackKind::Adf);
    let callback = NewCallback { delivery, kind, url: b"sealed".to_vec(), target: "https://example.com".to_owned() };
    NewRun { callback: Some(callback), ..new }
}

/// Sends what is due, as if all receivers had taken it.
async fn deliver(subject: &Subject) {
    for one in subject.store.claim_callbacks(after(10), Duration::from_secs(100), 100).await.unwrap() {
        let delivered = CallbackOutcome::Delivered { status: 200 };
        subject.store.callback_tried(&one, delivered, None, after(10)).await.unwrap();
    }
}

async fn expired(subject: &Subject, end: u64) -> Vec<RunId> {
    let mut runs = subject.store.expired_runs(subject.project, after(end), 100).await.unwrap();
    runs.sort_unstable();
    runs
}

async fn delete_all(subject: &Subject, runs: &[RunId]) -> Vec<RunId> {
    let mut runs = subject.store.delete_runs(runs.to_vec(), after(1000)).await.unwrap();
    runs.sort_unstable();
    runs
}

/// A run of which every kind of row there is was stored.
async fn rich(subject: &Subject, job: &TestJob, key: &str) -> (Run, AttemptId) {
    let new = called_back(job.keyed(key, b"same", IfExists::Return));
    let mut run = new.run.clone();
    run.labels.insert("team".to_owned(), "sales".to_owned());
    run.source.insert("kind".to_owned(), "adf".to_owned());
    let (_, admitted) = subject.trigger(NewRun { run: run.clone(), ..new }).await;
    let attempt = admitted[0].attempt;
    subject.store.launched(attempt, "container", START).await.unwrap();
    subject.store.warn(attempt, START, "look here").await.unwrap();
    subject.succeed(attempt).await;
    deliver(subject).await;
    (run, attempt)
}

/// A deleted run leaves nothing behind, and takes nothing of another along. Its key is free.
pub async fn runs_go_with_all_that_belongs_to_them(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    let (old, attempt) = rich(subject, &job, "old").await;
    let (other, _) = rich(subject, &job, "other").await;
    assert_eq!(expired(subject, 1).await, [], "the end itself is kept");
    assert_eq!(expired(subject, 2).await, [old.id, other.id]);
    assert_eq!(delete_all(subject, &[old.id]).await, [old.id]);
    assert_eq!(delete_all(subject, &[old.id]).await, [], "once");

    assert!(store.run(subject.project, old.id).await.unwrap().is_none());
    assert_eq!(store.attempts(old.id).await.unwrap(), []);
    assert!(store.callback(old.id).await.unwrap().is_none());
    assert_eq!(store.timeline(&old).await.unwrap().len(), 1, "what the run itself says, and no event");
    let by_label = |labels: &str, value: &str| RunFilter {
        project: Some(subject.project),
        labels: vec![(labels.to_owned(), value.to_owned())],
        ..RunFilter::default()
    };
    for filter in [by_label("team", "sales"), RunFilter { project: Some(subject.project), ..RunFilter::default() }] {
        let left: Vec<_> = store.runs(&filter, None, 10).await.unwrap().runs.iter().map(|run| run.id).collect();
        assert_eq!(left, [other.id]);
    }
    assert_eq!(store.unjudged(10).await.unwrap().len(), 1);
    // Whoever is late changes nothing.
    assert!(subject.store.launched(attempt, "container", START).await.unwrap().is_none());
    assert!(subject.store.stop(old.id, StopCause::Cancelled, "tester", after(9)).await.unwrap().is_none());

    assert_eq!(subject.read(other.id).await.labels["team"], "sales");
    assert_eq!(store.attempts(other.id).await.unwrap().len(), 1);
    assert_eq!(store.callback(other.id).await.unwrap().unwrap().state, CallbackState::Delivered);
    let known = store.trigger(job.keyed("other", b"same", IfExists::Return)).await.unwrap();
    assert!(matches!(known, TriggerOutcome::Existing(ref run) if run.id == other.id), "{known:?}");
    // Even for something else: nobody remembers what it was used for.
    let (anew, _) = subject.trigger(job.keyed("old", b"else", IfExists::Return)).await;
    assert_ne!(anew, old.id);
}

/// Live runs stay, however old they are, and so do those whose end somebody is still to be told.
pub async fn what_is_not_over_stays(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"max_parallel": 2})).await;
    let (due, admitted) = subject.trigger(called_back(job.run())).await;
    subject.succeed(admitted[0].attempt).await;
    let failed = subject.start(&job).await;
    subject.conclude(failed, Err(ErrorCode::ExitCode)).await.unwrap();
    let running = subject.start(&job).await;
    store.launched(running, "container", START).await.unwrap();
    let starting = subject.start(&job).await;
    let queued = subject.trigger(job.run()).await.0;
    let cancelled = subject.trigger(job.run()).await.0;
    store.stop(cancelled, StopCause::Cancelled, "tester", after(1)).await.unwrap();
    let young = subject.trigger(job.run()).await.0;
    store.stop(young, StopCause::QueueTimeout, "haulier", after(500)).await.unwrap();

    assert_eq!(expired(subject, 100).await, [failed.run, cancelled]);
    assert_eq!(store.expired_runs(subject.project, after(100), 1).await.unwrap().len(), 1);
    let elsewhere = crate::domain::ProjectId::generate();
    assert_eq!(store.expired_runs(elsewhere, after(100), 10).await.unwrap(), []);
    // Whoever asks to delete the others too is refused them.
    let all = vec![due, failed.run, running.run, starting.run, queued, cancelled, young];
    let mut gone = store.delete_runs(all, after(100)).await.unwrap();
    gone.sort_unstable();
    assert_eq!(gone, [failed.run, cancelled]);
    for (run, phase) in [
        (due, Phase::Succeeded),
        (running.run, Phase::Running),
        (starting.run, Phase::Starting),
        (queued, Phase::Queued),
    ] {
        assert_eq!(subject.phase(run).await, phase);
    }
    deliver(subject).await;
    assert_eq!(expired(subject, 100).await, [due]);
    assert_eq!(delete_all(subject, &[due, young]).await, [due, young]);
}

/// A reader that pages through a list goes on where it was, whatever was deleted meanwhile.
pub async fn pages_go_on_when_runs_vanish(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"labels": {"team": "sales"}})).await;
    let mut runs = Vec::new();
    for _ in 0..9 {
        let attempt = subject.start(&job).await;
        subject.succeed(attempt).await;
        runs.push(attempt.run);
    }
    let all = RunFilter { project: Some(subject.project), ..RunFilter::default() };
    let labelled = RunFilter { labels: vec![("team".to_owned(), "sales".to_owned())], ..all.clone() };
    let ids = |runs: &[Run]| runs.iter().map(|run| run.id).collect::<Vec<_>>();
    for (filter, gone) in [(all, [5, 6]), (labelled, [3, 4])] {
        let first = store.runs(&filter, None, 3).await.unwrap();
        let cursor = first.next.unwrap();
        // The run that the cursor names is among them, and the one that would come next.
        let gone = gone.map(|index| runs[index]);
        assert_eq!(delete_all(subject, &gone).await, gone);
        let rest = store.runs(&filter, Some(cursor), 10).await.unwrap();
        let expected: Vec<_> = runs.iter().rev().filter(|run| **run < cursor && !gone.contains(run)).copied().collect();
        assert_eq!(ids(&rest.runs), expected);
        runs.retain(|run| !gone.contains(run));
    }
    assert_eq!(store.newest_runs(job.id, 10).await.unwrap().len(), 5);
    // What has deleted logs goes on behind a run that is gone.
    store.logs_deleted_to(job.id, runs[0]).await.unwrap();
    assert_eq!(delete_all(subject, &[runs[0]]).await, [runs[0]]);
    assert_eq!(store.ended_before(job.id, Some(runs[0]), after(100), 10).await.unwrap(), runs[1..]);
}

/// Two services at once, and callers that use old keys meanwhile: each run is deleted by one, or stays and is told of.
pub async fn deletions_race(subject: &Subject) {
    let job = subject.job(json!({})).await;
    let mut runs = Vec::new();
    for number in 0..20 {
        let (run, admitted) = subject.trigger(job.keyed(&number.to_string(), b"same", IfExists::Return)).await;
        subject.succeed(admitted[0].attempt).await;
        runs.push(run);
    }
    let other = subject.another().await;
    let again = runs.iter().enumerate().map(|(number, run)| {
        let (store, run) = (subject.store.clone(), *run);
        let new = called_back(job.keyed(&number.to_string(), b"same", IfExists::Return));
        tokio::spawn(async move { (run, store.trigger(new).await.unwrap()) })
    });
    let again: Vec<_> = again.collect();
    let backwards = runs.iter().rev().copied().collect();
    let (a, b) =
        tokio::join!(subject.store.delete_runs(runs.clone(), after(1000)), other.delete_runs(backwards, after(1000)));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(a.iter().all(|run| !b.contains(run)), "{a:?} {b:?}");
    for answer in again {
        let (run, outcome) = answer.await.unwrap();
        let gone = a.contains(&run) || b.contains(&run);
        match outcome {
            TriggerOutcome::Existing(known) => {
                assert!(known.id == run && !gone, "a run that is to be told of was deleted");
                let callback = subject.store.callback(run).await.unwrap().unwrap();
                assert_eq!(callback.state, CallbackState::Due);
            }
            TriggerOutcome::Created { run: made, .. } => assert!(made.id != run && gone),
            outcome => panic!("{outcome:?}"),
        }
    }
    other.close().await;
}

/// Old entries of the audit log go, in batches; the others keep their numbers.
pub async fn the_audit_log_is_bounded(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    for number in 0..5 {
        store.audit(Some(project), "tester", "job.apply", &format!("job-{number}"), after(number)).await.unwrap();
    }
    store.audit(None, "tester", "project.create", "other", after(1)).await.unwrap();
    let before = store.audit_log(Some(project), None, 10).await.unwrap();
    assert_eq!(store.delete_audit(START).await.unwrap(), 0);
    assert_eq!(store.delete_audit(after(2)).await.unwrap(), 3);
    assert_eq!(store.delete_audit(after(2)).await.unwrap(), 0);
    assert_eq!(store.audit_log(Some(project), None, 10).await.unwrap(), before[..3]);
    assert_eq!(store.audit_log(None, None, 10).await.unwrap(), []);
    assert_eq!(store.audit_log(Some(project), Some(before[2].id), 10).await.unwrap(), []);
}
