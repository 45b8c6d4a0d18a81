//! What pages show.

use haulier::domain::{RunRequest, RunState};
use reqwest::{Method, header};
use serde_json::json;

use super::browser::Browser;
use crate::support::TestApp;

/// What a first visit may cost, with everything that belongs to it.
const LARGEST: usize = 60 * 1024;

#[tokio::test]
async fn pages_are_small_however_much_there_is() {
    let app = TestApp::start().await;
    for number in 0..30 {
        app.script(&format!("job-with-a-rather-long-name-{number}"), &["exit=1"]).await;
    }
    let text = "a line of a log, of the usual length, with some words in it ".repeat(2);
    let line = format!("write={}", format!("{text}\n").repeat(10));
    app.script("talkative", &[line.as_str(); 100]).await;
    for number in 0..30 {
        let job = format!("job-with-a-rather-long-name-{number}");
        for _ in 0..3 {
            app.trigger(&job).await;
        }
    }
    let run = app.outcome("talkative").await.id;
    for number in 0..30 {
        for run in app.client.runs(&[("job", format!("job-with-a-rather-long-name-{number}"))]).await.unwrap().items {
            app.end(run.id).await;
        }
    }
    let mut browser = Browser::admin(&app).await;
    let first = browser.page("/").await;
    let mut assets = 0;
    for part in first.text.split("\"/assets/").skip(1) {
        let path = format!("/assets/{}", part.split('"').next().unwrap());
        let asset = browser.page(&path).await;
        assert_eq!(asset.headers["cache-control"], "public, max-age=31536000, immutable");
        assets += asset.text.len();
    }
    assert!(assets > 20_000, "{assets}");
    assert!(first.text.len() + assets <= LARGEST, "{} + {assets}", first.text.len());
    let run = format!("/runs/{run}");
    for path in ["/jobs", "/jobs/talkative", "/runs", &run, "/runs?state=failed", "/audit", "/tokens"] {
        let page = browser.page(path).await;
        assert!(page.text.len() <= LARGEST, "{path}: {}", page.text.len());
    }
}

#[tokio::test]
async fn the_overview_says_what_runs_what_waits_and_why_and_what_failed() {
    let app = TestApp::start().await;
    let mut browser = Browser::admin(&app).await;
    assert!(browser.page("/").await.text.contains("haulier job apply -f haulier.yaml"));
    app.apply(json!({"name": "busy", "image": "sim/ok", "args": ["forever"], "max_parallel": 1})).await;
    let holder = app.trigger("busy").await;
    let waiting = app.trigger("busy").await;
    app.until(holder, RunState::Running).await;
    app.script("bad", &["exit=3"]).await;
    let failed = app.outcome("bad").await.id;
    let page = browser.page("/").await;
    for text in [
        "max_parallel is full: 1 of 1 held, 1 needed",
        "the script ended with exit code 3",
        &format!("/runs/{holder}"),
        &format!("/runs/{waiting}"),
        &format!("/runs/{failed}"),
        "who holds it",
        "succeeded, 1 failed",
    ] {
        assert!(page.text.contains(text), "no {text:?} in {}", page.text);
    }
    let page = browser.page(&format!("/runs/{waiting}")).await;
    assert!(page.text.contains("max_parallel is full") && page.text.contains("number 1 of the job"), "{}", page.text);
}

#[tokio::test]
async fn runs_are_filtered_and_paged() {
    let app = TestApp::start().await;
    app.script("good", &[]).await;
    app.script("bad", &["exit=1"]).await;
    let labelled: RunRequest = serde_json::from_value(json!({"labels": {"team": "sales"}})).unwrap();
    let labelled = app.client.trigger("good", &labelled, None).await.unwrap().run.id;
    app.end(labelled).await;
    for _ in 0..35 {
        app.outcome("good").await;
    }
    let failed = app.outcome("bad").await.id;
    let mut browser = Browser::admin(&app).await;
    let first = browser.page("/runs").await;
    assert_eq!(first.text.matches("<tr><td>").count(), 30);
    let next = first.text.split("href=\"/runs?").find_map(|part| part.split_once("\" rel=\"next\"")).unwrap().0;
    let next = browser.page(&format!("/runs?{}", next.replace("&#38;", "&"))).await;
    assert_eq!(next.text.matches("<tr><td>").count(), 7);
    for (query, count, run) in [
        ("state=failed", 1, failed),
        ("state=failed&job=bad", 1, failed),
        ("label=team%3Dsales", 1, labelled),
        ("job=good&label=team%3Dsales&state=succeeded", 1, labelled),
        ("job=good&state=failed", 0, failed),
        ("job=none", 0, failed),
        ("state=cancelling", 0, failed),
    ] {
        let page = browser.page(&format!("/runs?{query}")).await;
        assert_eq!(page.text.matches("<tr><td>").count(), count, "{query}");
        assert_eq!(page.text.contains(&run.to_string()), count == 1, "{query}");
    }
    assert_eq!(browser.get("/runs?label=nonsense").await.status, 400);
}

#[tokio::test]
async fn a_log_is_read_in_parts_and_searched() {
    let app = TestApp::start().await;
    let lines = |part| (part * 6..part * 6 + 6).map(|number| format!("line number {number} of many\n"));
    let parts: Vec<String> = (0..100).map(|part| format!("write={}", lines(part).collect::<String>())).collect();
    let mut words: Vec<&str> = parts.iter().map(String::as_str).collect();
    words.push("print-err=a needle in it");
    app.script("a", &words).await;
    let run = app.outcome("a").await.id;
    let mut browser = Browser::admin(&app).await;
    let page = browser.page(&format!("/runs/{run}")).await;
    assert!(page.text.contains("a needle in it") && page.text.contains("line number 599 "));
    assert!(!page.text.contains("line number 0 of"));
    // Back to the beginning, part by part, without a gap.
    let (mut page, mut seen) = (page, std::collections::BTreeSet::new());
    for _ in 0..50 {
        seen.extend((0..600).filter(|number| page.text.contains(&format!("line number {number} of"))));
        let Some((before, _)) = page.text.split_once("\">Earlier</a>") else { break };
        let path = before.rsplit('"').next().unwrap().replace("&#38;", "&");
        page = browser.page(path.trim_end_matches("#log")).await;
    }
    assert_eq!(seen.len(), 600);
    let found = browser.page(&format!("/runs/{run}?q=NUMBER+42+")).await;
    assert!(found.text.contains("line number 42 of") && !found.text.contains("line number 43 of"));
    let found = browser.page(&format!("/runs/{run}?stream=stderr")).await;
    assert!(found.text.contains("a needle in it") && !found.text.contains("line number"));
    let none = browser.page(&format!("/runs/{run}?q=haystack")).await;
    assert!(none.text.contains("No line here is like that."));
    let whole = browser.page(&format!("/runs/{run}/log")).await;
    assert_eq!(whole.text.lines().count(), 601);
}

#[tokio::test]
async fn a_job_shows_what_it_is_without_its_secrets_and_what_changed() {
    let app = TestApp::start().await;
    let spec = json!({"name": "a", "image": "sim/ok:1", "env": {"LEVEL": "debug"}, "secrets": {"KEY": {"value": "s3cret-value"}}});
    app.apply(spec.clone()).await;
    let mut changed = spec;
    changed["image"] = json!("sim/ok:2");
    changed["max_parallel"] = json!(2);
    app.apply(changed).await;
    let mut browser = Browser::admin(&app).await;
    let page = browser.page("/jobs/a/configuration").await;
    assert!(page.text.contains("LEVEL") && page.text.contains("KEY") && !page.text.contains("s3cret-value"));
    let page = browser.page("/jobs/a/revisions").await;
    for text in ["/image", "<del>sim/ok:1</del>", "<ins>sim/ok:2</ins>", "/max_parallel", "<ins>2</ins>"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert!(!page.text.contains("/env/LEVEL") && !page.text.contains("s3cret-value"));
    assert_eq!(browser.get("/jobs/a/revisions?new=9").await.status, 404);
    assert!(browser.page("/jobs?q=A").await.text.contains("/jobs/a\""));
    assert!(browser.page("/jobs?q=%25").await.text.contains("No name holds"));
}

#[tokio::test]
async fn where_there_is_no_page_a_browser_is_told_by_one() {
    let app = TestApp::start().await;
    let mut browser = Browser::admin(&app).await;
    let mut asked = async |path: &str, accept: &str| {
        let request = browser.request(Method::GET, path).header(header::ACCEPT, accept);
        browser.send(request).await
    };
    let of_browsers = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = asked("/job/a", of_browsers).await;
    assert_eq!(page.status, 404);
    assert!(page.text.contains("no page at this address") && page.text.contains("href=\"/\""), "{}", page.text);
    assert!(page.headers.contains_key(header::CONTENT_SECURITY_POLICY), "{:?}", page.headers);
    for (path, accept) in [("/job/a", "*/*"), ("/job/a", "application/json"), ("/api/v1/job/a", of_browsers)] {
        let problem = asked(path, accept).await;
        assert_eq!(problem.headers[header::CONTENT_TYPE], "application/problem+json", "{path}, {accept}");
        assert!(problem.text.contains("\"not_found\""), "{path}, {accept}: {}", problem.text);
    }
}

#[tokio::test]
async fn notices_are_shown_and_taken_note_of() {
    let app = TestApp::start().await;
    let mut browser = Browser::admin(&app).await;
    assert!(browser.page("/notices").await.text.contains("Nothing is wrong"));
    app.script("bad", &["exit=3"]).await;
    let run = app.outcome("bad").await.id;
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    let page = loop {
        let page = browser.page("/notices").await;
        if page.text.contains(&run.to_string()) {
            break page;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", page.text);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(browser.page("/").await.text.contains("h-notices"));
    let path = page.text.split("action=\"").find(|part| part.starts_with("/notices/")).unwrap();
    let path = path.split('"').next().unwrap().to_owned();
    let mut reader = Browser::scoped(&app, "reader", &[haulier::domain::Scope::Read], &[]).await;
    assert!(!reader.page("/notices").await.text.contains("Take note"));
    assert_eq!(reader.submit(&path, &[]).await.status, 403);
    assert_eq!(browser.submit(&path, &[]).await.status, 303);
    assert!(browser.page("/notices").await.text.contains("admin took note"));
    assert!(!browser.page("/").await.text.contains("h-notices"));
}

#[tokio::test]
async fn a_schedule_is_shown_with_its_next_times() {
    let app = TestApp::start().await;
    let schedule = json!({"cron": "30 2 * * *", "timezone": "Europe/Amsterdam"});
    app.apply(json!({"name": "a", "image": "sim/ok", "schedule": schedule})).await;
    let page = Browser::admin(&app).await.page("/jobs/a").await;
    assert!(page.text.contains("30 2 * * *") && page.text.contains("Europe/Amsterdam"), "{}", page.text);
}
