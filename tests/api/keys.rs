//! Master keys are changed while the service runs, and nothing becomes unreadable.

use haulier::{api::types::MasterKeyView, client::Client, domain::RunState, vault::MasterKey};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::support::{Settings, TestApp};

const IN_A_FILE: fn() -> Settings = || Settings { key_file: true, ..Settings::default() };

async fn with_a_secret(app: &TestApp) {
    let secrets = json!({"TOKEN": {"value": "the-secret-itself"}});
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["echo-env=TOKEN"], "secrets": secrets})).await;
}

/// The script gets what was sealed before.
async fn assert_readable(app: &TestApp) {
    assert_eq!(app.outcome("a").await.state, RunState::Succeeded);
}

async fn standing(client: &Client) -> Vec<(String, bool, bool, usize)> {
    let tell = |MasterKeyView { id, current, known, projects }| (id, current, known, projects);
    client.keys().await.unwrap().items.into_iter().map(tell).collect()
}

#[tokio::test]
async fn a_new_key_goes_into_the_file() {
    let mut app = TestApp::start_with(IN_A_FILE()).await;
    with_a_secret(&app).await;
    app.client.create_project(&serde_json::from_value(json!({"name": "tenant"})).unwrap()).await.unwrap();
    let before = standing(&app.client).await;
    assert_eq!(before, [(before[0].0.clone(), true, true, 2)]);
    let done = app.client.rotate_keys().await.unwrap();
    assert_eq!((done.made, done.projects), (true, 2));
    assert_ne!(done.current, before[0].0);
    let after = [(done.current.clone(), true, true, 2), (before[0].0.clone(), false, true, 0)];
    assert_eq!(standing(&app.client).await, after);
    assert_readable(&app).await;
    // The next service reads it too, and once nothing older is kept, the new key alone is enough.
    app.restart().await;
    assert_eq!(standing(&app.client).await, after);
    app.stop().await;
    let file = app.dir().join("master.key");
    let keys = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, keys.lines().next().unwrap()).unwrap();
    app.restart().await;
    assert_eq!(standing(&app.client).await, [(done.current, true, true, 2)]);
    assert_readable(&app).await;
}

#[tokio::test]
async fn a_file_that_lost_a_needed_key_is_left_alone() {
    let app = TestApp::start_with(IN_A_FILE()).await;
    with_a_secret(&app).await;
    let before = standing(&app.client).await;
    let file = app.dir().join("master.key");
    let other = MasterKey::generate().unwrap().to_text();
    std::fs::write(&file, other.expose_secret()).unwrap();
    assert!(app.client.rotate_keys().await.is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), other.expose_secret());
    assert_eq!(standing(&app.client).await, before);
    assert_readable(&app).await;
}

#[tokio::test]
async fn keys_that_were_given_are_changed_by_who_gives_them() {
    let mut app = TestApp::start().await;
    with_a_secret(&app).await;
    let refused = app.client.rotate_keys().await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (Some(409), Some("keys_given")));
    assert!(refused.to_string().contains("openssl rand -base64 32"), "{refused}");
    let old = app.key.clone();
    let new = MasterKey::generate().unwrap();
    app.key = SecretString::from(format!("{},{}", new.to_text().expose_secret(), old.expose_secret()));
    app.restart().await;
    let done = app.client.rotate_keys().await.unwrap();
    assert_eq!((done.made, done.projects, done.current), (false, 1, new.id().to_string()));
    assert_eq!(app.client.rotate_keys().await.unwrap_err().code(), Some("keys_given"));
    app.key = new.to_text();
    app.restart().await;
    assert_readable(&app).await;
}

#[tokio::test]
async fn many_at_once_are_one_after_the_other() {
    let app = TestApp::start_with(IN_A_FILE()).await;
    with_a_secret(&app).await;
    let all = futures::future::join_all((0..5).map(|_| app.client.rotate_keys())).await;
    assert!(all.iter().all(|done| done.as_ref().is_ok_and(|done| done.projects == 1)), "{all:?}");
    let keys = standing(&app.client).await;
    assert_eq!(keys.len(), 6);
    assert_eq!(keys.iter().map(|(.., projects)| projects).collect::<Vec<_>>(), [&1, &0, &0, &0, &0, &0]);
    assert_readable(&app).await;
}
