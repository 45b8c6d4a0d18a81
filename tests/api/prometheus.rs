//! A real Prometheus reads the metrics, and its own tool finds nothing wrong with them and with the rules.

use std::{path::Path, process::Stdio, time::Duration};

use haulier::engines::contract::skipped;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use crate::support::{ADMIN, PATIENCE, TestApp};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/prometheus/rules.yaml");

fn program() -> Option<String> {
    let program = std::env::var("HAULIER_TEST_PROMETHEUS").ok();
    if program.is_none() {
        skipped("prometheus", "HAULIER_TEST_PROMETHEUS names no program: see tests/support/infra");
    }
    program
}

async fn promtool(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    let piped = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = piped.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = process.wait_with_output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}

struct Prometheus {
    _process: Child,
    url: String,
}

impl Prometheus {
    async fn start(program: &str, dir: &Path, target: &str) -> Self {
        // It cannot be asked which free port it took.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{RULES}]\nscrape_configs:\n  \
             - {{job_name: haulier, authorization: {{credentials: {ADMIN}}}, static_configs: [{{targets: ['{target}']}}]}}\n"
        );
        let path = dir.join("prometheus.yml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .kill_on_drop(true);
        Self { _process: command.spawn().unwrap(), url: format!("http://127.0.0.1:{port}/api/v1") }
    }

    /// Waits until the query has a value that is wanted.
    async fn until(&self, query: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let request = reqwest::Client::new().get(format!("{}/query", self.url)).query(&[("query", query)]);
            if let Ok(answer) = request.send().await
                && let Ok(answer) = answer.json::<Value>().await
                && let Some(value) = answer["data"]["result"][0]["value"][1].as_str().and_then(|v| v.parse().ok())
                && wanted(value)
            {
                return value;
            }
            assert!(tokio::time::Instant::now() < deadline, "{query} has no such value");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn prometheus_reads_the_metrics_and_the_rules() {
    let Some(program) = program() else { return };
    let (app, dir) = (TestApp::start().await, tempfile::TempDir::new().unwrap());
    app.client.set_limit("api", 3).await.unwrap();
    app.script("good", &["report={\"metrics\": {\"rows\": 42}}"]).await;
    app.script("bad", &["exit=3"]).await;
    app.outcome("good").await;
    app.outcome("bad").await;
    let prometheus = Prometheus::start(&program, dir.path(), &app.address.to_string()).await;
    prometheus.until("up{job=\"haulier\"}", |up| up == 1.0).await;
    prometheus.until("haulier_runs_ended_total{state=\"failed\"}", |failed| failed == 1.0).await;
    prometheus.until("haulier_job_reported{job_name=\"good\",metric=\"rows\"}", |rows| rows == 42.0).await;
    prometheus.until("haulier_limit_capacity", |capacity| capacity == 3.0).await;
    prometheus.until("process_resident_memory_bytes{job=\"haulier\"}", |bytes| bytes > 1e6).await;
    // Every rule could be evaluated.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = reqwest::get(format!("{}/rules", prometheus.url)).await.unwrap().json::<Value>().await.unwrap();
        let rules = answer["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        if rules.len() >= 8 && rules.iter().all(|rule| rule["health"] == "ok") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{rules:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    if program().is_none() {
        return;
    }
    let app = TestApp::start().await;
    app.script("good", &["report={\"metrics\": {\"rows\": 42}}"]).await;
    app.outcome("good").await;
    let metrics = reqwest::Client::new().get(format!("http://{}/metrics", app.address)).bearer_auth(ADMIN);
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert_eq!(promtool(&["check", "metrics"], &metrics).await, "");
    assert!(promtool(&["check", "rules", RULES], "").await.contains("rules found"));
}
