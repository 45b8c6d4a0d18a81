//! Signing in with OpenID Connect, with a real issuer over HTTP.

use std::time::Duration;

use axum::http::StatusCode;
use haulier::{
    api::types::ProjectRequest,
    auth::OidcSettings,
    domain::{RunId, RunRequest, Scope},
};
use reqwest::{Client, Method, Url, header, redirect::Policy};
use serde_json::json;

use super::browser::{Browser, Page};
use crate::{
    issuer::Issuer,
    support::{PATIENCE, Settings, TestApp},
};

const ALL: &[Scope] = &[Scope::Read, Scope::Trigger];

/// A service at which people sign in like this.
async fn with_oidc(oidc: OidcSettings) -> TestApp {
    TestApp::start_with(Settings { oidc: Some(oidc), ..Settings::default() }).await
}

/// An issuer, and a service that lets its data team into the default project.
async fn started() -> (Issuer, TestApp) {
    let issuer = Issuer::start().await;
    let app = with_oidc(issuer.settings(&[("data-team", "default", ALL)])).await;
    (issuer, app)
}

/// Goes to the issuer, is let through there, and comes back as far as the address that it sends people to.
async fn away_and_back(browser: &mut Browser, then: &str) -> String {
    let page = browser.get(&format!("/sign-in/oidc?then={then}")).await;
    assert_eq!(page.status, 303, "{}", page.text);
    let issuer = Client::builder().redirect(Policy::none()).build().unwrap();
    let answer = issuer.get(page.location.unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let back = Url::parse(answer.headers()[header::LOCATION].to_str().unwrap()).unwrap();
    format!("{}?{}", back.path(), back.query().unwrap())
}

async fn sign_in(browser: &mut Browser) -> Page {
    let back = away_and_back(browser, "/").await;
    browser.get(&back).await
}

/// Somebody who was let in.
async fn signed_in(app: &TestApp) -> Browser {
    let mut browser = Browser::new(app);
    let page = sign_in(&mut browser).await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/")), "{}", page.text);
    browser
}

/// Somebody who was not: with this status and these words, and without a session.
fn refused(browser: &Browser, page: &Page, status: u16, words: &str) {
    assert_eq!(page.status, status, "{}", page.text);
    assert!(page.text.contains(words), "no {words:?} in {}", page.text);
    assert!(browser.cookie("haulier-session").is_none());
    assert!(browser.cookie("haulier-sign-in").is_none(), "what was begun is over");
}

async fn trigger(browser: &mut Browser, job: &str) -> Result<RunId, u16> {
    let page = browser.submit(&format!("/jobs/{job}/trigger"), &[("key", "once")]).await;
    let run = page.location.as_deref().and_then(|to| to.strip_prefix("/runs/")).and_then(|run| run.parse().ok());
    run.ok_or(page.status)
}

#[tokio::test]
async fn people_sign_in_do_things_by_their_name_and_sign_out() {
    let (_issuer, app) = started().await;
    app.script("a", &[]).await;
    let mut browser = Browser::new(&app);
    let page = browser.page("/sign-in?then=%2Fjobs%2Fa").await;
    assert!(page.text.contains("Sign in with Example &#60;ID&#62;"), "{}", page.text);
    let link = format!("href=\"{}/sign-in/oidc?then=%2Fjobs%2Fa\"", app.client.url());
    assert!(page.text.contains(&link) && page.text.contains("name=\"token\""), "{}", page.text);

    let back = away_and_back(&mut browser, "%2Fjobs%2Fa").await;
    assert!(browser.cookie("haulier-sign-in").is_some());
    let page = browser.get(&back).await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/jobs/a")), "{}", page.text);
    let cookies: Vec<_> = page.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    let session = cookies.iter().find(|line| line.starts_with("haulier-session=")).unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=3600"] {
        assert!(session.contains(part), "{session}");
    }
    assert!(browser.cookie("haulier-sign-in").is_none());

    assert!(browser.page("/jobs/a").await.text.contains("anna@example.com"));
    let run = trigger(&mut browser, "a").await.unwrap();
    assert_eq!(app.end(run).await.created_by, "anna@example.com");
    assert!(browser.page(&format!("/runs/{run}")).await.text.contains("anna@example.com"));
    assert_eq!(browser.get("/tokens").await.status, 403);

    let kept = browser.cookie("haulier-session").unwrap().to_owned();
    let page = browser.submit("/sign-out", &[]).await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/sign-in")));
    let request = browser.request(Method::GET, "/").header("cookie", format!("haulier-session={kept}"));
    assert_eq!(browser.send(request).await.status, 303, "it has ended at the service too");
}

#[tokio::test]
async fn what_opens_the_dashboard_opens_nothing_else() {
    let (_issuer, app) = started().await;
    let mut browser = signed_in(&app).await;
    browser.page("/jobs").await;
    let secret = browser.cookie("haulier-session").unwrap().to_owned();
    let page = browser.send(browser.request(Method::GET, "/api/v1/jobs").bearer_auth(secret)).await;
    assert_eq!(page.status, 401);
}

#[tokio::test]
async fn changes_are_written_down_by_the_persons_name() {
    let issuer = Issuer::start().await;
    let app = with_oidc(issuer.settings(&[("data-team", "default", &[Scope::Admin])])).await;
    let mut browser = signed_in(&app).await;
    assert_eq!(browser.submit("/limits", &[("name", "api"), ("capacity", "2")]).await.status, 303);
    let audit = browser.page("/audit").await;
    assert!(audit.text.contains("anna@example.com") && audit.text.contains("limit.set"), "{}", audit.text);
    // Of a project, and of nothing beyond it.
    assert_eq!(browser.submit("/tokens", &[("name", "x"), ("read", "true")]).await.status, 200);
    let all = browser.page("/notices").await;
    assert!(!all.text.contains("name=\"project\""), "{}", all.text);
}

#[tokio::test]
async fn a_sign_in_is_one_browsers_and_good_for_once() {
    let (issuer, app) = started().await;
    let stale = "begun elsewhere, took too long or has been used";
    // Somebody is sent an address that another browser has earned.
    let mut theirs = Browser::new(&app);
    let back = away_and_back(&mut theirs, "/").await;
    let mut mine = Browser::new(&app);
    let page = mine.get(&back).await;
    refused(&mine, &page, 400, stale);
    away_and_back(&mut mine, "/").await;
    let page = mine.get(&back).await;
    refused(&mine, &page, 400, stale);

    // A state that nobody gave out.
    let mut browser = Browser::new(&app);
    let back = away_and_back(&mut browser, "/").await;
    let forged = back.replace("state=", "state=1");
    let page = browser.get(&forged).await;
    refused(&browser, &page, 400, stale);

    // Used twice: the issuer takes a code once; and if it did not, a request still leads to one session.
    for forgetful in [false, true] {
        issuer.set().forgetful = forgetful;
        let mut browser = Browser::new(&app);
        let back = away_and_back(&mut browser, "/").await;
        let cookie = format!("haulier-sign-in={}", browser.cookie("haulier-sign-in").unwrap());
        assert_eq!(browser.get(&back).await.status, 303);
        browser.page("/").await;
        browser.submit("/sign-out", &[]).await;
        let again = browser.request(Method::GET, &back).header("cookie", &cookie);
        let page = browser.send(again).await;
        refused(&browser, &page, 400, stale);
    }
}

#[tokio::test]
async fn tokens_that_are_not_what_they_should_be_let_nobody_in() {
    let (issuer, app) = started().await;
    signed_in(&app).await;
    let good = issuer.set().claims.clone();
    for (claim, value) in [
        ("nonce", json!("another")),
        ("nonce", json!(null)),
        ("aud", json!("another-client")),
        ("aud", json!(["haulier", "another-client"])),
        ("aud", json!(null)),
        ("iss", json!("https://another.example.com")),
        ("exp", json!(1_500_000_000)),
        ("exp", json!(null)),
        ("sub", json!(null)),
        ("sub", json!("x".repeat(300))),
    ] {
        issuer.set().claims[claim] = value.clone();
        let mut browser = Browser::new(&app);
        let page = sign_in(&mut browser).await;
        let status = page.status;
        assert!([403, 503].contains(&status), "{claim} {value}: {status}");
        refused(&browser, &page, status, "role=\"alert\"");
        issuer.set().claims = good.clone();
    }
    // Signed by another key under the good one's name; not signed; signed with what everybody knows.
    for (key, algorithm) in [((1, "first"), "RS256"), ((0, "first"), "none"), ((0, "first"), "HS256")] {
        (issuer.set().key, issuer.set().algorithm) = (key, algorithm);
        let mut browser = Browser::new(&app);
        let page = sign_in(&mut browser).await;
        refused(&browser, &page, 403, "cannot be trusted");
        (issuer.set().key, issuer.set().algorithm) = ((0, "first"), "RS256");
    }
    signed_in(&app).await;
}

#[tokio::test]
async fn keys_may_be_replaced_at_any_time() {
    let (issuer, app) = started().await;
    signed_in(&app).await;
    signed_in(&app).await;
    assert_eq!(issuer.set().asked_for_keys, 1, "they are remembered");
    issuer.set().key = (1, "second");
    let mut browser = Browser::new(&app);
    let page = sign_in(&mut browser).await;
    refused(&browser, &page, 403, "cannot be trusted");
    assert_eq!(issuer.set().asked_for_keys, 2, "asked again, once");
    issuer.set().published = (1, "second");
    signed_in(&app).await;
    signed_in(&app).await;
    assert_eq!(issuer.set().asked_for_keys, 3);
}

#[tokio::test]
async fn whoever_has_no_grant_is_told_whom_to_ask_and_what() {
    let (issuer, app) = started().await;
    for groups in [json!(["visitors"]), json!([]), json!(null), json!({"data-team": true})] {
        issuer.set().claims["groups"] = groups;
        let mut browser = Browser::new(&app);
        let page = sign_in(&mut browser).await;
        refused(&browser, &page, 403, "knows you as anna@example.com (subject 4711)");
        assert!(page.text.contains("ask whoever runs this service"), "{}", page.text);
    }
}

#[tokio::test]
async fn only_a_mail_address_that_is_somebodys_is_their_name() {
    let (issuer, app) = started().await;
    for (email, verified, name) in [
        (json!("anna@example.com"), json!(true), "anna@example.com"),
        (json!("admin@example.com"), json!(false), "oidc:4711"),
        (json!("admin"), json!(true), "oidc:4711"),
        (json!(null), json!(null), "oidc:4711"),
    ] {
        issuer.set().claims["email"] = email;
        issuer.set().claims["email_verified"] = verified;
        let page = signed_in(&app).await.page("/").await;
        assert!(page.text.contains(&format!("Signed in as</span> {name}<")), "{name}: {}", page.text);
    }
}

#[tokio::test]
async fn without_the_issuer_tokens_still_work_and_the_page_says_so() {
    let issuer = Issuer::start().await;
    issuer.set().trouble = Some((StatusCode::SERVICE_UNAVAILABLE, "{}".to_owned()));
    let app = with_oidc(issuer.settings(&[("data-team", "default", ALL)])).await;
    Browser::admin(&app).await.page("/").await;
    let endless = format!("\"{}\"", "x".repeat(1 << 20));
    for trouble in [(StatusCode::OK, "{}".to_owned()), (StatusCode::OK, endless), (StatusCode::FOUND, String::new())] {
        let mut browser = Browser::new(&app);
        let page = browser.get("/sign-in/oidc?then=%2Fruns").await;
        refused(&browser, &page, 503, "Example &#60;ID&#62; does not answer as it should");
        assert_eq!(page.headers["retry-after"], "10");
        assert_eq!(page.hidden("then"), "/runs");
        issuer.set().trouble = Some(trouble);
    }
    issuer.set().trouble = None;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while Browser::new(&app).get("/sign-in/oidc").await.status != 303 {
        assert!(tokio::time::Instant::now() < deadline, "it is asked again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut browser = Browser::new(&app);
    let back = away_and_back(&mut browser, "/").await;
    issuer.set().trouble = Some((StatusCode::BAD_GATEWAY, "<html>".to_owned()));
    let page = browser.get(&back).await;
    refused(&browser, &page, 503, "does not answer as it should");

    // Nobody is there at all.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = OidcSettings { issuer: gone, ..issuer.settings(&[("data-team", "default", ALL)]) };
    let app = with_oidc(settings).await;
    assert_eq!(Browser::new(&app).get("/sign-in/oidc").await.status, 503);
}

#[tokio::test]
async fn a_client_secret_that_is_wrong_is_no_persons_fault() {
    let issuer = Issuer::start().await;
    let settings = issuer.settings(&[("data-team", "default", ALL)]);
    let app = with_oidc(OidcSettings { client_secret: Some("wrong".into()), ..settings }).await;
    let mut browser = Browser::new(&app);
    let page = sign_in(&mut browser).await;
    refused(&browser, &page, 503, "does not answer as it should");
}

#[tokio::test]
async fn the_issuer_may_say_no() {
    let (issuer, app) = started().await;
    issuer.set().refuses = Some(("access_denied", "not <b>today</b>"));
    let mut browser = Browser::new(&app);
    let page = sign_in(&mut browser).await;
    refused(&browser, &page, 403, "did not sign you in: access_denied not &#60;b&#62;today");
    // Nor does anybody else put words on this page.
    let page = browser.get("/sign-in/oidc/return?error=x&error_description=call+0800&state=1-2").await;
    assert_eq!(page.status, 400);
    assert!(!page.text.contains("0800"), "{}", page.text);
}

#[tokio::test]
async fn grants_of_several_projects_are_worth_what_they_are_worth_in_each() {
    let issuer = Issuer::start().await;
    let grants: &[(&str, &str, &[Scope])] = &[
        ("sales-readers", "sales", &[Scope::Read]),
        ("stock-team", "stock", ALL),
        ("others", "other", &[Scope::Admin]),
        ("dreamers", "not-there", ALL),
    ];
    let app = with_oidc(issuer.settings(grants)).await;
    let mut runs = Vec::new();
    for project in ["sales", "stock", "other"] {
        let name: haulier::domain::Name = project.parse().unwrap();
        app.client.create_project(&ProjectRequest { name: name.clone(), images: Vec::new() }).await.unwrap();
        let there = app.client.in_project(name);
        let spec = serde_json::from_value(json!({"name": format!("{project}-job"), "image": "sim/ok"})).unwrap();
        there.apply_job(&spec).await.unwrap();
        let job = format!("{project}-job");
        runs.push(there.trigger(&job, &RunRequest::default(), None).await.unwrap().run.id);
    }
    issuer.set().claims["groups"] = json!(["sales-readers", "stock-team", "dreamers", "visitors"]);
    let mut browser = signed_in(&app).await;
    let page = browser.page("/jobs").await;
    assert!(page.text.contains("/jobs/sales-job") && !page.text.contains("/jobs/stock-job"), "{}", page.text);
    for (project, listed) in [("sales", true), ("stock", true), ("other", false), ("default", false)] {
        assert_eq!(page.text.contains(&format!("value=\"{project}\"")), listed, "{project}");
    }
    assert_eq!(trigger(&mut browser, "sales-job").await, Err(403));

    // A run is found by its address, in whichever of their projects it is, with their rights there.
    assert!(browser.page(&format!("/runs/{}", runs[1])).await.text.contains("stock-job"));
    assert!(browser.submit(&format!("/runs/{}/retry", runs[1]), &[]).await.status < 400);
    assert_eq!(browser.get(&format!("/runs/{}", runs[2])).await.status, 404);
    assert_eq!(browser.submit(&format!("/runs/{}/retry", runs[0]), &[]).await.status, 403);

    browser.submit("/project", &[("project", "stock")]).await;
    assert!(browser.page("/jobs").await.text.contains("/jobs/stock-job"));
    trigger(&mut browser, "stock-job").await.unwrap();
    // What they were not given, a cookie does not give.
    for project in ["other", "default", "not-there"] {
        browser.submit("/project", &[("project", project)]).await;
        assert!(browser.page("/jobs").await.text.contains("/jobs/sales-job"), "{project}");
    }

    issuer.set().claims["groups"] = json!(["dreamers"]);
    let mut dreamer = signed_in(&app).await;
    let page = dreamer.get("/").await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("ask an admin to make one of not-there"), "{}", page.text);
}

#[tokio::test]
async fn whoever_administers_all_sees_all() {
    let issuer = Issuer::start().await;
    let grants: &[(&str, &str, &[Scope])] = &[("data-team", "*", &[Scope::Admin]), ("data-team", "other", ALL)];
    let app = with_oidc(issuer.settings(grants)).await;
    app.client.create_project(&ProjectRequest { name: "other".parse().unwrap(), images: Vec::new() }).await.unwrap();
    app.script("a", &[]).await;
    let mut browser = signed_in(&app).await;
    assert!(browser.page("/jobs").await.text.contains("/jobs/a"));
    for project in ["other", "default"] {
        assert_eq!(browser.submit("/project", &[("project", project)]).await.status, 303);
        assert!(browser.page("/audit").await.text.contains("value=\"other\""), "{project}");
    }
}

#[tokio::test]
async fn sessions_of_people_end_with_their_time_and_with_the_settings_that_let_them_in() {
    let issuer = Issuer::start().await;
    let settings = issuer.settings(&[("data-team", "default", ALL)]);
    let short = OidcSettings { session: Duration::from_secs(1), ..settings.clone() };
    let mut app = with_oidc(short).await;
    let mut browser = signed_in(&app).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while browser.get("/").await.status != 303 {
        assert!(tokio::time::Instant::now() < deadline, "the session ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    app.restart_with(Settings { oidc: Some(settings.clone()), ..Settings::default() }).await;
    let session = signed_in(&app).await.cookie("haulier-session").unwrap().to_owned();
    let other = issuer.settings(&[("data-team", "default", &[Scope::Read])]);
    for (settings, status) in [(Some(settings.clone()), 200), (Some(other), 303), (None, 303), (Some(settings), 200)] {
        app.restart_with(Settings { oidc: settings, ..Settings::default() }).await;
        let mut browser = Browser::new(&app);
        let request = browser.request(Method::GET, "/").header("cookie", format!("haulier-session={session}"));
        assert_eq!(browser.send(request).await.status, status);
    }
}

#[tokio::test]
async fn over_tls_everything_is_bound_to_it() {
    let (_issuer, app) = started().await;
    let mut browser = Browser::new(&app);
    let request = browser.request(Method::GET, "/sign-in/oidc").header("x-forwarded-proto", "https");
    let page = browser.send(request).await;
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-haulier-sign-in=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Max-Age=600"),
        "{cookie}"
    );
    let to = Url::parse(&page.location.unwrap()).unwrap();
    let redirect = to.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(redirect, format!("https://{}/sign-in/oidc/return", app.address));
}

#[tokio::test]
async fn nobody_is_led_to_another_site() {
    let (_issuer, app) = started().await;
    for then in ["https%3A%2F%2Fevil.example%2F", "%2F%2Fevil.example", "%2F%5Cevil.example"] {
        let mut browser = Browser::new(&app);
        let back = away_and_back(&mut browser, then).await;
        assert_eq!(browser.get(&back).await.location.as_deref(), Some("/"), "{then}");
    }
}

#[tokio::test]
async fn without_settings_there_is_no_such_way_in() {
    let app = TestApp::start().await;
    let mut browser = Browser::new(&app);
    assert!(!browser.page("/sign-in").await.text.contains("Sign in with"));
    for path in ["/sign-in/oidc", "/sign-in/oidc/return?code=x&state=1-2"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
}
