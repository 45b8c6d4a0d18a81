//! Who is told a run's end.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::fixtures::{Subject, TestJob, after};
use crate::{
    domain::{Callback, CallbackKind, CallbackOutcome, CallbackState, RunId, StopCause},
    store::{NewCallback, NewRun},
};

const HOLD: Duration = Duration::from_secs(100);

fn told(job: &TestJob) -> NewRun {
    let delivery = Uuid::now_v7();
    let url = b"sealed".to_vec();
    let callback = NewCallback { delivery, kind: CallbackKind::Adf, url, target: "https://example.com".to_owned() };
    NewRun { callback: Some(callback), ..job.run() }
}

async fn read(subject: &Subject, run: RunId) -> Callback {
    subject.store.callback(run).await.unwrap().expect("it was asked for")
}

/// Due with the end of the run and not before; tried by one; tried again; done.
pub async fn callbacks_are_due_with_the_end(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"max_parallel": 1})).await;
    let (run, admitted) = subject.trigger(told(&job)).await;
    let later = NewRun { run: job.run_with(|run| run.not_before = Some(after(1_000_000))).run, ..told(&job) };
    let (stopped, _) = subject.trigger(later).await;
    assert_eq!(read(subject, run).await.state, CallbackState::Waiting);
    assert_eq!(store.claim_callbacks(after(1000), HOLD, 10).await.unwrap().len(), 0);
    assert_eq!(store.next_callback_at().await.unwrap(), None);
    subject.succeed(admitted[0].attempt).await;
    assert_eq!(read(subject, run).await.state, CallbackState::Due);
    // Two services at once: one of them gets it.
    let (a, b) = tokio::join!(store.claim_callbacks(after(2), HOLD, 10), store.claim_callbacks(after(2), HOLD, 10));
    let claimed: Vec<_> = a.unwrap().into_iter().chain(b.unwrap()).collect();
    assert_eq!(claimed.iter().map(|one| (one.run, one.number, one.ended_at)).collect::<Vec<_>>(), [(run, 1, after(1))]);
    assert_eq!(claimed[0].url, b"sealed");
    // Whoever holds it and dies leaves it to others, later; what it says then no longer counts.
    let again = store.claim_callbacks(after(102), HOLD, 10).await.unwrap();
    assert_eq!((again.len(), again[0].number), (1, 2));
    let delivered = CallbackOutcome::Delivered { status: 200 };
    store.callback_tried(&claimed[0], delivered.clone(), None, after(103)).await.unwrap();
    assert_eq!(read(subject, run).await.state, CallbackState::Due);
    let failed = CallbackOutcome::Failed { status: Some(503), error: "busy".to_owned() };
    store.callback_tried(&again[0], failed, Some(after(110)), after(103)).await.unwrap();
    let seen = read(subject, run).await;
    assert_eq!(
        (seen.state, seen.last_status, seen.last_error.as_deref()),
        (CallbackState::Due, Some(503), Some("busy"))
    );
    assert_eq!(store.next_callback_at().await.unwrap(), Some(after(110)));
    let last = store.claim_callbacks(after(110), HOLD, 10).await.unwrap();
    store.callback_tried(&last[0], delivered, None, after(111)).await.unwrap();
    let seen = read(subject, run).await;
    assert_eq!((seen.state, seen.tries, seen.delivered_at), (CallbackState::Delivered, 3, Some(after(111))));
    // A run that ends in the queue has an end too.
    let stop = store.stop(stopped, StopCause::Cancelled, "tester", after(120)).await.unwrap();
    assert!(stop.is_some());
    let refused = CallbackOutcome::Refused { status: Some(410), error: "gone".to_owned() };
    for one in store.claim_callbacks(after(120), HOLD, 10).await.unwrap() {
        assert_eq!(one.run, stopped);
        store.callback_tried(&one, refused.clone(), None, after(121)).await.unwrap();
    }
    assert_eq!(read(subject, stopped).await.state, CallbackState::GivenUp);
    assert_eq!(store.next_callback_at().await.unwrap(), None);
}
