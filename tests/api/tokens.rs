use haulier::{
    api::types::{ProjectRequest, TokenRequest},
    client::Client,
    domain::Scope,
};
use reqwest::Method;
use serde_json::json;

use crate::support::{ADMIN, TestApp, answer};

pub fn token(name: &str, scopes: &[Scope], jobs: &[&str]) -> TokenRequest {
    TokenRequest {
        name: name.parse().unwrap(),
        scopes: scopes.to_vec(),
        jobs: jobs.iter().map(ToString::to_string).collect(),
        expires_at: None,
        instance: false,
    }
}

async fn with(app: &TestApp, request: TokenRequest) -> Client {
    let secret = app.client.create_token(&request).await.unwrap().secret;
    Client::new(app.client.url(), secret.into(), None).unwrap()
}

async fn status(client: &Client, method: Method, path: &str, body: serde_json::Value) -> u16 {
    answer(client.request(method, path).json(&body).send().await.unwrap()).await.0
}

#[tokio::test]
async fn every_route_wants_a_token() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let nobody = reqwest::Client::new();
    let document = serde_json::to_value(haulier::api::document()).unwrap();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            // What opens this one instead is in the link itself: see await_link.rs.
            let wanted = match path.as_str() {
                "/healthz" | "/readyz" => 200,
                "/api/v1/runs/{run}/await" => 400,
                _ => 401,
            };
            let path = path.replace("{job}", "a").replace("{name}", "a").replace("{number}", "1");
            let path = path.replace("{run}", "01890a5d-ac96-774b-bcce-b302099a8057");
            let path = path.replace("{token}", "01890a5d-ac96-774b-bcce-b302099a8057");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for header in [None, Some("Bearer wrong"), Some("Basic eA=="), Some("nonsense")] {
                let mut request = nobody.request(method.clone(), format!("{}{path}", app.client.url()));
                if let Some(header) = header {
                    request = request.header("authorization", header);
                }
                let status = request.send().await.unwrap().status();
                assert_eq!(status.as_u16(), wanted, "{method} {path}");
                asked += 1;
            }
        }
    }
    assert!(asked > 100, "{asked}");
}

#[tokio::test]
async fn scopes_are_kept() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let reader = with(&app, token("r", &[Scope::Read], &[])).await;
    let trigger = with(&app, token("t", &[Scope::Trigger], &[])).await;
    let writer = with(&app, token("w", &[Scope::Write], &[])).await;
    let admin = with(&app, token("a", &[Scope::Admin], &[])).await;
    let job = json!({"name": "b", "image": "sim/ok"});
    for (client, read, run, write, manage) in [
        (&reader, 200, 403, 403, 403),
        (&trigger, 403, 202, 403, 403),
        (&writer, 200, 202, 201, 403),
        (&admin, 200, 202, 200, 201),
    ] {
        assert_eq!(status(client, Method::GET, "/jobs/a/state", json!({})).await, read);
        assert_eq!(status(client, Method::POST, "/jobs/a/runs", json!({})).await, run);
        assert_eq!(status(client, Method::PUT, "/jobs/b", job.clone()).await, write);
        assert_eq!(status(client, Method::POST, "/tokens", json!({"name": "x", "scopes": ["read"]})).await, manage);
        assert_eq!(status(client, Method::POST, "/projects", json!({"name": "x"})).await, 403);
        assert_eq!(status(client, Method::GET, "/keys", json!({})).await, 403);
        assert_eq!(status(client, Method::POST, "/keys/rotate", json!({})).await, 403);
        assert_eq!(
            status(client, Method::POST, "/tokens", json!({"name": "x", "scopes": ["read"], "instance": true})).await,
            403
        );
    }
}

#[tokio::test]
async fn a_token_for_one_job_knows_no_other() {
    let app = TestApp::start().await;
    app.script("mine", &[]).await;
    app.script("other", &[]).await;
    let foreign = app.outcome("other").await.id;
    let bound = with(&app, token("adf", &[Scope::Trigger, Scope::Write], &["mine"])).await;
    let run = bound.trigger("mine", &Default::default(), None).await.unwrap().run.id;
    assert!(bound.wait(run).await.unwrap().finished);
    for (method, path) in [
        (Method::GET, "/jobs/other".to_owned()),
        (Method::POST, "/jobs/other/runs".to_owned()),
        (Method::GET, format!("/runs/{foreign}")),
        (Method::GET, format!("/runs/{foreign}/logs")),
        (Method::POST, format!("/runs/{foreign}/cancel")),
        (Method::POST, format!("/runs/{foreign}/retry")),
        (Method::GET, "/runs?job=other".to_owned()),
    ] {
        assert_eq!(status(&bound, method, &path, json!({})).await, 404, "{path}");
    }
    assert_eq!(bound.runs(&[]).await.unwrap().items.len(), 1);
    assert_eq!(bound.jobs(false, None).await.unwrap().items.len(), 1);
    assert_eq!(status(&bound, Method::POST, "/jobs", json!({"name": "new", "image": "sim/ok"})).await, 403);
    assert_eq!(status(&bound, Method::PUT, "/limits/x", json!({"capacity": 1})).await, 403);
    assert_eq!(
        bound.cancel_matching(&serde_json::from_value(json!({"all": true})).unwrap()).await.unwrap().cancelled,
        0
    );
}

#[tokio::test]
async fn projects_do_not_see_each_other() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let run = app.outcome("a").await;
    app.client
        .create_project(&ProjectRequest { name: "customer".parse().unwrap(), images: vec!["sim/*".parse().unwrap()] })
        .await
        .unwrap();
    let there = app.client.in_project("customer".parse().unwrap());
    let secret = there.create_token(&token("t", &[Scope::Admin], &[])).await.unwrap().secret;
    let customer = Client::new(app.client.url(), secret.into(), None).unwrap();
    assert_eq!(customer.whoami().await.unwrap().project.as_str(), "customer");
    for path in [
        "/jobs/a".to_owned(),
        format!("/jobs/{}", run.job_id),
        format!("/runs/{}", run.id),
        format!("/runs/{}/logs", run.id),
        format!("/runs/{}/events", run.id),
        "/limits/x".to_owned(),
    ] {
        assert_eq!(status(&customer, Method::GET, &path, json!({})).await, 404, "{path}");
    }
    assert_eq!(status(&customer, Method::POST, &format!("/jobs/{}/runs", run.job_id), json!({})).await, 404);
    assert!(customer.runs(&[]).await.unwrap().items.is_empty());
    assert!(customer.jobs(true, None).await.unwrap().items.is_empty());
    // The same name is free there; images outside its list are not.
    assert_eq!(status(&customer, Method::POST, "/jobs", json!({"name": "a", "image": "sim/ok"})).await, 201);
    assert_eq!(status(&customer, Method::POST, "/jobs", json!({"name": "b", "image": "miner"})).await, 422);
    let elsewhere = customer.in_project("default".parse().unwrap());
    assert_eq!(elsewhere.whoami().await.unwrap_err().status(), Some(403));
    assert_eq!(app.client.projects().await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn tokens_expire_and_are_revoked() {
    let app = TestApp::start().await;
    let soon = haulier::domain::Clock::now(&haulier::domain::SystemClock).plus(std::time::Duration::from_millis(300));
    let short = with(&app, TokenRequest { expires_at: Some(soon), ..token("short", &[Scope::Read], &[]) }).await;
    short.whoami().await.unwrap();
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while short.whoami().await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let made = app.client.create_token(&token("gone", &[Scope::Read], &[])).await.unwrap();
    let client = Client::new(app.client.url(), made.secret.into(), None).unwrap();
    client.whoami().await.unwrap();
    app.client.revoke_token(made.token.id, false).await.unwrap();
    assert_eq!(client.whoami().await.unwrap_err().status(), Some(401));
    let listed = app.client.tokens(false, None).await.unwrap().items;
    assert!(listed.iter().any(|token| token.id == made.token.id && token.revoked_at.is_some()));
    let past = json!({"name": "x", "scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z"});
    assert_eq!(status(&app.client, Method::POST, "/tokens", past).await, 422);
}

#[tokio::test]
async fn basic_takes_the_token_as_password() {
    let app = TestApp::start().await;
    let url = format!("{}/api/v1/whoami", app.client.url());
    let sent = reqwest::Client::new().get(url).basic_auth("anybody", Some(ADMIN)).send().await.unwrap();
    assert_eq!(sent.status(), 200);
}
