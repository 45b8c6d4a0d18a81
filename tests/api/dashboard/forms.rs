//! What forms do, and whose forms are taken.

use haulier::domain::{RunState, TokenId};
use reqwest::Method;
use serde_json::json;

use super::browser::{Browser, filled};
use crate::support::TestApp;

#[tokio::test]
async fn only_our_own_forms_are_taken() {
    let app = TestApp::start().await;
    app.script("a", &["forever"]).await;
    let run = app.trigger("a").await;
    app.until(run, RunState::Running).await;
    let mut browser = Browser::admin(&app).await;
    let ours = browser.page("/").await.hidden("csrf");
    let theirs = Browser::admin(&app).await.page("/").await.hidden("csrf");
    assert_ne!(ours, theirs);
    let paths = [
        "/sign-out".to_owned(),
        "/project".to_owned(),
        "/theme".to_owned(),
        "/jobs/a/trigger".to_owned(),
        format!("/runs/{run}/cancel"),
        format!("/runs/{run}/retry"),
        "/limits".to_owned(),
        "/tokens".to_owned(),
        format!("/tokens/{}/revoke", TokenId::generate()),
    ];
    for path in &paths {
        for csrf in ["", theirs.as_str()] {
            assert_eq!(browser.post(path, &[("csrf", csrf)]).await.status, 403, "{path} with {csrf:?}");
        }
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let request = browser.request(Method::POST, path).header(name, value);
            assert_eq!(
                browser.send(filled(request, &[("csrf", &ours)])).await.status,
                403,
                "{path} with {name}: {value}"
            );
        }
        // What changes something is no link.
        if !["/jobs/a/trigger", "/limits", "/tokens"].contains(&path.as_str()) {
            assert_eq!(browser.get(path).await.status, 405, "{path}");
        }
    }
    // Nobody is signed in by another site, either.
    let request = browser.request(Method::POST, "/sign-in").header("origin", "https://evil.example");
    assert_eq!(browser.send(filled(request, &[("token", crate::support::ADMIN)])).await.status, 403);
    assert_eq!(app.client.run(run, 0).await.unwrap().state, RunState::Running);
    let own = app.client.url().to_owned();
    let request =
        browser.request(Method::POST, &paths[4]).header("origin", own).header("sec-fetch-site", "same-origin");
    let page = browser.send(filled(request, &[("csrf", &ours)])).await;
    assert_eq!((page.status, page.location), (303, Some(format!("/runs/{run}"))));
    assert_eq!(app.end(run).await.state, RunState::Cancelled);
}

#[tokio::test]
async fn a_run_is_triggered_once_however_often_the_form_is_sent() {
    let app = TestApp::start().await;
    app.script("a", &["exit=1"]).await;
    let mut browser = Browser::admin(&app).await;
    let form = browser.page("/jobs/a/trigger").await;
    let (csrf, key) = (form.hidden("csrf"), form.hidden("key"));
    let more = r#"{"day": "2026-01-31", "chunk": 5, "full": true, "tables": ["a"]}"#;
    let fields = [("csrf", csrf.as_str()), ("key", &key), ("more", more), ("timeout_seconds", "60"), ("priority", "")];
    let first = browser.post("/jobs/a/trigger", &fields).await;
    assert_eq!(first.status, 303, "{}", first.text);
    assert_eq!(browser.post("/jobs/a/trigger", &fields).await.location, first.location);
    let run = first.location.unwrap().trim_start_matches("/runs/").parse().unwrap();
    let run = app.end(run).await;
    let parameters = serde_json::to_value(&run.parameters).unwrap();
    assert_eq!(parameters, json!({"day": "2026-01-31", "chunk": 5, "full": true, "tables": ["a"]}));
    assert_eq!((run.timeout_seconds, run.source["kind"].as_str()), (60, "dashboard"));

    // The next form has a field for each, which keeps its kind.
    let form = browser.page("/jobs/a/trigger").await;
    let key = form.hidden("key");
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", &key),
        ("more", "{}"),
        ("kind.day", "text"),
        ("value.day", "2026-02-01"),
        ("kind.chunk", "number"),
        ("value.chunk", "7.5"),
        ("kind.full", "switch"),
        ("kind.tables", "json"),
        ("value.tables", r#"["b"]"#),
    ];
    for (name, value) in &fields[3..] {
        assert!(form.text.contains(name), "{name}={value}: {}", form.text);
    }
    let page = browser.post("/jobs/a/trigger", &fields).await;
    let run = page.location.unwrap().trim_start_matches("/runs/").parse().unwrap();
    let run = app.end(run).await;
    let parameters = serde_json::to_value(&run.parameters).unwrap();
    assert_eq!(parameters, json!({"day": "2026-02-01", "chunk": 7.5, "full": false, "tables": ["b"]}));

    let page = browser.submit(&format!("/runs/{}/retry", run.id), &[]).await;
    let again = page.location.unwrap().trim_start_matches("/runs/").parse().unwrap();
    assert_eq!(app.end(again).await.retry_of, Some(run.id));
}

#[tokio::test]
async fn what_is_wrong_with_a_form_is_said_on_it() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let mut browser = Browser::admin(&app).await;
    for (name, value, told) in [
        ("more", "{", "not a JSON object"),
        ("more", "[1]", "not a JSON object"),
        ("timeout_seconds", "0", "/timeout_seconds"),
        ("timeout_seconds", "soon", "not a number"),
        ("priority", "101", "/priority"),
    ] {
        let page = browser.submit("/jobs/a/trigger", &[("key", "k"), (name, value)]).await;
        assert_eq!(page.status, 422, "{name}={value}");
        assert!(page.text.contains("The run was not triggered") && page.text.contains(told), "{}", page.text);
    }
    let fields = [("kind.n", "number"), ("value.n", "five"), ("kind.j", "json"), ("value.j", "{}")];
    let page = browser.submit("/jobs/a/trigger", &fields).await;
    assert!(page.text.contains("/parameters/n: not a number") && page.text.contains("value=\"five\""), "{}", page.text);
    assert!(app.client.runs(&[]).await.unwrap().items.is_empty());
    let page = browser.submit("/tokens", &[("name", "Not A Name"), ("read", "true")]).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("The token was not made"));
}

#[tokio::test]
async fn tokens_and_limits_are_made_and_ended() {
    let app = TestApp::start().await;
    let mut browser = Browser::admin(&app).await;
    let page = browser.submit("/tokens", &[("name", "made-here"), ("read", "true"), ("days", "3")]).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["cache-control"], "no-store");
    let secret = page.text.split("data-copy>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let mut reader = Browser::with(&app, &secret).await;
    reader.page("/jobs").await;
    let tokens = app.client.tokens(false, None).await.unwrap().items;
    let made = tokens.iter().find(|token| *token.name == *"made-here").unwrap();
    assert!(made.expires_at.is_some());
    assert!(!browser.page("/tokens").await.text.contains(&secret));
    assert_eq!(browser.submit(&format!("/tokens/{}/revoke", made.id), &[]).await.status, 303);
    assert_eq!(reader.get("/jobs").await.status, 303);

    assert_eq!(browser.submit("/limits", &[("name", "api"), ("capacity", "2")]).await.status, 303);
    assert_eq!(app.client.limit("api").await.unwrap().capacity, 2);
    let changes = browser.page("/audit").await;
    for action in ["token.create", "token.revoke", "limit.set"] {
        assert!(changes.text.contains(action), "{action}");
    }
}
