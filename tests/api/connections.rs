//! An answer arrives, and what it says of its connection is true, also when nobody has read the request's body.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::support::{ADMIN, PATIENCE, TestApp};

/// A client of bytes.
struct Wire(TcpStream);

impl Wire {
    async fn to(app: &TestApp) -> Self {
        Self(TcpStream::connect(app.address).await.unwrap())
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The head of a request to trigger, whose body is still to come.
    async fn ask(&mut self, token: &str, length: usize, more: &str) {
        self.send(format!(
            "POST /api/v1/jobs/j/runs HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
        ))
        .await;
    }

    /// The head and the body of the next answer.
    async fn answer(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.0.read_u8()).await.expect("an answer").expect("not an end"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        timeout(PATIENCE, self.0.read_exact(&mut body)).await.expect("a body").unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    async fn ended(&mut self) -> bool {
        timeout(PATIENCE, self.0.read_u8()).await.expect("an end").is_err()
    }
}

#[tokio::test]
async fn a_refused_request_leaves_its_connection_as_it_was() {
    let app = TestApp::start().await;
    app.script("j", &["exit:0"]).await;
    let mut wire = Wire::to(&app).await;
    for (token, status) in [("wrong", 401), ("wrong", 401), (ADMIN, 202)] {
        wire.ask(token, 2, "").await;
        // Long enough for an answer that did not wait for the body.
        sleep(Duration::from_millis(100)).await;
        wire.send("{}").await;
        let (head, body) = wire.answer().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}{body}");
        assert!(!head.contains("connection: close"), "{head}");
    }
}

#[tokio::test]
async fn a_body_that_is_refused_for_its_size_does_not_cost_the_answer() {
    let app = TestApp::start().await;
    let mut wire = Wire::to(&app).await;
    for token in ["wrong", ADMIN] {
        wire.ask(token, 3 << 20, "").await;
        wire.send("x".repeat(3 << 20)).await;
        let (head, body) = wire.answer().await;
        assert!(body.contains(if token == ADMIN { "too_large" } else { "unauthorized" }), "{head}{body}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_is_said_to_end() {
    let app = TestApp::start().await;
    for (length, more) in [(1 << 30, ""), (2, "expect: 100-continue\r\n")] {
        let mut wire = Wire::to(&app).await;
        wire.ask("wrong", length, more).await;
        let (head, body) = wire.answer().await;
        assert!(head.starts_with("http/1.1 401") && head.contains("connection: close"), "{head}{body}");
        assert!(wire.ended().await);
    }
}

#[tokio::test]
async fn a_body_that_is_asked_for_is_read() {
    let app = TestApp::start().await;
    app.script("j", &["exit:0"]).await;
    let mut wire = Wire::to(&app).await;
    wire.ask(ADMIN, 2, "expect: 100-continue\r\n").await;
    let mut go = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    timeout(PATIENCE, wire.0.read_exact(&mut go)).await.expect("to be asked").unwrap();
    assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
    wire.send("{}").await;
    let (head, body) = wire.answer().await;
    assert!(head.starts_with("http/1.1 202"), "{head}{body}");
}
