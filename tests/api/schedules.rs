use haulier::domain::RunState;
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestApp, pointers};

#[tokio::test]
async fn next_times_are_shown_and_what_cannot_be_is_refused() {
    let app = TestApp::start().await;
    let daily = json!({"cron": "30 2 * * *", "timezone": "Europe/Amsterdam"});
    app.apply(json!({"name": "a", "image": "sim/ok", "schedule": daily})).await;
    let (status, seen) = app.get("/jobs/a/schedule").await;
    assert_eq!((status, seen["next"].as_array().unwrap().len()), (200, 5), "{seen}");
    assert_eq!((&seen["schedule"]["catch_up"], &seen["last_time"]), (&json!("latest"), &Value::Null));
    app.client.patch_job("a", &json!({"schedule": {"paused": true}})).await.unwrap();
    assert_eq!(app.client.schedule("a").await.unwrap().next, []);
    app.client.patch_job("a", &json!({"schedule": null})).await.unwrap();
    assert_eq!(app.client.schedule("a").await.unwrap().schedule, None);
    for (schedule, pointer) in [
        (json!({}), "/schedule"),
        (json!({"cron": "never"}), "/schedule/cron"),
        (json!({"cron": "0 0 31 2 *"}), "/schedule/cron"),
        (json!({"cron": "@daily", "timezone": "Mars/Olympus"}), "/schedule/timezone"),
        (json!({"cron": "@daily", "jitter_seconds": 99999}), "/schedule/jitter_seconds"),
        (json!({"cron": "@daily", "every": 5}), "/schedule/every"),
    ] {
        let body = json!({"name": "b", "image": "b", "schedule": schedule}).to_string();
        let (status, problem) = app.raw("PUT", "/jobs/b", body).await;
        assert_eq!((status, pointers(&problem)), (422, vec![pointer]), "{problem}");
    }
}

/// The one test that waits for a full minute to come: the reconciler, the clock and the engine together.
#[tokio::test]
async fn a_schedule_starts_a_run() {
    let app = TestApp::start().await;
    app.apply(json!({"name": "a", "image": "sim/ok", "schedule": {"cron": "* * * * *"}})).await;
    let deadline = tokio::time::Instant::now() + PATIENCE + std::time::Duration::from_secs(60);
    let run = loop {
        let runs = app.client.runs(&[("job", "a".to_owned())]).await.unwrap().items;
        if let Some(run) = runs.first() {
            break run.id;
        }
        assert!(tokio::time::Instant::now() < deadline, "no run was started");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    let run = app.end(run).await;
    assert_eq!((run.state, run.source["kind"].as_str()), (RunState::Succeeded, "schedule"));
    let state = app.client.schedule("a").await.unwrap();
    assert_eq!(
        (state.last_run, state.last_time.map(|time| time.to_string())),
        (Some(run.id), Some(run.source["time"].clone()))
    );
    let found = app.client.runs(&[("source", "kind=schedule".to_owned())]).await.unwrap().items;
    assert!(!found.is_empty());
}
