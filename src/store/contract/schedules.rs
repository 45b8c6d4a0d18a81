//! Times that come by themselves.

use std::time::Duration;

use serde_json::{Value, json};

use super::fixtures::{START, Subject, TestJob, after};
use crate::{
    domain::{JobId, Timestamp},
    store::{Applied, DueSchedule, RunFilter, Store, TriggerOutcome},
};

const EVERY_MINUTE: &str = "* * * * *";

async fn scheduled(subject: &Subject, name: &str, schedule: Value) -> TestJob {
    subject.job(json!({"name": name, "schedule": schedule})).await
}

async fn next_time(subject: &Subject, job: JobId) -> Option<Timestamp> {
    subject.store.schedule(job).await.unwrap().and_then(|state| state.next_time)
}

async fn serve_all(store: &Store, now: Timestamp) -> usize {
    let mut made = 0;
    for due in store.due_schedules(now, 100).await.unwrap() {
        let served = store.serve_schedule(due, "simulated", now).await.unwrap();
        let outcome = served.and_then(|served| served.outcome);
        made += usize::from(matches!(outcome, Some(TriggerOutcome::Created { .. })));
    }
    made
}

/// Two services that see the same time make one run; what is not due costs nothing and makes none.
pub async fn schedules_are_served_once(subject: &Subject) {
    let store = &subject.store;
    let job = scheduled(subject, "due", json!({"cron": EVERY_MINUTE})).await;
    scheduled(subject, "later", json!({"cron": "0 0 1 1 *"})).await;
    let time = next_time(subject, job.id).await.unwrap();
    assert!(time > START && time <= after(60));
    assert_eq!(store.next_schedule_at().await.unwrap(), Some(time));
    assert_eq!(store.due_schedules(START, 10).await.unwrap(), []);
    let due = DueSchedule { job: job.id, time };
    assert_eq!(store.due_schedules(time, 10).await.unwrap(), [due]);
    let other = subject.another().await;
    let (a, b) =
        tokio::join!(store.serve_schedule(due, "simulated", time), other.serve_schedule(due, "simulated", time));
    other.close().await;
    assert!(a.unwrap().is_some() != b.unwrap().is_some());
    let filter = RunFilter { jobs: vec![job.id], ..RunFilter::default() };
    let runs = store.runs(&filter, None, 10).await.unwrap().runs;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].source["kind"].as_str(), runs[0].engine.as_str()), ("schedule", "simulated"));
    let state = store.schedule(job.id).await.unwrap().unwrap();
    assert_eq!((state.last_time, state.last_run), (Some(time), Some(runs[0].id)));
    assert_eq!(state.next_time, Some(time.plus(Duration::from_secs(60))));
    // Too early for the next, and with the old time nothing can be done any more.
    assert!(store.serve_schedule(due, "simulated", time).await.unwrap().is_none());
}

/// A schedule follows its job: paused, changed, disabled, taken away, archived.
pub async fn schedules_follow_their_job(subject: &Subject) {
    let store = &subject.store;
    let mut job = scheduled(subject, "job", json!({"cron": "0 * * * *"})).await;
    let apply = async |job: &mut TestJob, schedule: Value, enabled: bool| {
        let new = job.next("tester", |spec| {
            spec.schedule = serde_json::from_value(schedule).unwrap();
            spec.enabled = enabled;
        });
        (job.spec, job.revision) = (new.spec.clone(), new.number);
        assert!(matches!(store.apply(new).await.unwrap(), Applied::Done(_)));
    };
    let hourly = next_time(subject, job.id).await;
    // With other things changed, what is due stays due.
    apply(&mut job, json!({"cron": "0 * * * *", "catch_up": "all"}), true).await;
    assert_eq!(next_time(subject, job.id).await, hourly);
    apply(&mut job, json!({"cron": EVERY_MINUTE}), true).await;
    assert!(next_time(subject, job.id).await < hourly);
    apply(&mut job, json!({"cron": EVERY_MINUTE, "paused": true}), true).await;
    assert_eq!((next_time(subject, job.id).await, serve_all(store, after(1000)).await), (None, 0));
    apply(&mut job, json!({"cron": EVERY_MINUTE}), true).await;
    assert_eq!(serve_all(store, after(70)).await, 1);
    apply(&mut job, json!({"cron": EVERY_MINUTE}), false).await;
    assert_eq!(serve_all(store, after(1000)).await, 0);
    apply(&mut job, json!({"cron": EVERY_MINUTE}), true).await;
    // Not again, though the revision was made at an earlier time than the last run.
    assert!(next_time(subject, job.id).await > Some(after(70)));
    apply(&mut job, Value::Null, true).await;
    assert_eq!(store.schedule(job.id).await.unwrap(), None);
    let other = scheduled(subject, "other", json!({"cron": EVERY_MINUTE})).await;
    store.archive(subject.project, other.id, "tester", START).await.unwrap().unwrap();
    assert_eq!(store.next_schedule_at().await.unwrap(), None);
}

/// Missed times: one run for the last of them, or one for each.
pub async fn missed_times_are_made_up_for(subject: &Subject) {
    for (name, catch_up, runs) in [("none", "none", 0), ("latest", "latest", 1), ("all", "all", 3)] {
        scheduled(subject, name, json!({"cron": "0 * * * *", "catch_up": catch_up})).await;
        // Three full hours and more than a minute: no full hour is a minute ago.
        let first = subject.store.next_schedule_at().await.unwrap().unwrap();
        let now = first.plus(Duration::from_secs(2 * 3600 + 600));
        let mut made = 0;
        while !subject.store.due_schedules(now, 100).await.unwrap().is_empty() {
            made += serve_all(&subject.store, now).await;
        }
        assert_eq!(made, runs, "{name}");
        let page = subject.store.jobs(subject.project, false, None, 10).await.unwrap();
        for (job, _) in page.jobs {
            subject.store.archive(subject.project, job.id, "tester", now).await.unwrap().unwrap();
        }
    }
}
