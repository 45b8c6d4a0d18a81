use haulier::domain::RunState;
use reqwest::{Method, StatusCode, header::LOCATION};
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestApp, answer};

/// The link that a trigger gives.
async fn link(app: &TestApp, job: &str, body: Value) -> String {
    let sent = app.client.request(Method::POST, &format!("/jobs/{job}/runs")).json(&body).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);
    sent.headers()[LOCATION].to_str().unwrap().to_owned()
}

/// Follows a link as a client without a token does, until the answer is no 202.
async fn follow(link: &str) -> reqwest::Response {
    let client = reqwest::Client::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut link = link.to_owned();
    loop {
        let answer = client.get(&link).send().await.unwrap();
        if answer.status() != StatusCode::ACCEPTED {
            return answer;
        }
        assert!(answer.headers().contains_key("retry-after"));
        link = answer.headers()[LOCATION].to_str().unwrap().to_owned();
        assert!(tokio::time::Instant::now() < deadline, "it never ends");
    }
}

#[tokio::test]
async fn a_link_leads_to_the_end_without_a_token() {
    let app = TestApp::start().await;
    app.script("good", &["sleep=200ms", "report={\"output\": 7}"]).await;
    app.script("bad", &["exit=3"]).await;
    let good = follow(&link(&app, "good", json!({})).await).await;
    assert_eq!(good.status(), StatusCode::OK);
    assert_eq!(good.json::<Value>().await.unwrap()["output"], 7);
    let bad = follow(&link(&app, "bad", json!({})).await).await;
    assert_eq!(bad.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let bad: Value = bad.json().await.unwrap();
    assert_eq!((&bad["state"], &bad["error"]["code"]), (&json!("failed"), &json!("exit_code")));
}

#[tokio::test]
async fn an_active_run_is_202_and_its_caller_keeps_the_lease() {
    let app = TestApp::start().await;
    app.script("a", &["forever-until-term=0"]).await;
    let link = link(&app, "a", json!({"abandon_after_seconds": 30})).await;
    let answer = reqwest::get(format!("{link}&wait=0")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers()[LOCATION].to_str().unwrap(), link);
    let run = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().parse().unwrap();
    app.client.cancel(run).await.unwrap();
    assert_eq!(app.end(run).await.state, RunState::Cancelled);
    assert_eq!(follow(&link).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_forged_link_opens_nothing() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let (first, second) = (link(&app, "a", json!({})).await, link(&app, "a", json!({})).await);
    let signature = |link: &str| link.split_once("?sig=").unwrap().1.to_owned();
    let path = |link: &str| link.split_once("?").unwrap().0.to_owned();
    let elsewhere = format!("{}?sig={}", path(&first), signature(&second));
    let unknown =
        path(&first).replace(path(&first).rsplit('/').nth(1).unwrap(), "01a1fcf5-0000-7000-8000-000000000000");
    for forged in [
        elsewhere,
        format!("{first}x"),
        format!("{}?sig=", path(&first)),
        format!("{unknown}?sig={}", signature(&first)),
    ] {
        let (status, problem) = answer(reqwest::get(&forged).await.unwrap()).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{forged}");
    }
    // Neither is it a way to anything else.
    let (status, _) = answer(reqwest::get(first.replace("/await", "")).await.unwrap()).await;
    assert_eq!(status, 401);
}
