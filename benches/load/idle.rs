//! What the binary costs that has nothing to do: memory, and the time until it answers.

use std::time::{Duration, Instant};

use crate::{
    binary::Binary,
    table::{Table, median},
};

const STARTS: usize = 7;

/// Starts `haulier serve` some times, with Docker as its engine, and looks at it when it has settled.
pub async fn measure(url: &str, table: &mut Table) {
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let begun = Instant::now();
        let service = Binary::serve(url, "[engines.docker]\nkind = \"docker\"\n").await;
        starts.push(begun.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        memory.push(service.memory());
        service.end().await;
    }
    table.add("start to ready, ms", "<= 100", median(&starts));
    table.add("resident memory, idle, MiB", "<= 25", median(&memory));
}
