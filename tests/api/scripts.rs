//! What scripts do, and what becomes of it.

use haulier::{
    api::types::StateRequest,
    domain::{RunRequest, RunState},
};
use serde_json::{Value, json};

use crate::support::TestApp;

#[tokio::test]
async fn exit_codes_and_out_of_memory_are_told_apart() {
    let app = TestApp::start().await;
    for (args, state, code, exit) in [
        (vec!["exit=0"], RunState::Succeeded, None, Some(0)),
        (vec!["exit=3"], RunState::Failed, Some("exit_code"), Some(3)),
        (vec!["signal=9"], RunState::Failed, Some("exit_code"), Some(137)),
        (vec!["oom"], RunState::Failed, Some("out_of_memory"), Some(137)),
    ] {
        app.script("a", &args).await;
        let run = app.outcome("a").await;
        let found = run.error.as_ref().map(|error| error.code.as_str());
        assert_eq!((run.state, found, run.exit_code), (state, code, exit), "{args:?}");
        assert!(run.error.is_none_or(|error| !error.message.is_empty()));
    }
}

#[tokio::test]
async fn launches_that_cannot_succeed_say_why() {
    let app = TestApp::start().await;
    for (image, code) in [
        ("sim/missing", "image_pull_failed"),
        ("sim/forbidden", "image_pull_failed"),
        ("sim/no-command", "command_not_found"),
    ] {
        app.apply(json!({"name": "a", "image": image})).await;
        let run = app.outcome("a").await;
        let error = run.error.unwrap();
        assert_eq!((run.state, error.code.as_str()), (RunState::Failed, code), "{image}");
        assert_eq!(run.exit_code, None);
    }
}

#[tokio::test]
async fn reports_become_output_metrics_and_state() {
    let app = TestApp::start().await;
    let report = r#"report={"output": {"rows": 42}, "metrics": {"rows": 42}, "state": {"watermark": 7}, "progress": {"done": 1, "total": 1}}"#;
    app.script("a", &["print=before", report, "print=after"]).await;
    let run = app.outcome("a").await;
    assert_eq!(run.output, Some(json!({"rows": 42})));
    assert_eq!(run.metrics["rows"], 42.0);
    assert_eq!(app.client.state("a").await.unwrap().state["watermark"], 7);
    let log = app.client.log(run.id, 0, 0).await.unwrap();
    let texts: Vec<_> = log.records.iter().map(|record| record.text.as_str()).collect();
    assert_eq!(texts, ["before", "after"], "report lines are taken out");
    // The next run gets the state.
    app.script("a", &["echo-env=HAULIER_STATE"]).await;
    let run = app.outcome("a").await;
    let log = app.client.log(run.id, 0, 0).await.unwrap();
    assert!(log.records[0].text.contains("\"watermark\":7"));
}

#[tokio::test]
async fn state_is_committed_with_success_alone() {
    let app = TestApp::start().await;
    app.script("a", &[r#"report={"state": {"n": 1}}"#, "exit=1"]).await;
    assert_eq!(app.outcome("a").await.state, RunState::Failed);
    assert_eq!(app.client.state("a").await.unwrap().version, 0);
    app.script("a", &[r#"report={"state": {"n": 1}}"#, "forever-until-term=0"]).await;
    let run = app.trigger("a").await;
    app.until(run, RunState::Running).await;
    app.client.cancel(run).await.unwrap();
    app.end(run).await;
    assert_eq!(app.client.state("a").await.unwrap().version, 0);
}

#[tokio::test]
async fn a_state_changed_meanwhile_is_a_conflict() {
    let app = TestApp::start().await;
    app.script("a", &["print=begun", "gate", r#"report={"state": {"n": 1}}"#]).await;
    let run = app.trigger("a").await;
    app.until(run, RunState::Running).await;
    let by_hand = StateRequest { state: serde_json::from_value(json!({"n": 9})).unwrap(), expected_version: Some(0) };
    app.client.set_state("a", &by_hand).await.unwrap();
    app.engine.open_gates();
    let ended = app.end(run).await;
    assert_eq!(ended.error.unwrap().code.as_str(), "state_conflict");
    let state = app.client.state("a").await.unwrap();
    assert_eq!((state.version, &state.state["n"]), (1, &json!(9)));
    let stale = app.client.set_state("a", &by_hand).await.unwrap_err();
    assert_eq!(stale.code(), Some("state_conflict"));
    assert_eq!(app.client.state_history("a", None).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn broken_reports_fail_the_run() {
    let app = TestApp::start().await;
    app.script("a", &[r#"report={"outptu": 1}"#]).await;
    assert_eq!(app.outcome("a").await.error.unwrap().code.as_str(), "report_invalid");
    app.script("a", &[r#"report={"error": {"code": "AUTH", "message": "the token has expired"}}"#, "exit=2"]).await;
    let error = app.outcome("a").await.error.unwrap();
    assert_eq!((error.code.as_str(), error.reported_code.as_deref()), ("exit_code", Some("AUTH")));
    assert!(error.message.contains("the token has expired"));
}

#[tokio::test]
async fn a_forged_report_is_ordinary_output() {
    let app = TestApp::start().await;
    app.script("a", &[r#"print=::haulier:0123456789abcdef:{"state":{"evil":1}}"#]).await;
    let run = app.outcome("a").await;
    assert_eq!(app.client.state("a").await.unwrap().version, 0);
    assert!(app.client.log(run.id, 0, 0).await.unwrap().records[0].text.contains("evil"));
}

#[tokio::test]
async fn continue_later_stays_one_run_and_is_bounded() {
    let app = TestApp::start().await;
    app.apply(json!({"name": "a", "image": "sim/ok", "max_slices": 3,
        "args": ["echo-env=HAULIER_SLICE", r#"report={"outcome": "continue", "state": {"page": 1}}"#]}))
        .await;
    let run = app.outcome("a").await;
    assert_eq!(run.error.unwrap().code.as_str(), "slice_limit");
    assert_eq!((run.slice, run.attempt), (3, 3));
    let log = app.client.log(run.id, 0, 0).await.unwrap();
    let slices: Vec<_> = log.records.iter().filter(|r| r.text.len() < 30).map(|r| r.text.clone()).collect();
    assert!(slices.iter().any(|text| text.contains('1')) && slices.iter().any(|text| text.contains('3')), "{slices:?}");
    assert_eq!(app.client.state("a").await.unwrap().version, 2, "each completed slice commits");
}

#[tokio::test]
async fn failed_attempts_are_made_again_as_the_policy_says() {
    let app = TestApp::start().await;
    let retry = json!({"max_attempts": 3, "backoff": {"seconds": 0}});
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["exit=1"], "retry": retry})).await;
    let run = app.outcome("a").await;
    assert_eq!((run.attempt, run.state), (3, RunState::Failed));
    app.apply(json!({"name": "a", "image": "sim/no-command", "retry": retry})).await;
    assert_eq!(app.outcome("a").await.attempt, 1, "trying again cannot help");
    let retry = json!({"max_attempts": 3, "backoff": {"seconds": 600}});
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["exit=1"], "retry": retry})).await;
    let run = app.trigger("a").await;
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let view = app.client.run(run, 0).await.unwrap();
        if view.attempt == 1 && view.state == RunState::Queued {
            assert_eq!(serde_json::to_value(view.waiting.unwrap().reason).unwrap(), "backing_off");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(app.client.cancel(run).await.unwrap().state, RunState::Cancelled);
}

#[tokio::test]
async fn timeouts_end_runs() {
    let app = TestApp::start().await;
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["hang"], "timeout_seconds": 1, "kill_grace_seconds": 0}))
        .await;
    let run = app.outcome("a").await;
    assert_eq!((run.state, run.error.unwrap().code.as_str()), (RunState::TimedOut, "run_timeout"));
    app.apply(json!({"name": "b", "image": "sim/slow-pull", "start_timeout_seconds": 1, "args": ["forever"]})).await;
    app.engine.refuse_launches(1000);
    let run = app.outcome("b").await;
    assert_eq!(run.error.unwrap().code.as_str(), "start_timeout");
    app.engine.refuse_launches(0);
    app.apply(
        json!({"name": "c", "image": "sim/ok", "args": ["forever"], "max_parallel": 1, "queue_timeout_seconds": 1}),
    )
    .await;
    let first = app.trigger("c").await;
    let waits = app.outcome("c").await;
    assert_eq!((waits.state, waits.error.unwrap().code.as_str()), (RunState::TimedOut, "queue_timeout"));
    app.client.cancel(first).await.unwrap();
}

#[tokio::test]
async fn scripts_get_what_they_are_promised() {
    let app = TestApp::start().await;
    let names = [
        "HAULIER_RUN_ID",
        "HAULIER_JOB",
        "HAULIER_ATTEMPT",
        "HAULIER_SLICE",
        "HAULIER_PARAMETERS",
        "HAULIER_STATE",
        "HAULIER_CONFIG",
        "OWN",
        "BOTH",
    ];
    let args: Vec<String> = names.iter().map(|name| format!("echo-env={name}")).collect();
    app.apply(
        json!({"name": "a", "image": "sim/ok", "args": args, "env": {"OWN": "${HOME} \"quoted\"", "BOTH": "job"},
        "config": {"url": "https://example.com"}}),
    )
    .await;
    let asked: RunRequest =
        serde_json::from_value(json!({"parameters": {"day": "2026-01-31"}, "env": {"BOTH": "run"}})).unwrap();
    let run = app.client.trigger("a", &asked, None).await.unwrap().run.id;
    app.end(run).await;
    let log = app.client.log(run, 0, 0).await.unwrap();
    let all: Vec<Value> = log.records.iter().map(|record| Value::from(record.text.as_str())).collect();
    let all = serde_json::to_string(&all).unwrap();
    for expected in [&run.to_string(), "2026-01-31", "https://example.com", "${HOME}"] {
        assert!(all.contains(expected), "{expected} is not in {all}");
    }
    assert!(all.contains("run\"") && !all.contains("=job"), "the run's own environment wins: {all}");
}
