//! Who may run at once.

use std::time::Duration;

use haulier::domain::{RunId, RunRequest, RunState, WaitReason};
use serde_json::json;

use crate::support::TestApp;

async fn running(app: &TestApp, job: &str) -> usize {
    let query = [("job", job.to_owned()), ("state", "starting,running,cancelling".to_owned()), ("limit", "500".into())];
    app.client.runs(&query).await.unwrap().items.len()
}

#[tokio::test]
async fn max_parallel_is_kept_and_waiting_says_why() {
    let app = TestApp::start().await;
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["forever-until-term=0"], "max_parallel": 2})).await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(app.trigger("a").await);
    }
    for run in &runs[..2] {
        app.until(*run, RunState::Running).await;
    }
    let waits = app.client.run(runs[4], 0).await.unwrap();
    assert_eq!(waits.state, RunState::Queued);
    let waiting = waits.waiting.unwrap();
    assert_eq!((waiting.reason, waiting.position), (WaitReason::Limit, Some(3)));
    let mut holders = waiting.holders;
    holders.sort();
    let mut expected = runs[..2].to_vec();
    expected.sort();
    assert_eq!(holders, expected);
    assert_eq!(running(&app, "a").await, 2);
    app.client.cancel(runs[0]).await.unwrap();
    app.until(runs[2], RunState::Running).await;
    assert_eq!(running(&app, "a").await, 2);
}

#[tokio::test]
async fn limits_never_over_admit_nor_leak() {
    let app = TestApp::start().await;
    app.client.set_limit("api", 3).await.unwrap();
    for (name, weight) in [("light", 1), ("heavy", 2)] {
        app.apply(json!({"name": name, "image": "sim/ok", "args": ["sleep=5ms"], "limits": [{"name": "api", "weight": weight}]}))
            .await;
    }
    let all: Vec<RunId> =
        futures::future::join_all((0..60).map(|n| app.trigger(if n % 3 == 0 { "heavy" } else { "light" }))).await;
    let watch = async {
        loop {
            let limit = app.client.limit("api").await.unwrap();
            assert!(limit.held <= 3, "{limit:?}");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let end = async {
        for run in all {
            assert_eq!(app.end(run).await.state, RunState::Succeeded);
        }
    };
    tokio::select! {
        () = watch => {}
        () = end => {}
    }
    let limit = app.client.limit("api").await.unwrap();
    assert_eq!((limit.held, limit.holders, limit.waiting), (0, Some(vec![]), Some(0)));
}

#[tokio::test]
async fn a_heavy_run_is_not_overtaken_for_ever() {
    let app = TestApp::start().await;
    app.client.set_limit("api", 2).await.unwrap();
    app.apply(
        json!({"name": "light", "image": "sim/ok", "args": ["forever-until-term=0"], "limits": [{"name": "api"}]}),
    )
    .await;
    app.apply(json!({"name": "heavy", "image": "sim/ok", "limits": [{"name": "api", "weight": 2}]})).await;
    let first = app.trigger("light").await;
    app.until(first, RunState::Running).await;
    let heavy = app.trigger("heavy").await;
    let second = app.trigger("light").await;
    assert_eq!(
        app.client.run(second, 0).await.unwrap().state,
        RunState::Queued,
        "it would fit, but heavy is before it"
    );
    app.client.cancel(first).await.unwrap();
    assert_eq!(app.end(heavy).await.state, RunState::Succeeded);
    app.until(second, RunState::Running).await;
}

#[tokio::test]
async fn higher_priority_goes_first() {
    let app = TestApp::start().await;
    app.client.set_limit("gate", 1).await.unwrap();
    app.apply(
        json!({"name": "a", "image": "sim/ok", "args": ["sleep=30ms"], "max_parallel": 1, "limits": [{"name": "gate"}]}),
    )
    .await;
    app.client.set_limit("gate", 0).await.unwrap();
    let mut runs = Vec::new();
    for priority in [0, -5, 10] {
        let asked = RunRequest { priority, ..RunRequest::default() };
        runs.push(app.client.trigger("a", &asked, None).await.unwrap().run.id);
    }
    // All wait before the first may go.
    app.client.set_limit("gate", 1).await.unwrap();
    let mut started = Vec::new();
    for run in &runs {
        started.push(app.end(*run).await.started_at.unwrap());
    }
    assert!(started[2] < started[0] && started[0] < started[1], "{started:?}");
}

#[tokio::test]
async fn when_full_in_its_four_forms() {
    let app = TestApp::start().await;
    let job = |when: &str| json!({"name": "a", "image": "sim/ok", "args": ["forever-until-term=0"], "max_parallel": 1, "when_full": when});
    app.apply(job("reject")).await;
    let first = app.trigger("a").await;
    let refused = app.client.trigger("a", &RunRequest::default(), None).await.unwrap_err();
    assert_eq!(refused.code(), Some("job_full"));
    app.apply(job("replace")).await;
    app.until(first, RunState::Running).await;
    let second = app.trigger("a").await;
    let replaced = app.end(first).await;
    assert_eq!((replaced.state, replaced.error.unwrap().code.as_str()), (RunState::Cancelled, "superseded"));
    app.until(second, RunState::Running).await;
    app.apply(job("keep_newest")).await;
    let (third, fourth) = (app.trigger("a").await, app.trigger("a").await);
    assert_eq!(app.end(third).await.error.unwrap().code.as_str(), "superseded");
    assert_eq!(app.client.run(fourth, 0).await.unwrap().state, RunState::Queued);
    assert_eq!(app.client.run(second, 0).await.unwrap().state, RunState::Running);
    app.client.cancel(second).await.unwrap();
    app.until(fourth, RunState::Running).await;
    app.client.cancel(fourth).await.unwrap();
}

#[tokio::test]
async fn not_before_is_kept() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let at = haulier::domain::Clock::now(&haulier::domain::SystemClock).plus(Duration::from_millis(700));
    let asked = RunRequest { not_before: Some(at), ..RunRequest::default() };
    let run = app.client.trigger("a", &asked, None).await.unwrap().run;
    assert_eq!(run.state, RunState::Queued);
    assert!(app.end(run.id).await.started_at.unwrap() >= at);
}

#[tokio::test]
async fn a_raised_limit_lets_others_in_at_once() {
    let app = TestApp::start().await;
    app.client.set_limit("api", 1).await.unwrap();
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["forever-until-term=0"], "limits": [{"name": "api"}]}))
        .await;
    let (first, second) = (app.trigger("a").await, app.trigger("a").await);
    app.until(first, RunState::Running).await;
    assert_eq!(app.client.run(second, 0).await.unwrap().state, RunState::Queued);
    app.client.set_limit("api", 2).await.unwrap();
    app.until(second, RunState::Running).await;
}
