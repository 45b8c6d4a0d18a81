//! What the service costs, as figures with ratios to the raw engine in the same run.
//!
//! `cargo bench --bench load` measures everything; words after `--` choose parts: `idle`, `live`, `embedded`, `one`,
//! `many`, `waits`, `triggers`, `reads`, `pages`, and `history` to measure them again with a million finished runs in the
//! database, of which `retention` deletes a part. The service runs in this process, in release mode, except for `idle`, `live` and `waits`, which start the
//! binary. Nothing is asserted: a busy machine gives poor figures, not failures.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

mod binary;
mod docker;
#[cfg(target_os = "linux")]
mod embedded;
mod history;
mod http;
mod idle;
mod live;
mod load;
mod pages;
mod retention;
mod service;
mod table;
mod waits;

use std::{env, time::Instant};

use docker::RawDocker;
use haulier::store::contract::TestDatabase;
use service::Bench;
use table::Table;

const PARTS: [&str; 11] =
    ["idle", "live", "embedded", "one", "many", "waits", "triggers", "reads", "pages", "history", "retention"];
/// How many finished runs make a long history.
const HISTORY: u32 = 1_000_000;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let chosen: Vec<&str> = PARTS.into_iter().filter(|part| words.iter().any(|word| word == part)).collect();
    let chosen = if chosen.is_empty() { PARTS.to_vec() } else { chosen };
    runtime.block_on(measure(&chosen));
}

async fn measure(parts: &[&str]) {
    let docker = RawDocker::connect().await;
    if docker.is_none() {
        println!("one, many: left out, for there is no engine: eval \"$(tests/support/infra)\"");
    }
    let mut table = Table::default();
    table.column("short history");
    if parts.contains(&"live") {
        let database = TestDatabase::sqlite();
        Bench::start(database.url(), None).await.stop().await;
        live::measure(database.url(), &mut table).await;
        database.drop().await;
    }
    let database = TestDatabase::sqlite();
    round(parts, database.url(), docker.as_ref(), &mut table).await;
    if parts.contains(&"triggers")
        && let Some(postgres) = TestDatabase::postgres().await
    {
        let bench = Bench::start(postgres.url(), None).await;
        load::triggers(&bench, &mut table, "on PostgreSQL (that of the tests, without fsync)").await;
        bench.stop().await;
        postgres.drop().await;
    }
    if parts.contains(&"history") {
        let begun = Instant::now();
        history::fill(database.url(), HISTORY).await;
        println!("filled the database with {HISTORY} finished runs in {:.0?}", begun.elapsed());
        table.column("1M runs");
        round(parts, database.url(), docker.as_ref(), &mut table).await;
        if parts.contains(&"retention") {
            retention::measure(database.url(), HISTORY, &mut table).await;
        }
    }
    database.drop().await;
    println!("\n{table}");
}

/// Measures the parts on one database.
async fn round(parts: &[&str], url: &str, docker: Option<&RawDocker>, table: &mut Table) {
    // The schema and the first project, before anybody measures a start.
    Bench::start(url, None).await.stop().await;
    if parts.contains(&"idle") {
        idle::measure(url, table).await;
    }
    if parts.contains(&"waits") {
        waits::measure(url, table).await;
    }
    let bench = Bench::start(url, docker).await;
    #[cfg(target_os = "linux")]
    if parts.contains(&"embedded") {
        embedded::measure(&bench, table).await;
    }
    if let Some(docker) = docker {
        if parts.contains(&"one") {
            docker::one(&bench, docker, table).await;
            docker::added(&bench, docker, table).await;
        }
        if parts.contains(&"many") {
            docker::many(&bench, docker, table).await;
        }
    }
    if parts.contains(&"reads") {
        load::reads(&bench, table).await;
    }
    if parts.contains(&"triggers") {
        load::triggers(&bench, table, "on SQLite, with fsync").await;
    }
    if parts.contains(&"pages") {
        pages::measure(&bench, table).await;
    }
    bench.stop().await;
}
