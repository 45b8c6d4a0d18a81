use std::process::Stdio;

use haulier::engines::contract::skipped;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::support::{PATIENCE, TestApp};

/// A real mail server; it ends with its standard input.
struct MailServer {
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u64,
    certificate: String,
}

impl MailServer {
    async fn start() -> Option<Self> {
        let Ok(python) = std::env::var("HAULIER_TEST_MAIL") else {
            skipped("mail", "HAULIER_TEST_MAIL names no Python with aiosmtpd: see tests/support/infra");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mail-server");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("the mail server starts");
        let first: Value = serde_json::from_str(&first).unwrap();
        let certificate = first["certificate"].as_str().unwrap().to_owned();
        Some(Self { _process: process, lines, port: first["port"].as_u64().unwrap(), certificate })
    }

    async fn mail(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("a mail comes").unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn channel(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut body = json!({"password": "mail-password", "spec": {"kind": "email", "email": {
            "host": "localhost", "port": self.port, "username": "haulier", "ca_certificate": self.certificate,
            "from": "Haulier <haulier@example.com>", "to": ["ops@example.com", "Anna <anna@example.com>"],
        }}});
        change(&mut body);
        body
    }
}

#[tokio::test]
async fn notices_come_by_mail_over_starttls() {
    let Some(mut server) = MailServer::start().await else { return };
    let app = TestApp::start().await;
    let (status, answer) = app.raw("PUT", "/channels/mail", server.channel(|_| {}).to_string()).await;
    assert_eq!(status, 200, "{answer}");
    assert!(!answer.to_string().contains("mail-password"), "{answer}");
    app.client.test_channel("mail").await.unwrap();
    let mail = server.mail().await;
    assert_eq!(
        (&mail["from"], &mail["tls"], &mail["user"]),
        (&json!("haulier@example.com"), &json!(true), &json!("haulier"))
    );
    assert_eq!(mail["to"], json!(["ops@example.com", "anna@example.com"]));
    app.script("load-orders", &["exit=3"]).await;
    app.outcome("load-orders").await;
    let mail = server.mail().await;
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("Subject: load-orders: failed (default)") && text.contains("exit_code"), "{text}");
}

#[tokio::test]
async fn mail_is_not_sent_where_it_could_be_read_or_refused() {
    let Some(server) = MailServer::start().await else { return };
    let app = TestApp::start().await;
    let refused = async |change: fn(&mut Value)| {
        let body = server.channel(change).to_string();
        let (status, answer) = app.raw("PUT", "/channels/mail", body).await;
        assert_eq!(status, 200, "{answer}");
        let (status, problem) = app.raw("POST", "/channels/mail/test", "").await;
        assert_eq!(status, 502, "{problem}");
        assert!(!problem.to_string().contains("mail-password"), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    };
    let untrusted = refused(|body| body["spec"]["email"]["ca_certificate"] = Value::Null).await;
    assert!(untrusted.contains("certificate") || untrusted.contains("issuer"), "{untrusted}");
    let wrong = refused(|body| body["password"] = json!("wrong")).await;
    assert!(wrong.contains("535"), "{wrong}");
    let open = refused(|body| {
        body["spec"]["email"]["tls"] = json!("none");
        body["spec"]["email"]["username"] = Value::Null;
        body["password"] = Value::Null;
    })
    .await;
    assert!(open.contains("530") || open.contains("TLS"), "{open}");
    let inside = refused(|body| body["spec"]["email"]["host"] = json!("127.0.0.2")).await;
    assert!(inside.contains("not a public address"), "{inside}");
}
