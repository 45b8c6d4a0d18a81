//! A light HTTP/1.1 client: one connection that is kept, one request at a time.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    address: SocketAddr,
    token: &'static str,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr, token: &'static str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the service listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, buffer: Vec::with_capacity(16 * 1024), address, token }
    }

    /// A request, ready to be sent any number of times.
    pub fn request(&self, method: &str, path: &str, header: &str, body: &str) -> Vec<u8> {
        let (address, token, length) = (self.address, self.token, body.len());
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n{header}\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// Sends a request; the answer's body. Anything but success is an end of the benchmark.
    pub async fn send(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).await.expect("the service reads");
        self.buffer.clear();
        let (head, length) = loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("the service answers");
            assert!(read > 0, "the service has closed the connection");
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break (end + 4, content_length(&self.buffer[..end]));
            }
        };
        while self.buffer.len() < head + length {
            self.stream.read_buf(&mut self.buffer).await.expect("the rest of the answer");
        }
        assert!(self.buffer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&self.buffer));
        &self.buffer[head..]
    }

    /// Sends a request; the answer as JSON.
    pub async fn json(&mut self, method: &str, path: &str, body: &str) -> Value {
        let request = self.request(method, path, "", body);
        serde_json::from_slice(self.send(&request).await).expect("the answer is JSON")
    }

    /// Triggers a run; its id.
    pub async fn trigger(&mut self, job: &str) -> String {
        let run = self.json("POST", &format!("/api/v1/jobs/{job}/runs"), "{}").await;
        run["id"].as_str().expect("an id").to_owned()
    }

    /// Waits for the run's end, which must be a good one.
    pub async fn wait(&mut self, run: &str) {
        loop {
            let seen = self.json("GET", &format!("/api/v1/runs/{run}?wait=55"), "").await;
            if seen["finished"] == true {
                assert_eq!(seen["state"], "succeeded", "{seen}");
                return;
            }
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length:")).expect("a length");
    line.trim().parse().expect("a number")
}
