//! Requests a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    service::{Bench, TOKEN},
    table::{Table, median},
};

const CONNECTIONS: usize = 8;
const LASTS: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

/// Status reads of one run, while it waits and when it has ended.
pub async fn reads(bench: &Bench, table: &mut Table) {
    bench.job("read-ended", json!({"image": "sim/ok"})).await;
    bench.job("read-running", json!({"image": "sim/ok", "args": ["forever"]})).await;
    let mut connection = bench.connection().await;
    let ended = connection.trigger("read-ended").await;
    connection.wait(&ended).await;
    let running = connection.trigger("read-running").await;
    while connection.json("GET", &format!("/api/v1/runs/{running}"), "").await["state"] != "running" {
        tokio::task::yield_now().await;
    }
    for (what, run) in [("an ended", &ended), ("a running", &running)] {
        let path = format!("/api/v1/runs/{run}");
        let rate = rate(bench, "GET", &path, |_| String::new(), "").await;
        let goal = if run == &ended { ">= 35000" } else { "" };
        table.add(format!("status reads of {what} run a second, {CONNECTIONS} connections"), goal, rate);
    }
    connection.json("POST", &format!("/api/v1/runs/{running}/cancel"), "").await;
}

/// Durable triggers of a run that is not to start yet, and of a job that is full.
pub async fn triggers(bench: &Bench, table: &mut Table, place: &str) {
    bench.job("later", json!({"image": "sim/ok"})).await;
    bench.job("full", json!({"image": "sim/ok", "args": ["forever"], "max_parallel": 1})).await;
    let mut connection = bench.connection().await;
    let holder = connection.trigger("full").await;
    let later = r#"{"not_before": "2100-01-01T00:00:00Z"}"#;
    let key = || {
        let key = AtomicU64::new(0);
        move |client: usize| format!("idempotency-key: {client}-{}\r\n", key.fetch_add(1, Ordering::Relaxed))
    };
    let goal = if place.contains("SQLite") { ">= 5000" } else { "" };
    let measured = [
        ("later", later, "for later, by key", goal),
        ("later", later, "for later, without a key", ""),
        ("full", "{}", "of a full job, by key", goal),
    ];
    for (job, body, what, goal) in measured {
        let path = format!("/api/v1/jobs/{job}/runs");
        let rate = match what.contains("by key") {
            true => rate(bench, "POST", &path, key(), body).await,
            false => rate(bench, "POST", &path, |_| String::new(), body).await,
        };
        table.add(format!("triggers a second, {what}, {place}"), goal, rate);
    }
    connection.json("POST", "/api/v1/runs/cancel", r#"{"job": "full", "states": ["queued"]}"#).await;
    connection.json("POST", "/api/v1/runs/cancel", r#"{"job": "later"}"#).await;
    connection.json("POST", &format!("/api/v1/runs/{holder}/cancel"), "").await;
}

/// Requests a second over all connections; the median of some rounds. The clients have a thread of their own.
async fn rate(
    bench: &Bench,
    method: &'static str,
    path: &str,
    header: impl Fn(usize) -> String + Send + Sync + 'static,
    body: &'static str,
) -> f64 {
    let (address, path, header) = (bench.address(), path.to_owned(), Arc::new(header));
    let clients = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let round = async |number: usize| {
            let over = Arc::new(AtomicBool::new(false));
            let mut tasks = tokio::task::JoinSet::new();
            let begun = Instant::now();
            for client in 0..CONNECTIONS {
                let (over, path, header) = (Arc::clone(&over), path.clone(), Arc::clone(&header));
                tasks.spawn(async move {
                    let mut connection = crate::http::Connection::open(address, TOKEN).await;
                    let fixed = connection.request(method, &path, &header(client), body);
                    let varies = !header(client).is_empty();
                    let mut done = 0_u64;
                    while !over.load(Ordering::Relaxed) {
                        if varies {
                            let header = header(number * CONNECTIONS + client);
                            let request = connection.request(method, &path, &header, body);
                            connection.send(&request).await;
                        } else {
                            connection.send(&fixed).await;
                        }
                        done += 1;
                    }
                    done
                });
            }
            tokio::time::sleep(LASTS).await;
            over.store(true, Ordering::Relaxed);
            let done: u64 = tasks.join_all().await.into_iter().sum();
            done as f64 / begun.elapsed().as_secs_f64()
        };
        runtime.block_on(async {
            let mut rates = Vec::new();
            for number in 0..ROUNDS {
                rates.push(round(number).await);
            }
            median(&rates)
        })
    };
    tokio::task::spawn_blocking(clients).await.expect("the clients end")
}
