use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::post,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use haulier::domain::{Callback, CallbackState, RunId};
use ring::hmac;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use crate::support::{PATIENCE, TestApp, pointers};

/// How a receiver answers once.
#[derive(Clone, Copy)]
pub enum Answer {
    Ok,
    Broken,
    Gone,
    Redirect,
    Never,
}

/// Somebody who is called back: answers as told, then well; remembers what it was sent.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<VecDeque<Answer>>>,
    calls: watch::Receiver<Vec<(HeaderMap, Bytes)>>,
}

type Shared = (Arc<Mutex<VecDeque<Answer>>>, Arc<watch::Sender<Vec<(HeaderMap, Bytes)>>>);

async fn receive(State((answers, calls)): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = answers.lock().unwrap().pop_front().unwrap_or(Answer::Ok);
    calls.send_modify(|calls| calls.push((headers, body)));
    match answer {
        Answer::Ok => StatusCode::NO_CONTENT.into_response(),
        Answer::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Answer::Gone => StatusCode::GONE.into_response(),
        Answer::Redirect => Redirect::temporary("/elsewhere").into_response(),
        Answer::Never => std::future::pending().await,
    }
}

impl Receiver {
    pub async fn start(answers: &[Answer]) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").await.unwrap(), answers)
    }

    fn at(listener: TcpListener, answers: &[Answer]) -> Self {
        let (sender, calls) = watch::channel(Vec::new());
        let state = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<_>>()));
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(post(receive)).with_state((Arc::clone(&state), Arc::new(sender)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state, calls }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?token=in-the-address", self.address)
    }

    /// Waits for this many calls; all of them.
    pub async fn calls(&mut self, number: usize) -> Vec<(HeaderMap, Bytes)> {
        let arrived = self.calls.wait_for(|calls| calls.len() >= number);
        tokio::time::timeout(PATIENCE, arrived).await.expect("it is called").unwrap().clone()
    }
}

async fn trigger(app: &TestApp, job: &str, body: Value) -> RunId {
    let (status, run) = app.raw("POST", &format!("/jobs/{job}/runs"), body.to_string()).await;
    assert_eq!(status, 202, "{run}");
    run["id"].as_str().unwrap().parse().unwrap()
}

async fn callback(app: &TestApp, run: RunId) -> Callback {
    let (status, body) = app.get(&format!("/runs/{run}/callback")).await;
    assert_eq!(status, 200, "{body}");
    assert!(!body.to_string().contains("in-the-address"));
    serde_json::from_value(body).unwrap()
}

async fn until(app: &TestApp, run: RunId, what: &str, wanted: impl Fn(&Callback) -> bool) -> Callback {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let seen = callback(app, run).await;
        if wanted(&seen) {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "not {what}: {seen:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_signed_callback_tells_the_end() {
    let app = TestApp::start().await;
    app.script("a", &["gate", "report={\"output\": {\"rows\": 7}}"]).await;
    let mut receiver = Receiver::start(&[]).await;
    let body = json!({"callback_url": receiver.url(), "source": {"kind": "test"}});
    let sent = app.client.request(reqwest::Method::POST, "/jobs/a/runs").json(&body).send().await.unwrap();
    assert!(!sent.headers().contains_key("location"), "who is called back must not poll as well");
    let run = sent.json::<Value>().await.unwrap()["id"].as_str().unwrap().parse().unwrap();
    let waiting = callback(&app, run).await;
    assert_eq!((waiting.state, waiting.tries), (CallbackState::Waiting, 0));
    assert_eq!(waiting.target, format!("http://{}", receiver.address));
    app.engine.open_gates();
    let (headers, body) = receiver.calls(1).await.remove(0);
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told["type"], "run.finished");
    let data = &told["data"];
    assert_eq!((&data["id"], &data["state"], &data["output"]), (&json!(run), &json!("succeeded"), &json!({"rows": 7})));
    assert_eq!(data["error"], Value::Null);
    // Checked as a receiver would, with the project's secret.
    let (_, secret) = app.get("/webhook-secret").await;
    let secret = secret["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap().to_owned();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(secret).unwrap());
    let header = |name: &str| headers[name].to_str().unwrap();
    let text = [header("webhook-id").as_bytes(), header("webhook-timestamp").as_bytes(), &body].join(&b'.');
    let tag = BASE64_STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&key, &text, &tag).expect("the signature is right");
    let delivered = until(&app, run, "delivered", |it| it.state == CallbackState::Delivered).await;
    assert_eq!((delivered.tries, delivered.last_status, delivered.last_error), (1, Some(204), None));
    assert_eq!(delivered.delivery_id.to_string(), header("webhook-id"));
}

#[tokio::test]
async fn data_factory_gets_what_its_webhook_activity_reads() {
    let app = TestApp::start().await;
    app.script("good", &["report={\"output\": {\"rows\": 7}}"]).await;
    app.script("bad", &["exit=3"]).await;
    app.apply(json!({"name": "slow", "image": "sim/ok", "args": ["forever-until-term=0"]})).await;
    let told = async |job: &str, cancel: bool| {
        let mut receiver = Receiver::start(&[]).await;
        let run = trigger(&app, job, json!({"callBackUri": receiver.url()})).await;
        if cancel {
            app.client.cancel(run).await.unwrap();
        }
        let (headers, body) = receiver.calls(1).await.remove(0);
        assert_eq!(headers["content-type"], "application/json");
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let good = told("good", false).await;
    assert_eq!((&good["StatusCode"], &good["Output"]["output"]["rows"]), (&json!("200"), &json!(7)));
    assert_eq!(good.get("Error"), None);
    let bad = told("bad", false).await;
    assert_eq!((&bad["StatusCode"], &bad["Error"]["ErrorCode"]), (&json!("500"), &json!("exit_code")));
    assert!(bad["Error"]["Message"].as_str().unwrap().contains('3'), "{bad}");
    let cancelled = told("slow", true).await;
    assert_eq!((&cancelled["StatusCode"], &cancelled["Error"]["ErrorCode"]), (&json!("500"), &json!("cancelled")));
}

#[tokio::test]
async fn receivers_in_trouble_are_tried_again() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let mut receiver = Receiver::start(&[Answer::Broken, Answer::Redirect]).await;
    let run = trigger(&app, "a", json!({"callback_url": receiver.url()})).await;
    let calls = receiver.calls(3).await;
    let done = until(&app, run, "delivered", |it| it.state == CallbackState::Delivered).await;
    assert_eq!((done.tries, calls.len()), (3, 3), "the redirect was not followed");
    let ids: std::collections::HashSet<_> = calls.iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), 1, "one delivery keeps its id");
    // Who says that it is gone is left alone.
    let receiver = Receiver::start(&[Answer::Gone]).await;
    let run = trigger(&app, "a", json!({"callback_url": receiver.url()})).await;
    let done = until(&app, run, "given up", |it| it.state == CallbackState::GivenUp).await;
    assert_eq!((done.tries, done.last_status), (1, Some(410)));
    assert!(receiver.state.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_receiver_that_is_down_for_a_while_is_told() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let run = trigger(&app, "a", json!({"callback_url": format!("http://{address}/x")})).await;
    let failing = until(&app, run, "tried", |it| it.tries > 0 && it.last_error.is_some()).await;
    assert_eq!((failing.state, failing.last_status), (CallbackState::Due, None));
    assert!(failing.next_try_at.is_some());
    let mut receiver = Receiver::at(TcpListener::bind(address).await.unwrap(), &[]);
    receiver.calls(1).await;
    until(&app, run, "delivered", |it| it.state == CallbackState::Delivered).await;
}

/// A slow receiver holds up nobody else, and the service can end.
#[tokio::test]
async fn a_slow_receiver_holds_up_nobody() {
    let mut app = TestApp::start().await;
    app.script("a", &[]).await;
    let (mut slow, mut quick) = (Receiver::start(&[Answer::Never]).await, Receiver::start(&[]).await);
    trigger(&app, "a", json!({"callback_url": slow.url()})).await;
    slow.calls(1).await;
    trigger(&app, "a", json!({"callback_url": quick.url()})).await;
    quick.calls(1).await;
    tokio::time::timeout(PATIENCE, app.stop()).await.expect("the service ends");
}

/// A service that ended before it could deliver leaves that to the next one.
#[tokio::test]
async fn a_restart_loses_no_callback() {
    let mut app = TestApp::start().await;
    app.script("a", &["sleep=100ms"]).await;
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let run = trigger(&app, "a", json!({"callBackUri": format!("http://{address}/x")})).await;
    app.end(run).await;
    app.stop().await;
    let mut receiver = Receiver::at(TcpListener::bind(address).await.unwrap(), &[]);
    app.restart().await;
    receiver.calls(1).await;
    until(&app, run, "delivered", |it| it.state == CallbackState::Delivered).await;
}

/// A request that is repeated names the receiver that waits now.
#[tokio::test]
async fn the_last_one_who_asks_is_told() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let (mut first, mut second) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let ask = async |receiver: &Receiver| {
        let body = json!({"callBackUri": receiver.url()});
        let request = app.client.request(reqwest::Method::POST, "/jobs/a/runs").header("idempotency-key", "k");
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        answer.json::<Value>().await.unwrap()["id"].clone()
    };
    let run = ask(&first).await;
    first.calls(1).await;
    assert_eq!(ask(&second).await, run);
    second.calls(1).await;
}

#[tokio::test]
async fn addresses_inside_are_refused() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    for (field, inside) in [
        ("callback_url", "http://127.0.0.2/x"),
        ("callback_url", "http://169.254.169.254/latest/meta-data/"),
        ("callBackUri", "http://[::1]:80/"),
        ("callBackUri", "http://10.0.0.1/"),
        ("callback_url", "file:///etc/passwd"),
        ("callback_url", "https://user:in-the-address@example.com/"),
    ] {
        let (status, problem) = app.raw("POST", "/jobs/a/runs", json!({field: inside}).to_string()).await;
        assert_eq!((status, pointers(&problem)), (422, vec![format!("/{field}").as_str()]), "{inside}");
        assert!(!problem.to_string().contains("in-the-address"));
    }
    let both = json!({"callback_url": "https://example.com/", "callBackUri": "https://example.com/"});
    let (status, problem) = app.raw("POST", "/jobs/a/runs", both.to_string()).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/callback_url"]));
    assert_eq!(app.client.runs(&[]).await.unwrap().items, Vec::new(), "nothing was stored");
    // A name is judged when it is called, by its addresses then.
    let run = trigger(&app, "a", json!({"callback_url": "http://ip6-localhost.localhost:1/x"})).await;
    let tried = until(&app, run, "tried", |it| it.last_error.is_some()).await;
    assert_ne!(tried.state, CallbackState::Delivered);
}

#[tokio::test]
async fn a_run_without_a_callback_has_none() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let run = app.trigger("a").await;
    assert_eq!(app.get(&format!("/runs/{run}/callback")).await.0, 404);
}
