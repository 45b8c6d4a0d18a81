//! What it costs to watch many runs that just run.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{binary::Binary, http::Connection, service::TOKEN, table::Table};

const RUNS: usize = 10_000;
const CLIENTS: usize = 8;
/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(20);

/// Starts many runs on the simulated engine that do not end, and looks at what the service does meanwhile.
pub async fn measure(url: &str, table: &mut Table) {
    let service = Binary::serve(url, "[engines.simulated]\nkind = \"simulated\"\n").await;
    let mut connection = Connection::open(service.address, TOKEN).await;
    let spec = r#"{"name": "live", "image": "sim/ok", "args": ["forever-until-term=0"]}"#;
    connection.json("PUT", "/api/v1/jobs/live", spec).await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut connection = Connection::open(service.address, TOKEN).await;
        clients.spawn(async move {
            for _ in 0..RUNS / CLIENTS {
                connection.trigger("live").await;
            }
        });
    }
    clients.join_all().await;
    while connection.json("GET", "/api/v1/engines", "").await["items"][0]["workloads"] != RUNS {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let worked = service.processor_time();
    tokio::time::sleep(WATCHED).await;
    let busy = (service.processor_time() - worked).as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    table.add(format!("{RUNS} live runs: resident memory, MiB"), "< 100", service.memory());
    table.add(format!("{RUNS} live runs: processor, % of a core"), "< 5", busy);
    connection.json("POST", "/api/v1/runs/cancel", r#"{"job": "live"}"#).await;
    service.end().await;
}
