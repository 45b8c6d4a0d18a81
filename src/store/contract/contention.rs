//! Many at once: limits neither leak nor over-admit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::sync::{Mutex, mpsc};

use super::fixtures::{Subject, TestJob, after, conclude};
use crate::{
    domain::{ErrorCode, Outcome, Reports},
    store::{Admitted, Store, TriggerOutcome},
};

/// How many tasks trigger, and as many conclude.
const TASKS: usize = 4;
/// How many runs each triggers.
const RUNS: usize = 12;
/// Longer than all of it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// One look at all slots: more than there are may never be held, by none but active runs, each with its own.
pub(super) async fn check_slots(store: &Store) {
    let sql = "SELECT \
         (SELECT COUNT(*) FROM limits WHERE capacity < \
           (SELECT COALESCE(SUM(weight), 0) FROM slots WHERE limit_id = limits.id)) AS limits, \
         (SELECT COUNT(*) FROM jobs WHERE max_parallel < \
           (SELECT COALESCE(SUM(weight), 0) FROM slots WHERE limit_id = jobs.id)) AS jobs, \
         (SELECT COUNT(*) FROM slots JOIN runs ON runs.id = slots.run_id \
           WHERE runs.phase NOT IN ('starting', 'running')) AS leaked, \
         (SELECT COUNT(*) FROM runs WHERE phase IN ('starting', 'running') AND NOT EXISTS \
           (SELECT 1 FROM slots WHERE run_id = runs.id AND limit_id = runs.job_id)) AS missing";
    let row = store.read().await.unwrap().first(sql, Vec::new()).await.unwrap().unwrap();
    let found = ["limits", "jobs", "leaked", "missing"].map(|column| row.get::<i64>(column).unwrap());
    assert_eq!(found, [0; 4], "over-full limits, over-full jobs, slots of inactive runs, active runs without slots");
}

async fn held(store: &Store) -> i64 {
    store.read().await.unwrap().count("SELECT COUNT(*) AS n FROM slots", Vec::new()).await.unwrap()
}

/// One service: many tasks trigger and conclude at once.
pub async fn limits_hold_under_contention(subject: &Subject) {
    everything_at_once(subject, vec![subject.store.clone()]).await;
}

/// Two services on one database.
pub async fn two_services_never_over_admit(subject: &Subject) {
    let other = subject.another().await;
    everything_at_once(subject, vec![subject.store.clone(), other.clone()]).await;
    other.close().await;
}

async fn everything_at_once(subject: &Subject, stores: Vec<Store>) {
    subject.limit("api", 3).await;
    subject.limit("disk", 2).await;
    let retry = json!({"max_attempts": 2, "backoff": {"seconds": 0}});
    let jobs = [
        json!({"name": "light", "limits": [{"name": "api"}]}),
        json!({"name": "heavy", "limits": [{"name": "api", "weight": 3}]}),
        json!({"name": "both", "max_parallel": 2, "limits": [{"name": "api"}, {"name": "disk"}], "retry": retry}),
        json!({"name": "own", "max_parallel": 2, "retry": retry}),
    ];
    let mut registered = Vec::new();
    for job in jobs {
        registered.push(subject.job(job).await);
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let (receiver, left) = (Arc::new(Mutex::new(receiver)), Arc::new(AtomicUsize::new(TASKS * RUNS)));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let store = stores[task % stores.len()].clone();
        tasks.spawn(trigger_many(store.clone(), registered.clone(), sender.clone()));
        tasks.spawn(conclude_many(store, Arc::clone(&receiver), sender.clone(), Arc::clone(&left)));
    }
    drop(sender);
    let all = async { while tasks.join_next().await.transpose().expect("no task panics").is_some() {} };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        panic!("{} runs are left in the queue with {} slots held", left.load(Ordering::SeqCst), held(&stores[0]).await);
    }
    assert_eq!(held(&subject.store).await, 0, "at the end no slot is left");
    let runs = subject.store.runs(&Default::default(), None, 500).await.unwrap().runs;
    assert_eq!(runs.len(), TASKS * RUNS);
    assert!(runs.iter().all(|run| run.life.phase.is_terminal()));
}

async fn trigger_many(store: Store, jobs: Vec<TestJob>, admitted: mpsc::UnboundedSender<Admitted>) {
    for number in 0..RUNS {
        let new = jobs[number % jobs.len()].run_with(|run| run.priority = i32::try_from(number % 3).unwrap());
        let TriggerOutcome::Created { admitted: some, .. } = store.trigger(new).await.unwrap() else {
            panic!("it is made")
        };
        some.into_iter().for_each(|one| drop(admitted.send(one)));
        check_slots(&store).await;
    }
}

async fn conclude_many(
    store: Store,
    to_do: Arc<Mutex<mpsc::UnboundedReceiver<Admitted>>>,
    admitted: mpsc::UnboundedSender<Admitted>,
    left: Arc<AtomicUsize>,
) {
    while left.load(Ordering::SeqCst) > 0 {
        let next = tokio::time::timeout(Duration::from_millis(50), async { to_do.lock().await.recv().await }).await;
        let Ok(Some(one)) = next else { continue };
        store.launched(one.attempt, "container", after(1)).await.unwrap().expect("the present attempt");
        check_slots(&store).await;
        let verdict = if one.attempt.number == 1 { Err(ErrorCode::ExitCode) } else { Ok(Outcome::Done) };
        let concluded = conclude(&store, one.attempt, verdict, Reports::default(), after(2)).await.unwrap();
        if concluded.run.life.phase.is_terminal() {
            left.fetch_sub(1, Ordering::SeqCst);
        }
        concluded.admitted.into_iter().for_each(|one| drop(admitted.send(one)));
        check_slots(&store).await;
    }
}
