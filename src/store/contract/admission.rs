//! Who may start, and in which order.

use serde_json::json;

use super::fixtures::{START, Subject, TestJob, after};
use crate::{
    domain::{AttemptId, ErrorCode, Phase, RunId, StopCause, Timestamp},
    store::{Admitted, Bound, EngineLoad},
};

fn runs(admitted: &[Admitted]) -> Vec<RunId> {
    admitted.iter().map(|one| one.attempt.run).collect()
}

async fn wait(subject: &Subject, job: &TestJob, priority: i32, queued_at: Timestamp) -> RunId {
    let new = job.run_with(|run| (run.priority, run.queued_at) = (priority, queued_at));
    let (run, admitted) = subject.trigger(new).await;
    assert_eq!(runs(&admitted), [], "the job is full");
    run
}

/// A job's own bound, from trigger to end.
pub async fn max_parallel_holds(subject: &Subject) {
    let job = subject.job(json!({"max_parallel": 2})).await;
    let (a, b) = (subject.start(&job).await, subject.start(&job).await);
    let c = wait(subject, &job, 0, START).await;
    let d = wait(subject, &job, 0, START).await;
    assert_eq!(subject.store.admit(after(1)).await.unwrap(), [], "calling it too often is no harm");
    let next = subject.succeed(a).await.admitted;
    assert_eq!(runs(&next), [c]);
    assert_eq!(next[0].attempt, AttemptId { run: c, number: 1 });
    assert_eq!((next[0].project, next[0].engine.as_str()), (subject.project, "simulated"));
    // The job's revision may widen the bound; then the next round fills it.
    let wider = job.next("editor", |spec| spec.max_parallel = Some(3));
    subject.store.apply(wider).await.unwrap();
    assert_eq!(runs(&subject.store.admit(after(2)).await.unwrap()), [d]);
    subject.succeed(b).await;
}

/// Higher priority first, then who has waited longest, then who was made first.
pub async fn priority_then_age(subject: &Subject) {
    let job = subject.job(json!({"max_parallel": 1})).await;
    let mut running = subject.start(&job).await;
    let late = wait(subject, &job, 0, after(5)).await;
    let low = wait(subject, &job, -1, START).await;
    let early = wait(subject, &job, 0, after(4)).await;
    let early_too = wait(subject, &job, 0, after(4)).await;
    let high = wait(subject, &job, 100, after(9)).await;
    for expected in [high, early, early_too, late, low] {
        let next = subject.succeed(running).await.admitted;
        assert_eq!(runs(&next), [expected]);
        running = next[0].attempt;
    }
}

/// Jobs that share a limit share one order.
pub async fn priority_across_jobs(subject: &Subject) {
    subject.limit("api", 1).await;
    let jobs = [
        subject.job(json!({"name": "a", "limits": [{"name": "api"}]})).await,
        subject.job(json!({"name": "b", "limits": [{"name": "api"}]})).await,
    ];
    let mut running = subject.start(&jobs[0]).await;
    let first = wait(subject, &jobs[0], 0, after(1)).await;
    let third = wait(subject, &jobs[0], 0, after(3)).await;
    let second = wait(subject, &jobs[1], 0, after(2)).await;
    let urgent = wait(subject, &jobs[1], 5, after(4)).await;
    for expected in [urgent, first, second, third] {
        let next = subject.succeed(running).await.admitted;
        assert_eq!(runs(&next), [expected]);
        running = next[0].attempt;
    }
}

/// A heavy run at the head gathers what becomes free; light ones behind it wait.
pub async fn heavy_is_not_overtaken(subject: &Subject) {
    subject.limit("api", 3).await;
    let light = subject.job(json!({"name": "light", "limits": [{"name": "api"}]})).await;
    let heavy = subject.job(json!({"name": "heavy", "limits": [{"name": "api", "weight": 3}]})).await;
    let free = subject.job(json!({"name": "free"})).await;
    let (a, b) = (subject.start(&light).await, subject.start(&light).await);
    let big = wait(subject, &heavy, 0, after(1)).await;
    let small = wait(subject, &light, 0, after(2)).await;
    subject.start(&free).await;
    assert_eq!(runs(&subject.succeed(a).await.admitted), []);
    let next = subject.succeed(b).await.admitted;
    assert_eq!(runs(&next), [big], "the small one finds nothing left");
    assert_eq!(runs(&subject.succeed(next[0].attempt).await.admitted), [small]);
}

/// A run joins the order when its time has come, not before, and keeps its place by age.
pub async fn held_until_its_time(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"max_parallel": 1})).await;
    assert_eq!(store.next_queue_event().await.unwrap(), None);
    let held = job.run_with(|run| (run.not_before, run.priority) = (Some(after(10)), 1));
    let (held, admitted) = subject.trigger(held).await;
    assert_eq!(runs(&admitted), []);
    assert_eq!(store.next_queue_event().await.unwrap(), Some(after(10)));
    let running = subject.start(&job).await;
    let waiting = wait(subject, &job, 0, after(1)).await;
    let past = job.run_with(|run| (run.not_before, run.queued_at) = (Some(START), after(2)));
    let (past, _) = subject.trigger(past).await;
    assert_eq!(runs(&store.admit(after(9)).await.unwrap()), []);
    let next = subject.succeed(running).await.admitted;
    assert_eq!(runs(&next), [waiting], "the held one is not in the order yet");
    assert_eq!(runs(&store.admit(after(10)).await.unwrap()), []);
    assert_eq!(store.next_queue_event().await.unwrap(), None, "it is ready now");
    let next = subject.succeed(next[0].attempt).await.admitted;
    assert_eq!(runs(&next), [held], "its priority counts");
    assert_eq!(runs(&subject.succeed(next[0].attempt).await.admitted), [past]);
}

/// Who waits too long ends as timed out, and is told apart.
pub async fn queue_time_is_bounded(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"max_parallel": 1})).await;
    let running = subject.start(&job).await;
    let (patient, _) = subject.trigger(job.run()).await;
    let (hasty, _) = subject.trigger(job.run_with(|run| run.queue_deadline = Some(after(5)))).await;
    assert_eq!(store.next_queue_event().await.unwrap(), Some(after(5)));
    assert!(store.stop_overdue_in_queue(after(4)).await.unwrap().is_empty());
    let stopped = store.stop_overdue_in_queue(after(5)).await.unwrap();
    assert_eq!(stopped.iter().map(|one| one.run.id).collect::<Vec<_>>(), [hasty]);
    let run = subject.read(hasty).await;
    assert_eq!((run.life.phase, run.life.stop), (Phase::TimedOut, Some(StopCause::QueueTimeout)));
    assert_eq!((run.error.unwrap().code, run.finished_at), (ErrorCode::QueueTimeout, Some(after(5))));
    assert_eq!(store.next_queue_event().await.unwrap(), None);
    assert_eq!(runs(&subject.succeed(running).await.admitted), [patient]);
}

/// A raised limit lets more in at the next round; a lowered one takes nothing away.
pub async fn changed_limits_count_at_once(subject: &Subject) {
    subject.limit("api", 0).await;
    let limits = json!({"limits": [{"name": "api"}]});
    subject.limit("api", 1).await;
    let job = subject.job(limits).await;
    subject.limit("api", 0).await;
    let waiting = [wait(subject, &job, 0, after(1)).await, wait(subject, &job, 0, after(2)).await];
    assert_eq!(runs(&subject.store.admit(after(3)).await.unwrap()), [], "0 = nothing starts");
    subject.limit("api", 2).await;
    let admitted = subject.store.admit(after(3)).await.unwrap();
    assert_eq!(runs(&admitted), waiting);
    subject.limit("api", 1).await;
    let third = wait(subject, &job, 0, after(4)).await;
    assert_eq!(runs(&subject.succeed(admitted[0].attempt).await.admitted), [], "one is held, one is all there is");
    assert_eq!(runs(&subject.succeed(admitted[1].attempt).await.admitted), [third]);
}

/// A run that waits is told for what, behind how many, and who holds it.
pub async fn waiting_is_explained(subject: &Subject) {
    subject.limit("api", 3).await;
    let job = subject.job(json!({"max_parallel": 1, "limits": [{"name": "api", "weight": 3}]})).await;
    let running = subject.start(&job).await;
    let first = wait(subject, &job, 0, after(1)).await;
    let second = wait(subject, &job, 0, after(1)).await;
    let urgent = wait(subject, &job, 1, after(2)).await;
    for (run, place) in [(urgent, 1), (first, 2), (second, 3)] {
        let (blockers, position) = subject.store.blockers(&subject.read(run).await).await.unwrap();
        assert_eq!(position, place);
        let told: Vec<_> =
            blockers.iter().map(|b| (&b.bound, b.capacity, b.weight, b.held, b.holders.as_slice())).collect();
        let (own, api) = (Bound::Job, Bound::Limit("api".to_owned()));
        assert_eq!(told, [(&own, 1, 1, 1, &[running.run][..]), (&api, 3, 3, 3, &[running.run][..])]);
    }
    subject.succeed(running).await;
    let (blockers, _) = subject.store.blockers(&subject.read(first).await).await.unwrap();
    assert_eq!(blockers[0].holders, [urgent]);
}

/// An engine has at most as many runs as it may, whatever jobs they are of; other engines are not held up.
pub async fn engines_are_capped(subject: &Subject) {
    let (first, second) = (subject.job(json!({"name": "a"})).await, subject.job(json!({"name": "b"})).await);
    let capacity = |most| subject.store.set_engine_capacities([("simulated".to_owned(), most)].into());
    capacity(2).await.unwrap();
    let running = subject.start(&first).await;
    subject.start(&second).await;
    let waiting = wait(subject, &first, 0, after(1)).await;
    let (blockers, _) = subject.store.blockers(&subject.read(waiting).await).await.unwrap();
    let told: Vec<_> = blockers.iter().map(|b| (&b.bound, b.capacity, b.held)).collect();
    assert_eq!(told, [(&Bound::Engine("simulated".to_owned()), 2, 2)]);
    assert_eq!(subject.store.engine_load("simulated").await.unwrap(), EngineLoad { active: 2, queued: 1 });
    let elsewhere = first.run_with(|run| run.engine = "other".to_owned());
    assert_eq!(runs(&subject.trigger(elsewhere).await.1).len(), 1);
    let freed = subject.succeed(running).await;
    assert_eq!(runs(&freed.admitted), [waiting]);
    let late = wait(subject, &second, 0, after(2)).await;
    capacity(3).await.unwrap();
    assert_eq!(runs(&subject.store.admit(after(3)).await.unwrap()), [late]);
    wait(subject, &second, 0, after(3)).await;
    subject.store.set_engine_capacities([].into()).await.unwrap();
    assert_eq!(subject.store.admit(after(4)).await.unwrap().len(), 1, "no bound");
}

/// A long queue is let in batch by batch, everybody once.
pub async fn long_queues_admit_in_batches(subject: &Subject) {
    subject.limit("gate", 1).await;
    let job = subject.job(json!({"limits": [{"name": "gate"}]})).await;
    subject.limit("gate", 0).await;
    let mut waiting = Vec::new();
    for _ in 0..450 {
        waiting.push(subject.trigger(job.run()).await.0);
    }
    subject.limit("gate", 440).await;
    let mut seen = Vec::new();
    loop {
        let admitted = subject.store.admit(after(1)).await.unwrap();
        if admitted.is_empty() {
            break;
        }
        assert!(admitted.len() <= 200, "one transaction stays short");
        seen.extend(runs(&admitted));
    }
    assert_eq!(seen, waiting[..440]);
}
