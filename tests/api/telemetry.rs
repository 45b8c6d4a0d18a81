//! Traces and metrics, as a collector gets them.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use haulier::{domain::RunState, telemetry::TelemetrySettings};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point::Value as Number},
    resource::v1::Resource,
    trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message as _;
use reqwest::Method;
use serde_json::json;

use crate::support::{ADMIN, PATIENCE, Settings, TestApp};

/// A collector, which keeps what it is sent.
#[derive(Clone)]
struct Collector {
    url: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    spans: Vec<Span>,
    metrics: Vec<Metric>,
    resources: Vec<Resource>,
    /// What it says instead of taking anything.
    refuses: Option<StatusCode>,
    refused: usize,
}

impl Collector {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self { url: format!("http://{}/otlp", listener.local_addr().unwrap()), inner: Arc::default() };
        let router = Router::new()
            .route("/otlp/v1/traces", post(traces))
            .route("/otlp/v1/metrics", post(metrics))
            .with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        collector
    }

    fn get(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn settings(&self) -> TelemetrySettings {
        TelemetrySettings {
            endpoint: self.url.parse().unwrap(),
            headers: vec![("x-key".to_owned(), "hunter2".into())],
            service_name: "haulier-of-a-test".to_owned(),
            traces: true,
            sample_ratio: 1.0,
            metrics_interval: None,
        }
    }

    /// What comes of what was sent, once there is something.
    async fn until<T>(&self, find: impl Fn(&Inner) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find(&self.get()) {
                return found;
            }
            let names: Vec<_> = self.get().spans.iter().map(|span| span.name.clone()).collect();
            assert!(tokio::time::Instant::now() < deadline, "it never came: {names:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn span(&self, name: &str) -> Span {
        self.until(|inner| inner.spans.iter().find(|span| span.name == name).cloned()).await
    }

    fn take(&self, headers: &HeaderMap) -> Result<MutexGuard<'_, Inner>, StatusCode> {
        assert_eq!(
            (headers["x-key"].as_bytes(), headers["content-type"].as_bytes()),
            (&b"hunter2"[..], &b"application/x-protobuf"[..])
        );
        let mut inner = self.get();
        match inner.refuses {
            Some(status) => {
                inner.refused += 1;
                Err(status)
            }
            None => Ok(inner),
        }
    }
}

async fn traces(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Result<(), StatusCode> {
    let mut inner = collector.take(&headers)?;
    for of in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
        inner.resources.extend(of.resource);
        inner.spans.extend(of.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    Ok(())
}

async fn metrics(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Result<(), StatusCode> {
    let mut inner = collector.take(&headers)?;
    for of in ExportMetricsServiceRequest::decode(body).unwrap().resource_metrics {
        inner.resources.extend(of.resource);
        inner.metrics.extend(of.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
    }
    Ok(())
}

async fn started(telemetry: TelemetrySettings) -> TestApp {
    TestApp::start_with(Settings { telemetry: Some(telemetry), ..Settings::default() }).await
}

fn fact(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|fact| fact.key == key).unwrap_or_else(|| panic!("no {key} in {attributes:?}"));
    match found.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Triggers a run with this header; its id.
async fn triggered(app: &TestApp, job: &str, traceparent: Option<&str>) -> haulier::domain::RunId {
    let mut request = app.client.request(Method::POST, &format!("/jobs/{job}/runs")).json(&json!({}));
    if let Some(value) = traceparent {
        request = request.header("traceparent", value);
    }
    let (status, run) = crate::support::answer(request.send().await.unwrap()).await;
    assert_eq!(status, 202, "{run}");
    serde_json::from_value(run["id"].clone()).unwrap()
}

/// What the script found in its TRACEPARENT.
async fn traceparent_of(app: &TestApp, run: haulier::domain::RunId) -> String {
    assert!(app.end(run).await.finished);
    let (_, log) = app.get(&format!("/runs/{run}/logs")).await;
    log["records"][0]["text"].as_str().unwrap_or_else(|| panic!("{log}")).to_owned()
}

#[tokio::test]
async fn a_trace_reaches_from_the_caller_to_the_script() {
    let collector = Collector::start().await;
    let app = started(collector.settings()).await;
    app.script("a", &["echo-env=TRACEPARENT", "exit=3"]).await;
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let run = triggered(&app, "a", Some(caller)).await;
    let script = traceparent_of(&app, run).await;

    let request = collector.span("POST /api/v1/jobs/{job}/runs").await;
    assert_eq!(hex(&request.trace_id), &caller[3..35]);
    assert_eq!(hex(&request.parent_span_id), &caller[36..52]);
    assert_eq!(request.kind, i32::from(SpanKind::Server));
    assert_eq!(fact(&request.attributes, "http.response.status_code"), "202");

    let attempt = collector.span("run a").await;
    assert_eq!((&attempt.trace_id, &attempt.parent_span_id), (&request.trace_id, &request.span_id));
    assert_eq!(script, format!("00-{}-{}-01", hex(&attempt.trace_id), hex(&attempt.span_id)));
    assert_eq!(fact(&attempt.attributes, "haulier.run.id"), run.to_string());
    assert_eq!(fact(&attempt.attributes, "error.type"), "exit_code");
    assert_eq!(fact(&attempt.attributes, "haulier.exit_code"), "3");
    assert_eq!(attempt.status.unwrap().code, i32::from(SpanStatus::Error));
    assert!(attempt.start_time_unix_nano >= request.start_time_unix_nano);
    assert!(attempt.end_time_unix_nano > attempt.start_time_unix_nano);
    let resource = collector.get().resources[0].clone();
    assert_eq!(fact(&resource.attributes, "service.name"), "haulier-of-a-test");

    // Who only looks whether the service lives leaves no span; who asks for what is not there does.
    for path in ["/healthz", "/not/there"] {
        reqwest::get(format!("{}{path}", app.client.url())).await.unwrap();
    }
    collector.span("GET (no route)").await;
    assert!(!collector.get().spans.iter().any(|span| span.name.contains("/healthz")));
}

#[tokio::test]
async fn each_attempt_is_a_span_also_when_another_service_ends_it() {
    let collector = Collector::start().await;
    let mut app = started(collector.settings()).await;
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["echo-env=TRACEPARENT", "forever"],
        "retry": {"max_attempts": 1}}))
        .await;
    let run = triggered(&app, "a", None).await;
    app.until(run, RunState::Running).await;
    app.restart().await;
    app.until(run, RunState::Running).await;
    app.client.cancel(run).await.unwrap();
    let script = traceparent_of(&app, run).await;
    let span = collector.span("run a").await;
    assert_eq!(script, format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id)));
    let spans = collector.get().spans.iter().filter(|span| span.name == "run a").count();
    assert_eq!(spans, 1);
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_not_sent() {
    let collector = Collector::start().await;
    let app = started(TelemetrySettings { sample_ratio: 0.0, ..collector.settings() }).await;
    app.script("a", &["echo-env=TRACEPARENT"]).await;
    app.script("b", &["echo-env=TRACEPARENT"]).await;
    let mine = triggered(&app, "a", None).await;
    assert!(traceparent_of(&app, mine).await.ends_with("-00"));
    let not_kept = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let theirs = triggered(&app, "a", Some(not_kept)).await;
    assert!(traceparent_of(&app, theirs).await.starts_with(&not_kept[..36]));
    // Who keeps a trace gets it whole.
    let kept = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let run = triggered(&app, "b", Some(kept)).await;
    app.end(run).await;
    collector.span("run b").await;
    let names: Vec<_> = collector.get().spans.iter().map(|span| span.name.clone()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn without_a_collector_the_callers_trace_goes_to_the_script_as_it_came() {
    let app = TestApp::start().await;
    app.script("a", &["echo-env=TRACEPARENT"]).await;
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let run = triggered(&app, "a", Some(caller)).await;
    assert_eq!(traceparent_of(&app, run).await, caller);
}

#[tokio::test]
async fn metrics_are_those_that_prometheus_reads() {
    let collector = Collector::start().await;
    let every = Some(Duration::from_millis(200));
    let app = started(TelemetrySettings { traces: false, metrics_interval: every, ..collector.settings() }).await;
    app.script("a", &["report={\"metrics\": {\"rows\": 7}}"]).await;
    for _ in 0..3 {
        app.outcome("a").await;
    }
    let find = |name: &'static str| {
        let collector = collector.clone();
        async move { collector.until(|inner| inner.metrics.iter().rev().find(|metric| metric.name == name).cloned()).await }
    };
    collector
        .until(|inner| {
            let all = inner.metrics.iter().filter(|metric| metric.name == "haulier_runs_ended_total");
            all.filter_map(|metric| match metric.data.as_ref()? {
                Data::Sum(sum) => {
                    sum.data_points.iter().find(|point| point.value == Some(Number::AsDouble(3.0))).cloned()
                }
                _ => None,
            })
            .find(|point| fact(&point.attributes, "state") == "succeeded")
        })
        .await;
    let Some(Data::Sum(sum)) = find("haulier_runs_ended_total").await.data else { panic!("no sum") };
    assert!(sum.is_monotonic);
    let queue = find("haulier_run_start_seconds").await;
    assert_eq!(queue.unit, "s");
    let Some(Data::Histogram(histogram)) = queue.data else { panic!("no histogram") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>()), (3, 3));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    let Some(Data::Gauge(gauge)) = find("haulier_job_reported").await.data else { panic!("no gauge") };
    assert_eq!(gauge.data_points[0].value, Some(Number::AsDouble(7.0)));
    assert_eq!(fact(&gauge.data_points[0].attributes, "metric"), "rows");
    find("haulier_build_info").await;

    // All that Prometheus reads is here, under the same names.
    let url = format!("{}/metrics", app.client.url());
    let answer = reqwest::Client::new().get(url).bearer_auth(ADMIN).send().await.unwrap().text().await.unwrap();
    let mut names = 0;
    for line in answer.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let named = |metric: &&Metric| metric.name == base;
        collector.until(|inner| inner.metrics.iter().find(named).map(|_| ())).await;
        names += 1;
    }
    assert!(names > 50, "{answer}");
}

#[tokio::test]
async fn a_collector_that_takes_nothing_stands_in_nobodys_way() {
    let collector = Collector::start().await;
    collector.get().refuses = Some(StatusCode::SERVICE_UNAVAILABLE);
    let every = Some(Duration::from_millis(100));
    let mut app = started(TelemetrySettings { metrics_interval: every, ..collector.settings() }).await;
    app.script("a", &["echo-env=TRACEPARENT"]).await;
    app.outcome("a").await;
    collector.until(|inner| (inner.refused > 1).then_some(())).await;
    collector.get().refuses = None;
    collector.span("run a").await;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let telemetry = Some(TelemetrySettings { endpoint: gone, metrics_interval: every, ..collector.settings() });
    app.restart_with(Settings { telemetry, ..Settings::default() }).await;
    assert!(app.outcome("a").await.finished);
    tokio::time::timeout(PATIENCE, app.stop()).await.expect("the service ends");
}
