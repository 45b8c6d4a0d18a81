//! The same on PostgreSQL.

use haulier::{
    domain::{RunId, RunState},
    logs::contract::TestStore,
};
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{PATIENCE, Settings, TestApp};

#[tokio::test]
async fn the_whole_way_on_postgresql() {
    let Some(database) = haulier::store::contract::TestDatabase::postgres().await else { return };
    let url: SecretString = database.url().into();
    let url = secrecy::ExposeSecret::expose_secret(&url).to_owned();
    let mut app = TestApp::start_on(TempDir::new().unwrap(), url, Default::default()).await;
    app.client.set_limit("api", 2).await.unwrap();
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["sleep=20ms", r#"report={"state": {"n": 1}}"#],
        "max_parallel": 1, "limits": [{"name": "api"}], "secrets": {"K": {"value": "secret"}}}))
        .await;
    let runs: Vec<RunId> = futures::future::join_all((0..10).map(|_| app.trigger("a"))).await;
    for run in runs {
        assert_eq!(app.end(run).await.state, RunState::Succeeded);
    }
    assert_eq!(app.client.state("a").await.unwrap().version, 10);
    assert_eq!(app.client.limit("api").await.unwrap().held, 0);
    app.script("long", &["gate", "exit=4"]).await;
    let run = app.trigger("long").await;
    app.until(run, RunState::Running).await;
    app.restart().await;
    app.engine.open_gates();
    assert_eq!(app.end(run).await.exit_code, Some(4));
    app.stop().await;
    database.drop().await;
}

/// Waits for a line of a run's log, as somebody who follows it.
async fn follow(app: &TestApp, run: RunId, wanted: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let (mut offset, mut seen) = (0, Vec::new());
    while !seen.iter().any(|line| line == wanted) {
        assert!(tokio::time::Instant::now() < deadline, "{wanted:?} is not among {seen:?}");
        let page = app.client.log(run, offset, 5).await.unwrap();
        offset = page.next_offset;
        seen.extend(page.records.into_iter().map(|record| record.text));
    }
}

/// A service that comes later finds the log whole, and each line once.
async fn assert_found_whole(other: &TestApp, run: RunId) {
    let mut third = other.twin().await;
    let page = third.client.log(run, 0, 0).await.unwrap();
    let lines: Vec<_> = page.records.iter().map(|record| record.text.as_str()).collect();
    assert_eq!((lines.as_slice(), page.end), (["before", "after"].as_slice(), true));
    third.stop().await;
}

#[tokio::test]
async fn services_that_share_a_directory_share_logs() {
    let Some(database) = haulier::store::contract::TestDatabase::postgres().await else { return };
    let logs = TempDir::new().unwrap();
    let settings = Settings { logs_dir: Some(logs.path().to_owned()), ..Settings::default() };
    let mut leader = TestApp::start_on(TempDir::new().unwrap(), database.url().to_owned(), settings).await;
    leader.script("a", &["print=before", "gate", "print=after", "exit=3"]).await;
    let mut other = leader.twin().await;
    let run = other.trigger("a").await;
    follow(&other, run, "before").await;
    // The other one leads now, and goes on with the same log.
    leader.stop().await;
    other.engine.open_gates();
    assert_eq!(other.end(run).await.exit_code, Some(3));
    follow(&other, run, "after").await;
    assert_found_whole(&other, run).await;
    other.stop().await;
    database.drop().await;
}

#[tokio::test]
async fn services_that_share_an_object_store_share_logs() {
    for store in TestStore::all("services with one object store") {
        let Some(database) = haulier::store::contract::TestDatabase::postgres().await else { return };
        let settings = Settings { logs_store: Some(store.settings()), ..Settings::default() };
        let mut leader = TestApp::start_on(TempDir::new().unwrap(), database.url().to_owned(), settings).await;
        leader.script("a", &["print=before", "gate", "print=after", "exit=3"]).await;
        let mut other = leader.twin().await;
        // Of one that goes on, while it does so.
        let run = other.trigger("a").await;
        follow(&other, run, "before").await;
        // Of one that was over soon, and left nothing where it was written.
        leader.script("short", &["print=short"]).await;
        let short = leader.outcome("short").await.id;
        follow(&other, short, "short").await;
        until_empty(&leader.dir().join("logs/done")).await;
        follow(&leader, short, "short").await;
        leader.stop().await;
        other.engine.open_gates();
        assert_eq!(other.end(run).await.exit_code, Some(3));
        follow(&other, run, "after").await;
        until_empty(&other.dir().join("logs/done")).await;
        assert_found_whole(&other, run).await;
        other.stop().await;
        database.drop().await;
        store.clean_up().await.unwrap();
    }
}

/// Waits until nothing lies in a directory.
async fn until_empty(dir: &std::path::Path) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while std::fs::read_dir(dir).unwrap().next().is_some() {
        assert!(tokio::time::Instant::now() < deadline, "{} is not empty", dir.display());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn two_services_share_a_database_and_one_leads() {
    let Some(database) = haulier::store::contract::TestDatabase::postgres().await else { return };
    let mut leader = TestApp::start_on(TempDir::new().unwrap(), database.url().to_owned(), Default::default()).await;
    leader.script("a", &["exit=3"]).await;
    leader.outcome("a").await;
    let mut other = leader.twin().await;
    // Asked of the one, launched by the other, once; the answer comes to whoever waits.
    for _ in 0..3 {
        let run = other.trigger("a").await;
        assert_eq!(other.end(run).await.exit_code, Some(3));
    }
    other.script("long", &["forever-until-term=0"]).await;
    let run = other.trigger("long").await;
    other.until(run, RunState::Running).await;
    other.client.cancel(run).await.unwrap();
    assert_eq!(other.end(run).await.state, RunState::Cancelled);
    // The one that leads goes in the middle of a run: the other takes it up.
    other.script("taken-up", &["gate", "exit=3"]).await;
    let run = other.trigger("taken-up").await;
    other.until(run, RunState::Running).await;
    leader.stop().await;
    other.engine.open_gates();
    assert_eq!(other.end(run).await.exit_code, Some(3));
    assert!(other.engine.all_starts().values().all(|starts| *starts == 1), "{:?}", other.engine.all_starts());
    other.stop().await;
    database.drop().await;
}
