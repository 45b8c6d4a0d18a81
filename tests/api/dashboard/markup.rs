//! Whatever people and scripts write stays text, and nothing but our own script could run anyway.

use haulier::api::types::StateRequest;
use haulier::domain::RunRequest;
use serde_json::json;

use super::browser::Browser;
use crate::support::TestApp;

const EVIL: &str = r#"<script>alert(1)</script><img src=x onerror=alert(2)>"'`--></textarea><b>"#;

/// Markup that came from data.
fn injected(text: &str) -> bool {
    ["<script>alert", "<img src=x", "</textarea><b>", "-->"].iter().any(|evil| text.contains(evil))
}

#[tokio::test]
async fn whatever_is_written_stays_text() {
    let app = TestApp::start().await;
    let report = format!(
        "report={}",
        json!({"output": {"said": EVIL}, "state": {EVIL: EVIL}, "metrics": {"rows": 1},
        "progress": {"done": 1, "total": 2, "text": EVIL}})
    );
    let (line, error) = (format!("print={EVIL}"), format!("print-err=\u{1b}[31m{EVIL}"));
    app.apply(json!({"name": "a", "image": "sim/ok", "args": [line, error, report], "labels": {"team": EVIL},
        "env": {"WORDS": EVIL}, "config": {"words": EVIL}, "files": {"/words": {"content": EVIL}}}))
        .await;
    let state = json!({EVIL: EVIL}).as_object().unwrap().clone();
    app.client.set_state("a", &StateRequest { state, expected_version: None }).await.unwrap();
    let request: RunRequest = serde_json::from_value(json!({"parameters": {EVIL: EVIL, "text": EVIL, "list": [EVIL]},
            "labels": {"who": EVIL}, "source": {"kind": EVIL}}))
    .unwrap();
    let run = app.client.trigger("a", &request, None).await.unwrap().run.id;
    app.end(run).await;
    let failing = format!("report={}", json!({"error": {"code": "bad", "message": EVIL}}));
    app.script("b", &[&failing, "exit=1"]).await;
    let failed = app.trigger("b").await;
    app.end(failed).await;

    let mut browser = Browser::admin(&app).await;
    let search = "/jobs?q=%3Cscript%3Ealert(1)";
    let filter = "/runs?label=%3Cscript%3Ealert=%22%3E%3Cimg%20src=x";
    let log = format!("/runs/{run}?q=%3Cscript%3Ealert&stream=stderr");
    for (path, shows) in [
        (format!("/runs/{run}"), true),
        (log, true),
        (format!("/runs/{failed}"), true),
        ("/".to_owned(), true),
        ("/runs".to_owned(), true),
        ("/jobs/a".to_owned(), false),
        ("/jobs/a/configuration".to_owned(), true),
        ("/jobs/a/revisions".to_owned(), false),
        ("/jobs/a/state".to_owned(), true),
        ("/jobs/a/trigger".to_owned(), true),
        (search.to_owned(), true),
        (filter.to_owned(), true),
        ("/audit".to_owned(), false),
    ] {
        let page = browser.page(&path).await;
        assert!(!injected(&page.text), "{path}: {}", page.text);
        assert!(!shows || page.text.contains("&#60;script"), "{path} does not show it: {}", page.text);
    }
    // Out of the address, too.
    for path in [
        "/runs/%3Cscript%3Ealert(1)",
        "/jobs/%3Cimg%20src=x",
        "/runs?state=%3Cscript%3Ealert",
        "/limits/%3Cscript%3Ealert",
    ] {
        let page = browser.get(path).await;
        assert!(page.status >= 400 && !injected(&page.text), "{path}: {}", page.text);
    }
    let sign_in = Browser::new(&app).get("/sign-in?then=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(!injected(&sign_in.text));
    let page = browser.submit("/jobs/a/trigger", &[("more", EVIL), ("kind.x", "number"), ("value.x", EVIL)]).await;
    assert!(page.status == 422 && !injected(&page.text), "{}", page.text);

    // A log is downloaded as it was written, and never taken for a page.
    let page = browser.page(&format!("/runs/{run}/log")).await;
    assert!(page.text.contains(EVIL));
    assert_eq!(page.headers["content-type"], "text/plain; charset=utf-8");
    assert!(page.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
}

#[tokio::test]
async fn every_answer_bounds_what_a_page_may_do() {
    let app = TestApp::start().await;
    app.script("a", &["exit=1"]).await;
    let run = app.trigger("a").await;
    app.end(run).await;
    app.client.set_limit("api", 1).await.unwrap();
    let mut browser = Browser::admin(&app).await;
    let run = format!("/runs/{run}");
    for path in [
        "/",
        "/sign-in",
        "/jobs",
        "/jobs/a",
        "/jobs/a/configuration",
        "/jobs/a/revisions",
        "/jobs/a/state",
        "/jobs/a/trigger",
        "/runs",
        &run,
        "/limits",
        "/limits/api",
        "/engines",
        "/tokens",
        "/audit",
        "/jobs/none",
        "/assets/none",
    ] {
        let page = browser.get(path).await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(page.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(page.headers["referrer-policy"], "same-origin", "{path}");
        if path != "/assets/none" {
            assert_eq!(page.headers["cache-control"], "no-store", "{path}");
        }
        for inline in [" style=", "<style", "<script>", " onclick=", "javascript:", "http://", "//cdn"] {
            assert!(!page.text.contains(inline), "{path} has {inline}: {}", page.text);
        }
    }
}
