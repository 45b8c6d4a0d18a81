//! What the binary costs that has nothing to do: memory, and the time until it answers.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    http::Connection,
    service::{TOKEN, key_file},
    table::{Table, median},
};

const STARTS: usize = 7;

/// Starts `haulier serve` some times, with Docker as its engine, and looks at it when it has settled.
pub async fn measure(url: &str, table: &mut Table) {
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let folder = TempDir::new().expect("a temporary folder");
        let begun = Instant::now();
        let mut service = serve(url, &folder);
        let mut lines = BufReader::new(service.stderr.take().expect("a pipe")).lines();
        let address = loop {
            let line = lines.next_line().await.expect("it speaks").expect("it says where it listens");
            if let Some((_, address)) = line.split_once("listening on http://") {
                let address = address.split_whitespace().next().expect("an address");
                break address.parse().expect("an address");
            }
        };
        let mut connection = Connection::open(address, TOKEN).await;
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

fn serve(url: &str, folder: &TempDir) -> Child {
    Command::new(env!("CARGO_BIN_EXE_haulier"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .env("HAULIER_DATABASE_URL", url)
        .env("HAULIER_MASTER_KEY", std::fs::read_to_string(key_file(url)).expect("the key"))
        .env("HAULIER_ADMIN_TOKEN", TOKEN)
        .env("NO_COLOR", "1")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary can be started")
}

/// Resident memory of a process, in MiB.
fn resident(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}
