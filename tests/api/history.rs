use haulier::{
    client::Client,
    domain::{RunId, RunRequest, RunState},
    runner::HistoryLimits,
};
use serde_json::json;

use crate::{
    dashboard::browser::Browser,
    support::{ADMIN, PATIENCE, Settings, TestApp},
};

async fn until_gone(client: &Client, run: RunId) -> Option<String> {
    let gone = async {
        loop {
            match client.run(run, 0).await {
                Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                Err(error) => break error.code().map(ToOwned::to_owned),
            }
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the run is deleted")
}

#[tokio::test]
async fn deleted_runs_are_gone_and_nothing_breaks() {
    let mut app = TestApp::start().await;
    app.client.set_limit("one", 1).await.unwrap();
    let limits = json!([{"name": "one"}]);
    app.apply(json!({"name": "a", "image": "sim/ok", "args": ["exit=3"], "limits": limits})).await;
    app.apply(json!({"name": "holder", "image": "sim/ok", "args": ["forever"], "limits": limits})).await;
    let asked = RunRequest::default();
    let old = app.client.trigger("a", &asked, Some("key-1")).await.unwrap().run.id;
    app.end(old).await;
    let holder = app.trigger("holder").await;
    app.until(holder, RunState::Running).await;
    let repeats = app.client.retry(old).await.unwrap().id;

    let history = HistoryLimits { runs: Some(std::time::Duration::ZERO), ..HistoryLimits::default() };
    app.restart_with(Settings { history, ..Settings::default() }).await;
    assert_eq!(until_gone(&app.client, old).await.as_deref(), Some("not_found"));
    for path in ["", "/logs", "/events", "/callback"] {
        assert_eq!(app.get(&format!("/runs/{old}{path}")).await.0, 404, "{path}");
    }
    let waiting = app.client.run(repeats, 0).await.unwrap();
    assert_eq!((waiting.retry_of, waiting.state), (Some(old), RunState::Queued));
    let mut browser = Browser::admin(&app).await;
    let link = format!("/runs/{old}");
    let page = browser.get(&format!("/runs/{repeats}")).await;
    assert!(page.status == 200 && page.text.contains(&link), "{}", page.text);
    assert_eq!(browser.get(&link).await.status, 404);
    assert_eq!(app.client.run(holder, 0).await.unwrap().state, RunState::Running);
    // The key went with its run.
    let anew = app.client.trigger("a", &asked, Some("key-1")).await.unwrap();
    assert!(!anew.replayed && anew.run.id != old);
    let request = reqwest::Client::new().get(format!("http://{}/metrics", app.address)).bearer_auth(ADMIN);
    let metrics = request.send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nhaulier_runs_deleted_total 1\n"), "{metrics}");
}
