//! What cannot be taken is told clearly, and changes nothing.

use serde_json::json;

use crate::support::{TestApp, pointers};

#[tokio::test]
async fn bodies_that_are_not_what_is_asked_for() {
    let app = TestApp::start().await;
    let big = format!(r#"{{"name": "a", "image": "{}"}}"#, "x".repeat(1 << 20));
    for (body, status, code) in [
        ("{", 400, "malformed"),
        ("", 422, "invalid_fields"),
        ("[]", 422, "invalid_fields"),
        ("\"text\"", 422, "invalid_fields"),
        ("{\"name\": \"a\", \"image\": \"b\"} {}", 400, "malformed"),
        ("\u{0}", 400, "malformed"),
        (big.as_str(), 413, "too_large"),
    ] {
        let (found, problem) = app.raw("POST", "/jobs", body.to_owned()).await;
        assert_eq!(
            (found, problem["code"].as_str()),
            (status, Some(code)),
            "{} {problem}",
            &body[..body.len().min(40)]
        );
    }
    assert!(app.client.jobs(true, None).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn wrong_types_and_unknown_fields_have_pointers() {
    let app = TestApp::start().await;
    for (body, pointer) in [
        (json!({"name": 1, "image": "b"}), "/name"),
        (json!({"name": "a", "image": "b", "resources": {"cpu": "much"}}), "/resources/cpu"),
        (
            json!({"name": "a", "image": "b", "limits": [{"name": "x"}, {"name": "y", "weight": "z"}]}),
            "/limits/1/weight",
        ),
        (json!({"name": "a", "image": "b", "retry": {"on": ["whim"]}}), "/retry/on/0"),
        (json!({"name": "a", "image": "b", "scheduled": {}}), "/scheduled"),
        (json!({"name": "a", "image": "b", "timeout_seconds": -1}), "/timeout_seconds"),
        (json!({"name": "a", "image": "b", "secrets": {"A": {"vaule": "x"}}}), "/secrets/A/vaule"),
        (json!({"name": "a"}), ""),
    ] {
        let (status, problem) = app.raw("POST", "/jobs", body.to_string()).await;
        assert_eq!((status, pointers(&problem)), (422, vec![pointer]), "{body} {problem}");
    }
    app.script("a", &[]).await;
    for (body, pointer) in [
        (json!({"parameters": []}), "/parameters"),
        (json!({"paramters": {}}), "/paramters"),
        (json!({"env": {"A": 1}}), "/env/A"),
        (json!({"env": {"HAULIER_X": "1"}}), "/env/HAULIER_X"),
        (json!({"priority": 1000}), "/priority"),
        (json!({"not_before": "tomorrow"}), "/not_before"),
        (json!({"labels": {"": "x"}}), "/labels/"),
        (json!({"parameters": {"x": "y".repeat(300_000)}}), "/parameters"),
    ] {
        let (status, problem) = app.raw("POST", "/jobs/a/runs", body.to_string()).await;
        assert_eq!((status, pointers(&problem)), (422, vec![pointer]), "{problem}");
    }
    assert!(app.client.runs(&[]).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_secret_in_the_wrong_place_is_not_echoed() {
    let app = TestApp::start().await;
    for secrets in [
        json!({"K": "hunter22"}),
        json!({"K": {"value": ["hunter22"]}}),
        json!(["hunter22"]),
        json!({"K": {"value": 77_001_234}}),
    ] {
        let (status, problem) =
            app.raw("POST", "/jobs", json!({"name": "a", "image": "b", "secrets": secrets}).to_string()).await;
        assert_eq!(status, 422);
        assert!(!problem.to_string().contains("hunter22") && !problem.to_string().contains("77001234"), "{problem}");
    }
    let (_, problem) = app.raw("PUT", "/secrets/k", r#"{"value": 77001234}"#).await;
    assert!(!problem.to_string().contains("77001234"), "{problem}");
}

#[tokio::test]
async fn names_are_names() {
    let app = TestApp::start().await;
    for name in ["", "A", "a/b", "..", "a\0b", "é", "a b", "-a", &"x".repeat(64)] {
        let (status, problem) = app.raw("POST", "/jobs", json!({"name": name, "image": "b"}).to_string()).await;
        assert_eq!((status, pointers(&problem)), (422, vec!["/name"]), "{name:?}");
    }
    for path in [
        "/jobs/a%2Fb",
        "/jobs/%2e%2e",
        "/jobs/%00",
        "/jobs/%C3%A9",
        "/jobs/%FF",
        "/jobs/A",
        "/runs/1",
        "/runs/%00",
        "/runs/..%2f..%2fetc",
        "/limits/%2e%2e",
        "/nothing",
        "/jobs/a/b/c/d",
    ] {
        let (status, problem) = app.get(path).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some("not_found")), "{path}");
    }
    let (status, _) = app.get("/runs/01890a5d-ac96-774b-bcce-b302099a8057").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn methods_types_and_headers() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    assert_eq!(app.raw("DELETE", "/jobs", "").await.0, 405);
    let plain = app.client.request(reqwest::Method::POST, "/jobs").header("content-type", "text/plain").body("{}");
    assert_eq!(crate::support::answer(plain.send().await.unwrap()).await.0, 415);
    for key in ["", &"x".repeat(256), "caf\u{e9}"] {
        let request = app.client.request(reqwest::Method::POST, "/jobs/a/runs").header("idempotency-key", key);
        assert_eq!(crate::support::answer(request.send().await.unwrap()).await.0, 400, "{key:?}");
    }
    let elsewhere = app.client.request(reqwest::Method::GET, "/jobs").header("haulier-project", "../x");
    assert_eq!(crate::support::answer(elsewhere.send().await.unwrap()).await.0, 400);
    let unknown = app.client.request(reqwest::Method::GET, "/jobs").header("haulier-project", "nobody");
    assert_eq!(crate::support::answer(unknown.send().await.unwrap()).await.0, 403);
    assert_eq!(app.get("/jobs?what=1").await.0, 400);
    assert!(app.client.runs(&[]).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn the_description_is_served_without_a_token() {
    let app = TestApp::start().await;
    let get = |path: &'static str| async move { reqwest::get(format!("{}{path}", app.client.url())).await.unwrap() };
    let document: serde_json::Value = get("/openapi.json").await.json().await.unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn the_page_to_browse_it_needs_no_other_host() {
    let app = TestApp::start().await;
    let page = reqwest::get(format!("{}/docs/", app.client.url())).await.unwrap();
    assert_eq!(page.status(), 200);
    let text = page.text().await.unwrap();
    assert!(text.contains("swagger-ui") && !text.contains("https://") && !text.contains("src=\"//"), "{text}");
}
