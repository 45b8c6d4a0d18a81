//! What a service costs that does nothing: memory, and the time until it answers.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use haulier::service::Service;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{
    service::parts,
    table::{Table, median},
};

/// The word that makes this program a service.
pub const COMMAND: &str = "serve-for-idle";
const STARTS: usize = 7;

/// A service and nothing else, until it is killed.
pub async fn serve(url: &str) {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let service = Service::start(parts(url, folder.path(), None)).await.expect("the service starts");
    println!("{}", service.address());
    std::future::pending::<()>().await;
}

/// Starts it some times, and looks at it when it has settled.
pub async fn measure(url: &str, table: &mut Table) {
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let program = std::env::current_exe().expect("this program");
        let begun = Instant::now();
        let mut service = Command::new(program)
            .args([COMMAND, url])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program can be started");
        let mut lines = BufReader::new(service.stdout.take().expect("a pipe")).lines();
        let address = lines.next_line().await.expect("it says something").expect("where it listens");
        let address = address.parse().expect("an address");
        let mut connection = crate::http::Connection::open(address, crate::service::TOKEN).await;
        let request = connection.request("GET", "/readyz", "", "");
        connection.send(&request).await;
        starts.push(begun.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        memory.push(resident(service.id().expect("it runs")));
        service.kill().await.expect("it ends");
    }
    table.add("start to ready, ms", "<= 100", median(&starts));
    table.add("resident memory, idle, MiB", "<= 25", median(&memory));
}

/// Resident memory of a process, in MiB.
fn resident(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}
