use futures::StreamExt;
use haulier::{api::types::LogView, domain::RunState, logs::LogLimits};

use crate::support::TestApp;

#[tokio::test]
async fn logs_are_followed_live_and_read_by_any_offset() {
    let app = TestApp::start().await;
    app.script("a", &["print=one", "print-err=two", "sleep=200ms", "print=three"]).await;
    let run = app.trigger("a").await;
    let records: Vec<_> = app.client.log_records(run, true).map(Result::unwrap).collect().await;
    let found: Vec<_> =
        records.iter().map(|record| (serde_json::to_value(record.stream).unwrap(), record.text.as_str())).collect();
    assert_eq!(found, [("stdout".into(), "one"), ("stderr".into(), "two"), ("stdout".into(), "three")]);
    // Page by page, from every offset that a page gave.
    let whole = app.client.log(run, 0, 0).await.unwrap();
    let end = app.end(run).await;
    assert!(end.log.complete);
    assert_eq!(whole.next_offset, end.log.bytes);
    let one: LogView = app.client.log(run, 1, 0).await.unwrap();
    assert_eq!(one.records.len(), 2, "an offset inside a record means the next");
}

#[tokio::test]
async fn logs_come_as_text_lines_and_events() {
    let app = TestApp::start().await;
    app.script("a", &["print=one", "print-err=two"]).await;
    let run = app.outcome("a").await.id;
    let get = |path: String, accept: &'static str| {
        let request = app.client.request(reqwest::Method::GET, &path).header("accept", accept);
        async move { request.send().await.unwrap().text().await.unwrap() }
    };
    assert_eq!(get(format!("/runs/{run}/logs"), "text/plain").await, "one\ntwo\n");
    assert_eq!(get(format!("/runs/{run}/logs?stream=stderr"), "text/plain").await, "two\n");
    let lines = get(format!("/runs/{run}/logs"), "application/x-ndjson").await;
    assert_eq!(lines.lines().count(), 2);
    let events = get(format!("/runs/{run}/logs/stream"), "text/event-stream").await;
    assert!(events.contains("event: log") && events.contains("event: end"), "{events}");
    assert_eq!(app.get(&format!("/runs/{run}/logs?stream=stdin")).await.0, 400);
}

#[tokio::test]
async fn long_logs_are_cut_with_a_mark() {
    let app = TestApp::start_with_logs(LogLimits { max_bytes_per_run: 2000 }).await;
    let line = format!("print={}", "x".repeat(100));
    app.script("a", &vec![line.as_str(); 100]).await;
    let run = app.outcome("a").await;
    assert_eq!(run.state, RunState::Succeeded);
    assert!(run.log.truncated && run.log.bytes < 4000, "{:?}", run.log);
    let log = app.client.log(run.id, 0, 0).await.unwrap();
    assert!(log.records.last().unwrap().text.contains("truncated"), "{:?}", log.records.last());
}

#[tokio::test]
async fn output_that_the_engine_has_lost_is_told() {
    let app = TestApp::start().await;
    app.script("a", &["print=one", "gate", "print=two"]).await;
    let run = app.trigger("a").await;
    while app.client.log(run, 0, 5).await.unwrap().records.is_empty() {}
    app.engine.lose_output(&app.client.timeline(run).await.unwrap().attempts[0].workload);
    app.engine.open_gates();
    let end = app.end(run).await;
    assert_eq!((end.state, end.log.complete), (RunState::Succeeded, false));
    let log = app.client.log(run, 0, 0).await.unwrap();
    let texts: Vec<_> = log.records.iter().map(|record| record.text.as_str()).collect();
    assert_eq!(texts, ["one", "two"], "the rest is kept");
}

#[tokio::test]
async fn logs_survive_a_restart_without_loss_or_repetition() {
    let mut app = TestApp::start().await;
    app.script("a", &["print=one", "print=two", "gate", "print=three", "print=four"]).await;
    let run = app.trigger("a").await;
    while app.client.log(run, 0, 5).await.unwrap().records.len() < 2 {}
    app.restart().await;
    app.engine.open_gates();
    app.end(run).await;
    let log = app.client.log(run, 0, 5).await.unwrap();
    let texts: Vec<_> = log.records.iter().map(|record| record.text.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three", "four"]);
}
