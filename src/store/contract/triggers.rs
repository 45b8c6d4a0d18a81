//! Triggering: idempotency keys and `when_full`.

use futures::future::join_all;
use serde_json::json;

use super::fixtures::{Subject, TestJob, after};
use crate::{
    domain::{ErrorCode, IfExists, JobId, Phase, RunId, StopCause, WhenFull},
    store::{Applied, NewRun, TriggerOutcome},
};

/// What is asked for is what is stored.
pub async fn trigger_makes_a_run(subject: &Subject) {
    let job = subject.job(json!({"labels": {"team": "sales"}, "queue_timeout_seconds": 9})).await;
    let mut new = job.run_with(|run| {
        run.parameters = r#"{"day":"2026-01-01"}"#.to_owned();
        run.source.insert("kind".to_owned(), "adf".to_owned());
        run.priority = -7;
        run.retry_of = Some(RunId::generate());
        run.queue_deadline = Some(after(9));
        run.abandon_after_seconds = Some(60);
    });
    new.env = Some(b"sealed".to_vec());
    let expected = new.run.clone();
    let (run, admitted) = subject.trigger(new).await;
    let stored = subject.read(run).await;
    assert_eq!((stored.life.phase, stored.life.attempt), (Phase::Starting, 1));
    assert_eq!(admitted.len(), 1);
    assert_eq!(crate::domain::Run { life: expected.life, ..stored }, expected);
    assert_eq!(subject.store.run_env(run).await.unwrap(), Some(b"sealed".to_vec()));
    assert!(subject.store.run(crate::domain::ProjectId::generate(), run).await.unwrap().is_none());
    let plan = subject.store.launch_plan(admitted[0].attempt).await.unwrap().unwrap();
    assert_eq!((plan.config.as_slice(), plan.env.as_deref()), (&b"sealed"[..], Some(&b"sealed"[..])));
    assert_eq!((plan.revision.spec, plan.state), (job.spec, None));
    assert_eq!(plan.attempt.nonce.len(), 24);
}

/// A job that changed is read again; one that is gone starts nothing; a repetition keeps its revision.
pub async fn trigger_answers_to_the_job(subject: &Subject) {
    let store = &subject.store;
    let mut job = subject.job(json!({})).await;
    let before = job.clone();
    assert!(matches!(store.apply(job.next("editor", |_| {})).await.unwrap(), Applied::Done(_)));
    job.revision = 2;
    assert!(matches!(store.trigger(before.run()).await.unwrap(), TriggerOutcome::Stale));
    let repeated = NewRun { repeats: true, ..before.run() };
    assert!(matches!(store.trigger(repeated).await.unwrap(), TriggerOutcome::Created { .. }));
    let unknown = TestJob { id: JobId::generate(), ..job.clone() };
    assert!(matches!(store.trigger(unknown.run()).await.unwrap(), TriggerOutcome::Gone));
    store.archive(subject.project, job.id, "editor", after(1)).await.unwrap();
    assert!(matches!(store.trigger(job.run()).await.unwrap(), TriggerOutcome::Gone));
}

/// The same key for the same gives the same run; for something else it is refused. Keys belong to their job.
pub async fn keys_give_the_same_run(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"name": "a"})).await;
    let other = subject.job(json!({"name": "b"})).await;
    let (first, _) = subject.trigger(job.keyed("k", b"same", IfExists::Return)).await;
    match store.trigger(job.keyed("k", b"same", IfExists::Return)).await.unwrap() {
        TriggerOutcome::Existing(run) => assert_eq!(run.id, first),
        outcome => panic!("{outcome:?}"),
    }
    match store.trigger(job.keyed("k", b"else", IfExists::Return)).await.unwrap() {
        TriggerOutcome::KeyReused(run) => assert_eq!(run, first),
        outcome => panic!("{outcome:?}"),
    }
    assert_ne!(subject.trigger(job.keyed("k2", b"same", IfExists::Return)).await.0, first);
    assert_ne!(subject.trigger(other.keyed("k", b"same", IfExists::Return)).await.0, first);
}

/// `return_unless_failed` makes a new run when the earlier one ended badly, and then stands for that one.
pub async fn keys_of_failed_runs(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    let again = || job.keyed("k", b"same", IfExists::ReturnUnlessFailed);
    let existing = async |new| match store.trigger(new).await.unwrap() {
        TriggerOutcome::Existing(run) => run.id,
        outcome => panic!("{outcome:?}"),
    };
    let (first, admitted) = subject.trigger(again()).await;
    assert_eq!(existing(again()).await, first, "it has not ended");
    subject.conclude(admitted[0].attempt, Err(ErrorCode::ExitCode)).await.unwrap();
    assert_eq!(existing(job.keyed("k", b"same", IfExists::Return)).await, first);
    let (second, admitted) = subject.trigger(again()).await;
    assert_ne!(second, first);
    subject.succeed(admitted[0].attempt).await;
    assert_eq!(existing(again()).await, second, "it has ended well");
}

/// A trigger that is refused leaves no key behind.
pub async fn keys_of_refused_runs(subject: &Subject) {
    let job = subject.job(json!({"max_parallel": 1, "when_full": "reject"})).await;
    let running = subject.start(&job).await;
    for _ in 0..2 {
        let refused = subject.store.trigger(job.keyed("k", b"same", IfExists::Return)).await.unwrap();
        assert!(matches!(refused, TriggerOutcome::Full(ref holders) if *holders == [running.run]), "{refused:?}");
    }
    subject.conclude(running, Err(ErrorCode::ExitCode)).await.unwrap();
    let (run, admitted) = subject.trigger(job.keyed("k", b"same", IfExists::Return)).await;
    // Known keys go before the question whether there is room.
    let known = subject.store.trigger(job.keyed("k", b"same", IfExists::Return)).await.unwrap();
    assert!(matches!(known, TriggerOutcome::Existing(ref known) if known.id == run), "{known:?}");
    // Refused once more, a key that stood for a failed run stands for it still.
    subject.conclude(admitted[0].attempt, Err(ErrorCode::ExitCode)).await.unwrap();
    subject.start(&job).await;
    let refused = subject.store.trigger(job.keyed("k", b"same", IfExists::ReturnUnlessFailed)).await.unwrap();
    assert!(matches!(refused, TriggerOutcome::Full(_)), "{refused:?}");
    let known = subject.store.trigger(job.keyed("k", b"same", IfExists::Return)).await.unwrap();
    assert!(matches!(known, TriggerOutcome::Existing(ref known) if known.id == run), "{known:?}");
}

/// Sixteen callers with one key at once get one run.
pub async fn one_key_many_callers(subject: &Subject) {
    let job = subject.job(json!({})).await;
    let made = made_at_once(subject, &job, IfExists::Return).await;
    assert_eq!(made, 1);
    assert_eq!(subject.store.runs(&Default::default(), None, 50).await.unwrap().runs.len(), 1);
}

/// The same when the key stood for a run that had failed.
pub async fn one_failed_key_many_callers(subject: &Subject) {
    let job = subject.job(json!({})).await;
    let (_, admitted) = subject.trigger(job.keyed("k", b"same", IfExists::ReturnUnlessFailed)).await;
    subject.conclude(admitted[0].attempt, Err(ErrorCode::ExitCode)).await.unwrap();
    assert_eq!(made_at_once(subject, &job, IfExists::ReturnUnlessFailed).await, 1);
}

async fn made_at_once(subject: &Subject, job: &TestJob, if_exists: IfExists) -> usize {
    let triggers = (0..16).map(|_| {
        let (store, new) = (subject.store.clone(), job.keyed("k", b"same", if_exists));
        tokio::spawn(async move { store.trigger(new).await.unwrap() })
    });
    let (mut ids, mut made) = (Vec::new(), 0);
    for outcome in join_all(triggers).await {
        match outcome.unwrap() {
            TriggerOutcome::Created { run, .. } => {
                made += 1;
                ids.push(run.id);
            }
            TriggerOutcome::Existing(run) => ids.push(run.id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ids.len(), 16);
    assert!(ids.iter().all(|id| *id == ids[0]), "everybody is told of the same run");
    made
}

/// `queue`: the new run waits.
pub async fn full_queues(subject: &Subject) {
    let job = subject.job(json!({"max_parallel": 1})).await;
    let running = subject.start(&job).await;
    let (waiting, admitted) = subject.trigger(job.run()).await;
    assert!(admitted.is_empty());
    assert_eq!(subject.phase(waiting).await, Phase::Queued);
    let next = subject.succeed(running).await.admitted;
    assert_eq!(next.iter().map(|one| one.attempt.run).collect::<Vec<_>>(), [waiting]);
}

/// `reject`: it is refused, and told who is in the way.
pub async fn full_rejects(subject: &Subject) {
    let job = subject.job(json!({"max_parallel": 2, "when_full": "reject"})).await;
    let (a, b) = (subject.start(&job).await, subject.start(&job).await);
    match subject.store.trigger(job.run()).await.unwrap() {
        TriggerOutcome::Full(holders) => assert_eq!(holders, [a.run, b.run]),
        outcome => panic!("{outcome:?}"),
    }
    subject.succeed(a).await;
    subject.start(&job).await;
}

/// `replace`: the oldest goes, and the new one has its place as soon as it has ended.
pub async fn full_replaces(subject: &Subject) {
    let job = subject.job(json!({"max_parallel": 2, "when_full": "replace"})).await;
    let (a, b) = (subject.start(&job).await, subject.start(&job).await);
    let TriggerOutcome::Created { run, admitted, stopped } = subject.store.trigger(job.run()).await.unwrap() else {
        panic!("it is made")
    };
    assert!(admitted.is_empty(), "the place is not free yet");
    assert_eq!(stopped.iter().map(|one| one.run.id).collect::<Vec<_>>(), [a.run]);
    assert_eq!(subject.read(a.run).await.life.stop, Some(StopCause::Superseded));
    let concluded = subject.succeed(a).await;
    assert_eq!(concluded.run.life.phase, Phase::Cancelled);
    assert_eq!(concluded.run.error.unwrap().code, ErrorCode::Superseded);
    assert_eq!(concluded.admitted[0].attempt.run, run.id);
    assert_eq!(subject.read(b.run).await.life.stop, None);
}

/// `keep_newest`: one waits at the most, the latest.
pub async fn full_keeps_newest(subject: &Subject) {
    let job = subject.job(json!({"max_parallel": 1, "when_full": "keep_newest"})).await;
    let running = subject.start(&job).await;
    let (second, _) = subject.trigger(job.run()).await;
    let TriggerOutcome::Created { run, stopped, .. } = subject.store.trigger(job.run()).await.unwrap() else {
        panic!("it is made")
    };
    assert_eq!(stopped.iter().map(|one| one.run.id).collect::<Vec<_>>(), [second]);
    assert_eq!(subject.phase(second).await, Phase::Cancelled);
    assert_eq!(subject.read(running.run).await.life.stop, None);
    assert_eq!(subject.succeed(running).await.admitted[0].attempt.run, run.id);
}

/// However many ask at once, no more than fit are made, or left.
pub async fn full_rejects_under_contention(subject: &Subject) {
    for (rule, fitting) in [(WhenFull::Reject, 3), (WhenFull::KeepNewest, 4), (WhenFull::Replace, 3)] {
        let text = format!("job-{fitting}-{}", serde_json::to_value(rule).unwrap().as_str().unwrap().len());
        let job = subject.job(json!({"name": text, "max_parallel": 3})).await;
        let triggers = (0..12).map(|_| {
            let (store, new) = (subject.store.clone(), job.when_full(rule));
            tokio::spawn(async move { store.trigger(new).await.unwrap() })
        });
        let made = join_all(triggers).await.into_iter().map(Result::unwrap);
        let made = made.filter(|outcome| matches!(outcome, TriggerOutcome::Created { .. })).count();
        let wanted = crate::store::RunFilter { jobs: vec![job.id], unstopped: true, ..Default::default() };
        let left = subject.store.runs(&wanted, None, 50).await.unwrap().runs.len();
        assert_eq!(left, fitting, "{rule:?}");
        assert!(rule != WhenFull::Reject || made == fitting, "{made} were made");
    }
}
