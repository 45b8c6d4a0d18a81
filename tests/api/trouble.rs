//! Engines that misbehave, and services that end in the middle.

use std::time::Duration;

use haulier::domain::{RunId, RunState, WaitReason};
use serde_json::json;

use crate::support::TestApp;

async fn starts(app: &TestApp, run: RunId) -> Vec<u32> {
    let attempts = app.client.timeline(run).await.unwrap().attempts;
    attempts.iter().map(|attempt| app.engine.starts(&attempt.workload)).collect()
}

#[tokio::test]
async fn an_answer_that_is_lost_does_not_start_twice() {
    let app = TestApp::start().await;
    app.script("a", &["sleep=50ms"]).await;
    app.engine.forget_answers(3);
    let run = app.outcome("a").await;
    assert_eq!(run.state, RunState::Succeeded);
    assert_eq!(starts(&app, run.id).await, [1]);
}

#[tokio::test]
async fn an_unreachable_engine_delays_and_says_so() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    app.engine.set_reachable(false);
    let run = app.trigger("a").await;
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let waiting = app.client.run(run, 0).await.unwrap().waiting.unwrap();
        if waiting.reason == WaitReason::EngineUnreachable {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{waiting:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.engine.set_reachable(true);
    let run = app.end(run).await;
    assert_eq!(run.state, RunState::Succeeded);
    assert_eq!(starts(&app, run.id).await, [1]);
}

#[tokio::test]
async fn an_engine_that_goes_and_comes_back_loses_nothing() {
    let app = TestApp::start().await;
    app.script("a", &["gate", "exit=5"]).await;
    let run = app.trigger("a").await;
    app.until(run, RunState::Running).await;
    app.engine.set_reachable(false);
    app.engine.open_gates();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(app.client.run(run, 0).await.unwrap().state, RunState::Running, "states stay as they are");
    app.engine.set_reachable(true);
    let run = app.end(run).await;
    assert_eq!((run.state, run.exit_code), (RunState::Failed, Some(5)));
    assert_eq!(starts(&app, run.id).await, [1]);
}

#[tokio::test]
async fn a_lost_workload_is_the_infrastructures_failure() {
    let app = TestApp::start().await;
    app.script("a", &["forever-until-term=0"]).await;
    let run = app.trigger("a").await;
    app.until(run, RunState::Running).await;
    let name = app.client.timeline(run).await.unwrap().attempts[0].workload.clone();
    assert!(app.engine.lose(&name));
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while app.client.run(run, 0).await.unwrap().attempt < 2 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let first = app.client.timeline(run).await.unwrap().attempts[0].clone();
    assert_eq!(first.error.unwrap().code.as_str(), "engine_lost");
    app.client.cancel(run).await.unwrap();
    assert_eq!(app.end(run).await.state, RunState::Cancelled);
}

#[tokio::test]
async fn a_restart_takes_everything_up() {
    let mut app = TestApp::start().await;
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["gate", "exit=7"], "max_parallel": 3})).await;
    app.apply(json!({"name": "slow", "image": "sim/slow-pull", "args": ["exit=0"]})).await;
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(app.trigger("a").await);
    }
    let slow = app.trigger("slow").await;
    app.until(runs[0], RunState::Running).await;
    app.restart().await;
    app.engine.open_gates();
    for run in runs.drain(..) {
        let run = app.end(run).await;
        assert_eq!((run.state, run.exit_code), (RunState::Failed, Some(7)));
        assert_eq!(starts(&app, run.id).await, [1]);
    }
    let slow = app.end(slow).await;
    assert_eq!(slow.state, RunState::Succeeded, "{slow:?}");
    assert_eq!(starts(&app, slow.id).await, [1]);
}

#[tokio::test]
async fn nothing_is_left_on_the_engine() {
    let app = TestApp::start().await;
    app.script("a", &["exit=1"]).await;
    app.script("long", &["forever"]).await;
    for _ in 0..3 {
        app.outcome("a").await;
    }
    let run = app.trigger("long").await;
    app.until(run, RunState::Running).await;
    app.client.cancel(run).await.unwrap();
    app.end(run).await;
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while app.engine.count() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{} workloads are left", app.engine.count());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
