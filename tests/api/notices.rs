use std::time::Duration;

use haulier::{
    api::types::NoticeView,
    domain::{Clock, NoticeKind, RunState, SystemClock, Timestamp},
};
use serde_json::{Value, json};

use crate::{
    callbacks::{Answer, Receiver},
    support::{PATIENCE, TestApp, pointers},
};

async fn notices(app: &TestApp, query: &[(&str, &str)]) -> Vec<NoticeView> {
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    app.client.notices(&query).await.unwrap().items
}

/// Waits until these kinds are open, and no others.
async fn until_open(app: &TestApp, kinds: &[NoticeKind]) -> Vec<NoticeView> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let seen = notices(app, &[("open", "true")]).await;
        if seen.iter().map(|notice| notice.kind).collect::<Vec<_>>() == kinds {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "not {kinds:?}: {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A job that says `args` from now on.
async fn says(app: &TestApp, job: &str, args: &[&str]) {
    app.client.patch_job(job, &json!({"args": args})).await.unwrap();
}

async fn channel(app: &TestApp, name: &str, body: Value) {
    let (status, answer) = app.raw("PUT", &format!("/channels/{name}"), body.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    assert!(!answer.to_string().contains("in-the-address"), "{answer}");
}

#[tokio::test]
async fn failures_are_told_and_so_is_recovery() {
    let app = TestApp::start().await;
    app.script("a", &["exit=3"]).await;
    app.outcome("a").await;
    let told = until_open(&app, &[NoticeKind::Failed]).await.remove(0);
    assert!(told.summary.contains('3') && told.summary.contains("exit_code"), "{}", told.summary);
    assert_eq!((told.job.as_deref(), told.acknowledged_by.as_deref()), (Some("a"), None));
    let taken = app.client.acknowledge_notice(told.id).await.unwrap();
    assert_eq!(taken.acknowledged_by.as_deref(), Some("admin"));
    app.outcome("a").await;
    app.outcome("a").await;
    let told = until_open(&app, &[NoticeKind::Failing]).await.remove(0);
    assert!(told.summary.contains("the last 3 runs failed"), "{}", told.summary);
    says(&app, "a", &[]).await;
    app.outcome("a").await;
    until_open(&app, &[]).await;
    let over = notices(&app, &[("open", "false"), ("kind", "failing")]).await.remove(0);
    assert!(over.resolution.unwrap().starts_with("recovered"));
    assert_eq!(app.get("/notices?kind=failure").await.0, 400);
}

#[tokio::test]
async fn no_rows_are_told_when_there_usually_are_some() {
    let app = TestApp::start().await;
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["report={\"metrics\": {\"rows\": 1000}}"]})).await;
    assert_eq!(app.client.baseline("a").await.unwrap().rows, None);
    for _ in 0..25 {
        app.outcome("a").await;
    }
    says(&app, "a", &["report={\"metrics\": {\"rows\": 0}}"]).await;
    let run = app.outcome("a").await;
    assert_eq!(run.state, RunState::Succeeded);
    let told = until_open(&app, &[NoticeKind::FewRows]).await.remove(0);
    assert_eq!((told.run, told.figures["value"]), (Some(run.id), 0.0));
    assert!(told.summary.starts_with("reported no rows; usual are "), "{}", told.summary);
    let usual = app.client.baseline("a").await.unwrap();
    let rows = usual.rows.unwrap();
    assert!(rows.low > 1.0 && rows.typical > 900.0 && rows.high < 5000.0, "{rows:?}");
    assert_eq!(usual.samples, 26);
    says(&app, "a", &["report={\"metrics\": {\"rows\": 990}}"]).await;
    app.outcome("a").await;
    until_open(&app, &[]).await;
}

#[tokio::test]
async fn what_takes_too_long_is_told_while_it_runs_and_what_is_muted_is_not() {
    let app = TestApp::start().await;
    let notify = json!({"slow_after_seconds": 1, "stuck_after_seconds": 1});
    let spec = json!({"name": "a", "image": "sim/ok", "args": ["forever-until-term=0"], "max_parallel": 1});
    let with = |notify: &Value, name: &str| {
        let mut spec = spec.clone();
        (spec["notify"], spec["name"]) = (notify.clone(), json!(name));
        spec
    };
    app.apply(with(&notify, "a")).await;
    let mut muted = notify.clone();
    muted["mute"] = json!(["slow", "stuck"]);
    app.apply(with(&muted, "b")).await;
    let (first, second) = (app.trigger("a").await, app.trigger("a").await);
    app.trigger("b").await;
    app.trigger("b").await;
    let told = until_open(&app, &[NoticeKind::Stuck, NoticeKind::Slow]).await;
    assert_eq!((told[0].run, told[1].run), (Some(second), Some(first)));
    assert!(told[1].summary.starts_with("runs for "), "{}", told[1].summary);
    // The first goes, the second gets its place: nothing is stuck any more.
    app.client.cancel(first).await.unwrap();
    app.end(first).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !notices(&app, &[("open", "true"), ("kind", "stuck")]).await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "still stuck");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let wrong = with(&json!({"failing_after": 1, "rows_metric": ""}), "c").to_string();
    let (status, problem) = app.raw("PUT", "/jobs/c", wrong).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/notify/failing_after", "/notify/rows_metric"]));
}

/// Many failures at once are one message to each channel, in its own form, signed where that is agreed on.
#[tokio::test]
async fn channels_are_told_together() {
    let app = TestApp::start().await;
    let (mut hook, mut slack, mut teams) =
        (Receiver::start(&[Answer::Broken]).await, Receiver::start(&[]).await, Receiver::start(&[]).await);
    channel(&app, "hook", json!({"spec": {"kind": "webhook"}, "url": hook.url()})).await;
    channel(&app, "slack", json!({"spec": {"kind": "slack", "resolved": false}, "url": slack.url()})).await;
    let worse = json!({"kind": "teams", "min_severity": "critical"});
    channel(&app, "teams", json!({"spec": worse, "url": teams.url()})).await;
    for number in 0..30 {
        app.script(&format!("job-{number}"), &["exit=1"]).await;
        app.trigger(&format!("job-{number}")).await;
    }
    let first = hook.calls(2).await;
    let ids: std::collections::HashSet<_> = first.iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), 1, "a try that failed keeps its id");
    assert!(first[0].0.contains_key("webhook-signature"));
    let told: Value = serde_json::from_slice(&first[1].1).unwrap();
    let notices = told["data"]["notices"].as_array().unwrap();
    assert_eq!((&told["type"], notices.len()), (&json!("notices"), 30), "all 30 in one message");
    assert_eq!((&notices[0]["change"], &notices[0]["notice"]["kind"]), (&json!("opened"), &json!("failed")));
    let (_, body) = slack.calls(1).await.remove(0);
    let blocks: Value = serde_json::from_slice(&body).unwrap();
    assert!(blocks["text"].as_str().unwrap().contains("30 failed"), "{blocks}");
    assert_eq!(blocks["blocks"].as_array().unwrap().len(), 1 + 20 + 1);
    // Nothing was critical until one job goes on failing.
    for _ in 0..2 {
        app.outcome("job-7").await;
    }
    let (_, body) = teams.calls(1).await.remove(0);
    let card: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(card["attachments"][0]["contentType"], "application/vnd.microsoft.card.adaptive");
    assert!(card.to_string().contains("goes on failing"), "{card}");
}

#[tokio::test]
async fn a_channel_can_be_tested_and_is_looked_at() {
    let app = TestApp::start().await;
    let mut receiver = Receiver::start(&[Answer::Ok, Answer::Gone]).await;
    channel(&app, "ops", json!({"spec": {"kind": "slack"}, "url": receiver.url()})).await;
    app.client.test_channel("ops").await.unwrap();
    let (_, body) = receiver.calls(1).await.remove(0);
    assert!(String::from_utf8_lossy(&body).contains("this is a test of the channel ops"));
    let refused = app.client.test_channel("ops").await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (Some(502), Some("not_delivered")));
    // The address stays when it is left out, and is never shown.
    channel(&app, "ops", json!({"spec": {"kind": "slack", "min_severity": "error"}})).await;
    app.client.test_channel("ops").await.unwrap();
    let listed = app.client.channels(None).await.unwrap().items;
    assert_eq!(listed.len(), 1);
    for (body, pointer) in [
        (json!({"spec": {"kind": "slack"}}), "/url"),
        (json!({"spec": {"kind": "slack"}, "url": "http://127.0.0.2/x"}), "/url"),
        (json!({"spec": {"kind": "slack"}, "url": "https://example.com", "password": "x"}), "/password"),
        (json!({"spec": {"kind": "email"}}), "/email"),
        (json!({"spec": {"kind": "slack", "quiet_hours": {"from": "7", "to": "8"}}, "url": "x"}), "/quiet_hours"),
    ] {
        let (status, problem) = app.raw("PUT", "/channels/other", body.to_string()).await;
        assert_eq!((status, pointers(&problem)), (422, vec![pointer]), "{problem}");
    }
    app.client.remove_channel("ops").await.unwrap();
    assert_eq!(app.client.test_channel("ops").await.unwrap_err().status(), Some(404));
}

/// What was told of a secret's end is told again in time, and after it, until there is another.
#[tokio::test]
async fn secrets_that_end_are_told() {
    let mut app = TestApp::start().await;
    let (past, soon) = (Timestamp::from_micros(1), SystemClock.now().plus(Duration::from_secs(1)));
    let refused = app.client.set_secret("api-key", &"a-value".into(), Some(past)).await.unwrap_err();
    assert!(refused.to_string().contains("past"), "{refused}");
    app.client.set_secret("api-key", &"a-value".into(), Some(soon)).await.unwrap();
    app.client.set_secret("lasting", &"a-value".into(), None).await.unwrap();
    assert_eq!(app.client.secrets(None).await.unwrap().items[0].expires_at, Some(soon));
    while SystemClock.now() < soon {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It looks when it starts, and then once a minute.
    app.restart().await;
    let told = until_open(&app, &[NoticeKind::SecretExpiring]).await.remove(0);
    assert_eq!(told.summary, "the secret api-key is not valid any more: get a new value and set it");
    app.client.set_secret("api-key", &"another-value".into(), None).await.unwrap();
    app.restart().await;
    until_open(&app, &[]).await;
}
