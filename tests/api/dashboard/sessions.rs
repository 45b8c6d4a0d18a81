//! Signing in and out, and what a session may see.

use haulier::{
    api::types::ProjectRequest,
    client::Client,
    domain::{Scope, TokenId},
};
use reqwest::Method;
use serde_json::json;

use super::browser::{Browser, filled};
use crate::support::{ADMIN, TestApp};

const PAGES: [&str; 9] = ["/", "/jobs", "/jobs/a", "/runs", "/limits", "/engines", "/tokens", "/audit", "/live"];

#[tokio::test]
async fn nobody_sees_a_page_without_signing_in() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let mut browser = Browser::new(&app);
    for path in PAGES {
        let page = browser.get(path).await;
        assert_eq!(page.status, 303, "{path}");
        let then = path.replace('/', "%2F");
        assert_eq!(page.location, Some(format!("/sign-in?then={then}")), "{path}");
    }
    // A token is no session, and a session is no token.
    let page = browser.send(browser.request(Method::GET, "/jobs").bearer_auth(ADMIN)).await;
    assert_eq!(page.status, 303);
    let signed_in = Browser::admin(&app).await;
    let secret = signed_in.cookie("haulier-session").unwrap().to_owned();
    let page = browser.send(browser.request(Method::GET, "/api/v1/jobs").bearer_auth(secret)).await;
    assert_eq!(page.status, 401);
}

#[tokio::test]
async fn signing_in_and_out() {
    let app = TestApp::start().await;
    let mut browser = Browser::new(&app);
    for token in ["", "wrong", "hlr_0000000000000000000000000000000000000000000"] {
        let page = browser.post("/sign-in", &[("token", token), ("then", "/runs")]).await;
        assert_eq!(page.status, 401, "{token}");
        assert!(page.text.contains("this token does not work"), "{}", page.text);
        assert!(browser.cookie("haulier-session").is_none());
    }
    let page = browser.post("/sign-in", &[("token", ADMIN), ("then", "/runs?state=failed")]).await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/runs?state=failed")));
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(ADMIN), "{cookie}");
    let session = browser.cookie("haulier-session").unwrap().to_owned();
    browser.page("/").await;

    let page = browser.submit("/sign-out", &[]).await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/sign-in")));
    assert!(browser.cookie("haulier-session").is_none());
    // It has ended at the service too, not in the browser alone.
    let request = browser.request(Method::GET, "/").header("cookie", format!("haulier-session={session}"));
    assert_eq!(browser.send(request).await.status, 303);
}

#[tokio::test]
async fn over_tls_the_cookie_is_for_this_host_and_for_tls_alone() {
    let app = TestApp::start().await;
    let mut browser = Browser::new(&app);
    let request = browser.request(Method::POST, "/sign-in").header("x-forwarded-proto", "https");
    let page = browser.send(filled(request, &[("token", ADMIN)])).await;
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-haulier-session=") && cookie.ends_with("; Secure"), "{cookie}");
    let request = browser.request(Method::GET, "/").header("x-forwarded-proto", "https");
    assert_eq!(browser.send(request).await.status, 200);
    assert_eq!(browser.get("/").await.status, 303);
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let app = TestApp::start().await;
    let made = app.client.create_token(&crate::tokens::token("reader", &[Scope::Read], &[])).await.unwrap();
    let mut browser = Browser::with(&app, &made.secret).await;
    browser.page("/").await;
    app.client.revoke_token(made.token.id, false).await.unwrap();
    assert_eq!(browser.get("/").await.status, 303);
}

#[tokio::test]
async fn sessions_outlive_a_restart() {
    let mut app = TestApp::start().await;
    let mut browser = Browser::admin(&app).await;
    let session = browser.cookie("haulier-session").unwrap().to_owned();
    app.restart().await;
    browser = Browser::new(&app);
    let request = browser.request(Method::GET, "/").header("cookie", format!("haulier-session={session}"));
    assert_eq!(browser.send(request).await.status, 200);
}

#[tokio::test]
async fn nobody_is_led_to_another_site() {
    let app = TestApp::start().await;
    for then in ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"] {
        let mut browser = Browser::new(&app);
        let page = browser.post("/sign-in", &[("token", ADMIN), ("then", then)]).await;
        assert_eq!(page.location.as_deref(), Some("/"), "{then}");
    }
}

#[tokio::test]
async fn scopes_bound_what_is_shown_and_done() {
    let app = TestApp::start().await;
    app.script("a", &["forever"]).await;
    app.script("b", &[]).await;
    app.client.set_limit("api", 1).await.unwrap();
    let (mine, other) = (app.trigger("a").await, app.trigger("b").await);
    app.end(other).await;

    let mut reader = Browser::scoped(&app, "reader", &[Scope::Read], &[]).await;
    let page = reader.page(&format!("/runs/{mine}")).await;
    assert!(!page.text.contains(">Cancel<"));
    assert!(!reader.page("/jobs/a").await.text.contains("Trigger a run"));
    assert!(!reader.page("/limits").await.text.contains("Make a limit"));
    assert!(!reader.page("/").await.text.contains("/tokens"));
    for (path, fields) in [
        (format!("/runs/{mine}/cancel"), vec![]),
        (format!("/runs/{other}/retry"), vec![]),
        ("/jobs/a/trigger".to_owned(), vec![]),
        ("/limits".to_owned(), vec![("name", "api"), ("capacity", "9")]),
        ("/tokens".to_owned(), vec![("name", "x"), ("read", "true")]),
        (format!("/tokens/{}/revoke", TokenId::generate()), vec![]),
    ] {
        assert_eq!(reader.submit(&path, &fields).await.status, 403, "{path}");
    }
    for path in ["/tokens", "/audit"] {
        assert_eq!(reader.get(path).await.status, 403, "{path}");
    }

    let mut trigger = Browser::scoped(&app, "trigger", &[Scope::Trigger], &["a"]).await;
    assert!(!trigger.page("/").await.text.contains("href=\"/limits\""));
    for path in ["/limits", "/limits/api", "/jobs/a/configuration", "/jobs/a/revisions", "/jobs/a/state"] {
        assert_eq!(trigger.get(path).await.status, 403, "{path}");
    }
    // Of other jobs, it learns nothing.
    for path in [format!("/runs/{other}"), format!("/runs/{other}/log"), "/jobs/b".to_owned()] {
        assert_eq!(trigger.get(&path).await.status, 404, "{path}");
    }
    let other = other.to_string();
    for path in ["/", "/runs", "/jobs"] {
        let page = trigger.page(path).await;
        assert!(!page.text.contains(&other) && !page.text.contains("/jobs/b"), "{path}");
    }
    assert!(trigger.page("/runs").await.text.contains(&mine.to_string()));
    assert_eq!(trigger.submit(&format!("/runs/{mine}/cancel"), &[]).await.status, 303);
}

#[tokio::test]
async fn projects_are_apart() {
    let app = TestApp::start().await;
    app.script("mine", &["print=secret words"]).await;
    let run = app.trigger("mine").await;
    app.end(run).await;
    app.client.set_limit("mine", 1).await.unwrap();
    let name: haulier::domain::Name = "other".parse().unwrap();
    app.client.create_project(&ProjectRequest { name: name.clone(), images: Vec::new() }).await.unwrap();
    let there = Client::new(app.client.url(), ADMIN.into(), Some(name)).unwrap();
    let admin = crate::tokens::token("stranger", &[Scope::Admin], &[]);
    let mut stranger = Browser::with(&app, &there.create_token(&admin).await.unwrap().secret).await;
    for path in [
        "/jobs/mine",
        "/limits/mine",
        &format!("/runs/{run}"),
        &format!("/runs/{run}/log"),
        &format!("/live?run={run}"),
        &format!("/runs/{run}/log/stream"),
    ] {
        assert_eq!(stranger.get(path).await.status, 404, "{path}");
    }
    for path in [format!("/runs/{run}/cancel"), format!("/runs/{run}/retry"), "/jobs/mine/trigger".to_owned()] {
        assert_eq!(stranger.submit(&path, &[]).await.status, 404, "{path}");
    }
    // A cookie does not open what the token does not.
    stranger.submit("/project", &[("project", "default")]).await;
    for path in ["/", "/jobs", "/runs", "/limits", "/audit", "/tokens"] {
        let page = stranger.page(path).await;
        assert!(!page.text.contains("mine"), "{path}: {}", page.text);
    }

    // Whoever administers all chooses, and finds a run by its address in whichever project it is.
    let mut admin = Browser::admin(&app).await;
    assert!(admin.page("/jobs").await.text.contains("/jobs/mine"));
    assert_eq!(admin.submit("/project", &[("project", "other")]).await.status, 303);
    assert!(!admin.page("/jobs").await.text.contains("/jobs/mine"));
    assert!(admin.page(&format!("/runs/{run}")).await.text.contains("secret words"));
    let spec = serde_json::from_value(json!({"name": "theirs", "image": "sim/ok"})).unwrap();
    there.apply_job(&spec).await.unwrap();
    assert!(admin.page("/jobs").await.text.contains("/jobs/theirs"));
}
