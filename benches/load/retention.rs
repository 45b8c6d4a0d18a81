//! How long it takes to delete a part of a long history, and what triggers cost meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use haulier::runner::HistoryLimits;
use serde_json::json;

use crate::{
    history::EVERY,
    http::Connection,
    service::{Bench, TOKEN},
    table::{Table, quantile},
};

/// How many runs are deleted, the oldest.
const OLD: u32 = 100_000;
/// How often somebody triggers a run.
const TRIGGER_EVERY: Duration = Duration::from_millis(5);
/// For how long it is measured what triggers cost when nothing is deleted.
const QUIET: Duration = Duration::from_secs(10);

/// On a database that has been filled with so many finished runs. Their logs are no files: deleting them finds none.
pub async fn measure(url: &str, runs: u32, table: &mut Table) {
    let bench = Bench::start(url, None).await;
    bench.job("beside", json!({"image": "sim/ok"})).await;
    let quiet = Triggers::start(&bench);
    tokio::time::sleep(QUIET).await;
    quiet.end(table, "when nothing is deleted").await;
    bench.stop().await;

    let history = HistoryLimits { runs: Some(EVERY * (runs - OLD)), ..HistoryLimits::default() };
    let begun = Instant::now();
    let bench = Bench::start_keeping(url, None, history).await;
    let meanwhile = Triggers::start(&bench);
    let mut connection = bench.connection().await;
    let scrape = connection.request("GET", "/metrics", "", "");
    while deleted(connection.send(&scrape).await) < f64::from(OLD) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    table.add(format!("deleting {OLD} old runs, seconds"), "", begun.elapsed().as_secs_f64());
    meanwhile.end(table, "meanwhile").await;
    bench.stop().await;
}

fn deleted(metrics: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(metrics);
    let line = text.lines().find_map(|line| line.strip_prefix("haulier_runs_deleted_total "));
    line.expect("the metric").trim().parse().expect("a number")
}

/// One client with a thread of its own, which triggers a run that is not to start yet, again and again.
struct Triggers {
    over: Arc<AtomicBool>,
    client: tokio::task::JoinHandle<Vec<f64>>,
}

impl Triggers {
    fn start(bench: &Bench) -> Self {
        let (over, address) = (Arc::new(AtomicBool::new(false)), bench.address());
        let until = Arc::clone(&over);
        let client = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut connection = Connection::open(address, TOKEN).await;
                let body = r#"{"not_before": "2100-01-01T00:00:00Z"}"#;
                let mut ticks = tokio::time::interval(TRIGGER_EVERY);
                let mut took = Vec::new();
                while !until.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let key = format!("idempotency-key: {}\r\n", uuid::Uuid::now_v7());
                    let request = connection.request("POST", "/api/v1/jobs/beside/runs", &key, body);
                    let begun = Instant::now();
                    connection.send(&request).await;
                    took.push(begun.elapsed().as_secs_f64() * 1000.0);
                }
                took
            })
        });
        Self { over, client }
    }

    async fn end(self, table: &mut Table, when: &str) {
        self.over.store(true, Ordering::Relaxed);
        let took = self.client.await.expect("the client ends");
        table.add(format!("a trigger by key, p50 in ms, {when}"), "", quantile(&took, 0.5));
        table.add(format!("a trigger by key, p99 in ms, {when}"), "", quantile(&took, 0.99));
    }
}
