//! What it costs to let many wait: memory, database reads, and the time until they know.

use std::time::Duration;

use haulier::domain::{Clock, SystemClock, Timestamp};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    binary::Binary,
    http::Connection,
    service::TOKEN,
    table::{Table, median, quantile},
};

/// Runs that are waited for, and who waits for each.
const RUNS: usize = 500;
const EACH: usize = 10;
/// How long they wait and nothing happens.
const IDLE: Duration = Duration::from_secs(5);
/// A page of SQLite: reading the database would be whole pages.
const PAGE: f64 = 4096.0;

/// Holds long-polls, looks at what the service does meanwhile, and ends the runs one by one.
pub async fn measure(url: &str, table: &mut Table) {
    let service = Binary::serve(url, "[engines.simulated]\nkind = \"simulated\"\n").await;
    let mut connection = Connection::open(service.address, TOKEN).await;
    let spec = r#"{"name": "held", "image": "sim/ok", "args": ["forever-until-term=0"]}"#;
    connection.json("PUT", "/api/v1/jobs/held", spec).await;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(connection.trigger("held").await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = service.memory();
    let mut polls = JoinSet::new();
    for run in runs.iter().flat_map(|run| std::iter::repeat_n(run, EACH)) {
        let mut connection = Connection::open(service.address, TOKEN).await;
        let request = connection.request("GET", &format!("/api/v1/runs/{run}?wait=55"), "", "");
        polls.spawn(async move {
            let answer: Value = serde_json::from_slice(connection.send(&request).await).expect("JSON");
            let arrived = SystemClock.now();
            assert_eq!(answer["finished"], true, "it was answered before the end");
            let ended = Timestamp::parse(answer["finished_at"].as_str().expect("a time")).expect("a time");
            arrived.since(ended).as_secs_f64() * 1000.0
        });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (read, worked) = (service.bytes_read(), service.processor_time());
    tokio::time::sleep(IDLE).await;
    let pages = (service.bytes_read() - read) / PAGE / IDLE.as_secs_f64();
    let busy = (service.processor_time() - worked).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let held = format!("{} long-polls held", RUNS * EACH);
    table.add(format!("{held}: more memory, MiB"), "< 60", service.memory() - before);
    table.add(format!("{held}: database pages read a second"), "0", pages);
    table.add(format!("{held}: processor, % of a core"), "", busy);
    for run in &runs {
        connection.json("POST", &format!("/api/v1/runs/{run}/cancel"), "{}").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let woken = polls.join_all().await;
    table.add("end of a run to the answer of a long-poll, ms (p50)", "", median(&woken));
    table.add("end of a run to the answer of a long-poll, ms (p99)", "<= 20", quantile(&woken, 0.99));
    service.end().await;
}
