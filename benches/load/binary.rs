//! The service as a process of its own, with what it costs the machine.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    http::Connection,
    service::{TOKEN, key_file},
};

/// `haulier serve`, started from the binary that belongs to this benchmark.
#[derive(Debug)]
pub struct Binary {
    /// Where it listens.
    pub address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Binary {
    /// Starts it on this database with this configuration file; returns when it answers.
    pub async fn serve(url: &str, config: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("haulier.toml");
        std::fs::write(&file, config).expect("a file");
        let mut process = Command::new(env!("CARGO_BIN_EXE_haulier"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .env("HAULIER_CONFIG", file)
            .env("HAULIER_DATABASE_URL", url)
            .env("HAULIER_MASTER_KEY", std::fs::read_to_string(key_file(url)).expect("the key"))
            .env("HAULIER_ADMIN_TOKEN", TOKEN)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary can be started");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let address = loop {
            let line = lines.next_line().await.expect("it speaks").expect("it says where it listens");
            if let Some((_, address)) = line.split_once("listening on http://") {
                let address = address.split_whitespace().next().expect("an address");
                break address.parse().expect("an address");
            }
        };
        // Else it would wait for somebody to read its log.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut connection = Connection::open(address, TOKEN).await;
        let request = connection.request("GET", "/readyz", "", "");
        connection.send(&request).await;
        Self { address, process, _folder: folder }
    }

    /// Resident memory, in MiB.
    pub fn memory(&self) -> f64 {
        let line = self.told("status", "VmRSS:");
        line.trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
    }

    /// Bytes that it has read so far, from wherever.
    pub fn bytes_read(&self) -> f64 {
        self.told("io", "rchar:").parse().expect("a number")
    }

    /// Processor time that it has used so far.
    pub fn processor_time(&self) -> Duration {
        let stat = self.file("stat");
        let fields: Vec<_> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        // Linux tells it in hundredths of a second.
        Duration::from_millis(ticks * 10)
    }

    fn told(&self, file: &str, name: &str) -> String {
        let text = self.file(file);
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
        line.trim().to_owned()
    }

    fn file(&self, name: &str) -> String {
        let process = self.process.id().expect("it runs");
        std::fs::read_to_string(format!("/proc/{process}/{name}")).expect("a Linux")
    }

    /// Ends it.
    pub async fn end(mut self) {
        self.process.kill().await.expect("it ends");
    }
}
