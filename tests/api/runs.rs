use std::time::Duration;

use haulier::{
    api::types::CancelRequest,
    domain::{IfExists, RunRequest, RunState, WaitReason},
};
use serde_json::json;

use crate::support::TestApp;

fn request(json: serde_json::Value) -> RunRequest {
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn the_same_key_is_the_same_run() {
    let app = TestApp::start().await;
    app.script("a", &["exit=1"]).await;
    let asked = request(json!({"parameters": {"day": "2026-01-31"}}));
    let first = app.client.trigger("a", &asked, Some("key-1")).await.unwrap();
    let again = app.client.trigger("a", &asked, Some("key-1")).await.unwrap();
    assert_eq!((first.run.id, first.replayed, again.replayed), (again.run.id, false, true));
    let other = request(json!({"parameters": {"day": "2026-02-01"}}));
    let refused = app.client.trigger("a", &other, Some("key-1")).await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (Some(409), Some("idempotency_key_reused")));
    app.end(first.run.id).await;
    // It has failed by now.
    let unless = RunRequest { if_exists: IfExists::ReturnUnlessFailed, ..asked.clone() };
    let anew = app.client.trigger("a", &unless, Some("key-1")).await.unwrap();
    assert!(anew.run.id != first.run.id && !anew.replayed);
    assert_eq!(app.client.trigger("a", &asked, Some("key-1")).await.unwrap().run.id, anew.run.id);
}

#[tokio::test]
async fn eight_at_once_with_one_key_make_one_run() {
    let app = TestApp::start().await;
    app.script("a", &["sleep=100ms"]).await;
    let asked = RunRequest::default();
    let all = (0..8).map(|_| app.client.trigger("a", &asked, Some("only-one")));
    let ids: std::collections::HashSet<_> =
        futures::future::join_all(all).await.into_iter().map(|run| run.unwrap().run.id).collect();
    assert_eq!(ids.len(), 1);
    app.end(*ids.iter().next().unwrap()).await;
    assert_eq!(app.client.runs(&[]).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn the_answer_to_a_trigger_has_what_orchestrators_need() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let sent = app.client.request(reqwest::Method::POST, "/jobs/a/runs").send().await.unwrap();
    assert_eq!(sent.status(), 202);
    let location = sent.headers()["location"].to_str().unwrap().to_owned();
    assert!(sent.headers().contains_key("retry-after"));
    let run: serde_json::Value = sent.json().await.unwrap();
    let expected = format!("http://{}/api/v1/runs/{}/await?sig=", app.address, run["id"].as_str().unwrap());
    assert!(location.starts_with(&expected), "{location}");
    // Every field is there from the start, null when it is empty.
    let (_, ended) = app.get(&format!("/runs/{}?wait=30", run["id"].as_str().unwrap())).await;
    let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&run), fields(&ended));
    assert_eq!(ended["state"], "succeeded");
}

#[tokio::test]
async fn a_long_poll_ends_with_the_run() {
    let app = TestApp::start().await;
    app.script("a", &["gate"]).await;
    let run = app.trigger("a").await;
    assert!(!app.client.run(run, 1).await.unwrap().finished);
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.engine.open_gates();
    };
    let (view, ()) = tokio::join!(app.client.run(run, 30), later);
    assert!(view.unwrap().finished);
    app.script("long", &["forever"]).await;
    let run = app.trigger("long").await;
    let began = std::time::Instant::now();
    assert!(!app.client.run(run, 1).await.unwrap().finished);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(app.get(&format!("/runs/{run}?wait=56")).await.0, 400);
}

#[tokio::test]
async fn cancelling_a_queued_run_ends_it_at_once() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let later = request(json!({"not_before": "2999-01-01T00:00:00Z"}));
    let run = app.client.trigger("a", &later, None).await.unwrap().run;
    assert_eq!(run.waiting.unwrap().reason, WaitReason::NotBefore);
    let cancelled = app.client.cancel(run.id).await.unwrap();
    assert_eq!((cancelled.state, cancelled.attempt), (RunState::Cancelled, 0));
    assert_eq!(cancelled.error.unwrap().code.as_str(), "cancelled");
    // Again: nothing changes.
    assert_eq!(app.client.cancel(run.id).await.unwrap().state, RunState::Cancelled);
}

#[tokio::test]
async fn cancelling_a_running_run_stops_its_container() {
    let app = TestApp::start().await;
    app.script("a", &["print=begun", "forever-until-term=143"]).await;
    let run = app.trigger("a").await;
    app.until(run, RunState::Running).await;
    let view = app.client.cancel(run).await.unwrap();
    assert!(matches!(view.state, RunState::Cancelling | RunState::Cancelled), "{view:?}");
    let ended = app.end(run).await;
    assert_eq!((ended.state, ended.exit_code), (RunState::Cancelled, Some(143)));
    assert_eq!(ended.stopped_by.as_deref(), Some("admin"));
}

#[tokio::test]
async fn many_are_cancelled_by_filter() {
    let app = TestApp::start().await;
    app.script("a", &["forever"]).await;
    app.script("b", &["forever"]).await;
    let labelled = request(json!({"labels": {"day": "1"}}));
    let marked = app.client.trigger("a", &labelled, None).await.unwrap().run.id;
    let (plain, other) = (app.trigger("a").await, app.trigger("b").await);
    let (status, _) = app.raw("POST", "/runs/cancel", "{}").await;
    assert_eq!(status, 422, "nothing is cancelled by accident");
    let by = |json| serde_json::from_value::<CancelRequest>(json).unwrap();
    assert_eq!(app.client.cancel_matching(&by(json!({"labels": {"day": "1"}}))).await.unwrap().cancelled, 1);
    assert_eq!(app.end(marked).await.state, RunState::Cancelled);
    assert_eq!(app.client.cancel_matching(&by(json!({"job": "a"}))).await.unwrap().cancelled, 1);
    assert_eq!(app.end(plain).await.state, RunState::Cancelled);
    assert!(!app.client.run(other, 0).await.unwrap().finished);
    assert_eq!(app.client.cancel_matching(&by(json!({"all": true}))).await.unwrap().cancelled, 1);
    app.end(other).await;
}

#[tokio::test]
async fn a_retried_run_keeps_parameters_environment_and_revision() {
    let app = TestApp::start().await;
    app.script("a", &["echo-env=HAULIER_PARAMETERS", "echo-env=OWN", "exit=1"]).await;
    let asked = request(json!({"parameters": {"n": 1}, "env": {"OWN": "mine"}}));
    let first = app.client.trigger("a", &asked, None).await.unwrap().run.id;
    let (status, problem) = app.raw("POST", &format!("/runs/{first}/retry"), "").await;
    if status == 409 {
        assert_eq!(problem["code"], "run_active");
    }
    app.end(first).await;
    app.script("a", &["exit=0"]).await;
    let again = app.client.retry(first).await.unwrap();
    assert_eq!((again.retry_of, again.revision), (Some(first), 1));
    let ended = app.end(again.id).await;
    assert_eq!(ended.exit_code, Some(1), "the old revision ran");
    let texts = |log: haulier::api::types::LogView| log.records.into_iter().map(|r| r.text).collect::<Vec<_>>();
    let (one, two) = (app.client.log(first, 0, 0).await.unwrap(), app.client.log(again.id, 0, 0).await.unwrap());
    assert_eq!(texts(one), texts(two));
}

#[tokio::test]
async fn runs_are_listed_by_filters_and_pages() {
    let app = TestApp::start().await;
    app.script("good", &[]).await;
    app.script("bad", &["exit=1"]).await;
    let mut good = Vec::new();
    for n in 0..5 {
        let asked = request(json!({"labels": {"n": n.to_string()}, "source": {"kind": "adf"}}));
        good.push(app.client.trigger("good", &asked, None).await.unwrap().run.id);
    }
    let bad = app.outcome("bad").await.id;
    for run in &good {
        app.end(*run).await;
    }
    let ids = |query: Vec<(&'static str, String)>| {
        let client = app.client.clone();
        async move {
            let (mut ids, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let mut query = query.clone();
                query.push(("limit", "2".to_owned()));
                query.extend(cursor.map(|cursor| ("cursor", cursor)));
                let page = client.runs(&query).await.unwrap();
                ids.extend(page.items.iter().map(|run| run.id));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    return ids;
                }
            }
        }
    };
    good.reverse();
    assert_eq!(ids(vec![("job", "good".into())]).await, good);
    assert_eq!(ids(vec![("state", "failed".into())]).await, [bad]);
    assert_eq!(ids(vec![("state", "failed,succeeded".into())]).await.len(), 6);
    assert_eq!(ids(vec![("label", "n=3".into())]).await, [good[1]]);
    assert_eq!(ids(vec![("source", "kind=adf".into())]).await, good);
    assert_eq!(ids(vec![("since", "2999-01-01T00:00:00Z".into())]).await, []);
    assert_eq!(app.get("/runs?state=dead").await.0, 400);
    assert_eq!(app.get("/runs?since=yesterday").await.0, 400);
    assert_eq!(app.get("/runs?job=none").await.0, 404);
}

#[tokio::test]
async fn the_timeline_tells_what_happened() {
    let app = TestApp::start().await;
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["exit=1"],
        "retry": {"max_attempts": 2, "backoff": {"seconds": 0}}}))
        .await;
    let run = app.outcome("a").await;
    let timeline = app.client.timeline(run.id).await.unwrap();
    let kinds: Vec<_> = timeline.events.iter().map(|event| serde_json::to_value(event.kind).unwrap()).collect();
    let expected = [
        "triggered",
        "admitted",
        "started",
        "attempt_ended",
        "retrying",
        "admitted",
        "started",
        "attempt_ended",
        "finished",
    ];
    assert_eq!(kinds, expected.map(serde_json::Value::from));
    assert_eq!(timeline.attempts.len(), 2);
}

#[tokio::test]
async fn changes_are_streamed() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let mut stream = app
        .client
        .request(reqwest::Method::GET, "/events/stream")
        .timeout(Duration::from_secs(60))
        .send()
        .await
        .unwrap();
    let run = app.trigger("a").await;
    let mut text = String::new();
    while !text.contains("\"state\":\"succeeded\"") {
        text += std::str::from_utf8(&stream.chunk().await.unwrap().expect("the stream goes on")).unwrap();
    }
    assert!(text.contains("event: run") && text.contains(&run.to_string()));
}

#[tokio::test]
async fn nobody_asking_ends_a_leased_run() {
    // Leases last 30 s at the least, so that this test looks at the bound alone; the rest is tested in the runner.
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let (status, problem) = app.raw("POST", "/jobs/a/runs", r#"{"abandon_after_seconds": 5}"#).await;
    assert_eq!((status, crate::support::pointers(&problem)), (422, vec!["/abandon_after_seconds"]));
}
