use haulier::{
    api::types::TokenRequest,
    client::Client,
    domain::{RunRequest, Scope},
};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;

use crate::support::{ADMIN, TestApp};

async fn scrape(app: &TestApp, token: &str, accept: &str) -> (u16, String, String) {
    let request = reqwest::Client::new().get(format!("http://{}/metrics", app.address)).header(ACCEPT, accept);
    let answer = request.header(AUTHORIZATION, format!("Bearer {token}")).send().await.unwrap();
    let kind = answer.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
    (answer.status().as_u16(), kind.unwrap_or_default(), answer.text().await.unwrap())
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn what_runs_do_is_counted() {
    let app = TestApp::start().await;
    app.script("good", &["report={\"metrics\": {\"rows\": 42}}"]).await;
    app.script("bad", &["exit=3"]).await;
    for _ in 0..2 {
        app.outcome("good").await;
    }
    app.outcome("bad").await;
    let (status, kind, text) = scrape(&app, ADMIN, "application/openmetrics-text; version=1.0.0").await;
    assert_eq!(status, 200);
    assert!(kind.starts_with("application/openmetrics-text") && text.ends_with("# EOF\n"), "{kind}");
    for (series, expected) in [
        ("haulier_runs_triggered_total{by=\"request\"}", 3.0),
        ("haulier_runs_ended_total{state=\"succeeded\",error=\"\"}", 2.0),
        ("haulier_runs_ended_total{state=\"failed\",error=\"exit_code\"}", 1.0),
        ("haulier_run_queue_seconds_count", 3.0),
        ("haulier_run_start_seconds_count", 3.0),
        ("haulier_run_duration_seconds_count{state=\"succeeded\"}", 2.0),
        ("haulier_job_last_run_succeeded{project=\"default\",job_name=\"bad\"}", 0.0),
        ("haulier_job_reported{project=\"default\",job_name=\"good\",metric=\"rows\"}", 42.0),
        ("haulier_leader", 1.0),
        ("haulier_launches_in_flight", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
    let trigger = "haulier_http_requests_total{method=\"POST\",route=\"/api/v1/jobs/{job}/runs\",status=\"2xx\"}";
    assert_eq!(value(&text, trigger), Some(3.0), "{text}");
    assert!(value(&text, "process_resident_memory_bytes").is_some_and(|bytes| bytes > 1e6), "{text}");
    assert!(value(&text, "haulier_store_duration_seconds_count{operation=\"write\"}").is_some_and(|n| n > 3.0));
    let (_, kind, plain) = scrape(&app, ADMIN, "*/*").await;
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(plain.contains("# TYPE haulier_runs_ended_total counter\n") && !plain.contains("# EOF"));
}

#[tokio::test]
async fn metrics_are_not_for_everybody() {
    let app = TestApp::start().await;
    assert_eq!(scrape(&app, "no-token-at-all-x", "*/*").await.0, 401);
    let token = async |client: &Client, scopes: Vec<Scope>, instance: bool| {
        let name = "scraper".parse().unwrap();
        let request = TokenRequest { name, scopes, jobs: Vec::new(), expires_at: None, instance };
        client.create_token(&request).await.unwrap().secret
    };
    let of_project = token(&app.client, vec![Scope::Admin], false).await;
    assert_eq!(scrape(&app, &of_project, "*/*").await.0, 403);
    let trigger = token(&app.client, vec![Scope::Trigger], true).await;
    assert_eq!(scrape(&app, &trigger, "*/*").await.0, 403);
    let read = token(&app.client, vec![Scope::Read], true).await;
    assert_eq!(scrape(&app, &read, "*/*").await.0, 200);
}

#[tokio::test]
async fn a_trace_reaches_the_script() {
    let app = TestApp::start().await;
    app.script("a", &["echo-env=TRACEPARENT"]).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trigger = async |trace: &str| {
        let request = app.client.request(reqwest::Method::POST, "/jobs/a/runs").header("traceparent", trace);
        let answer = request.json(&RunRequest::default()).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        answer.json::<serde_json::Value>().await.unwrap()
    };
    let run = trigger(trace).await;
    assert_eq!(run["traceparent"], json!(trace));
    let run = run["id"].as_str().unwrap().parse().unwrap();
    app.end(run).await;
    let printed = app.client.log(run, 0, 0).await.unwrap().records;
    assert!(serde_json::to_string(&printed).unwrap().contains(trace), "{printed:?}");
    assert_eq!(trigger("00-nonsense").await["traceparent"], json!(null));
}
