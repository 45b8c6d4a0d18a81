//! Tokens that a trusted issuer has signed are as good as our own, within what is granted for their claims.

use haulier::{client::Client, domain::Scope};
use serde_json::{Value, json};

use crate::{
    issuer::Issuer,
    support::{Settings, TestApp},
};

/// What the issuer calls this service.
const US: &str = "api://haulier";
const TRIGGER: &[Scope] = &[Scope::Trigger];

async fn trusting(issuer: &Issuer, grants: &[(&str, &str, &[Scope])]) -> TestApp {
    let issuers = vec![issuer.token_settings(&[US, "second-name"], grants)];
    TestApp::start_with(Settings { issuers, ..Settings::default() }).await
}

/// With a token of this issuer for us, with these claims.
fn with(app: &TestApp, issuer: &Issuer, mut claims: Value) -> Client {
    if claims.get("aud").is_none() {
        claims["aud"] = json!(US);
    }
    Client::new(app.client.url(), issuer.token(&claims).into(), None).unwrap()
}

/// The status and the detail of what is refused; 200 for what is not.
async fn outcome(client: &Client) -> (u16, String) {
    match client.whoami().await {
        Ok(_) => (200, String::new()),
        Err(error) => (error.status().unwrap_or_default(), error.to_string()),
    }
}

#[tokio::test]
async fn whoever_the_issuer_vouches_for_does_what_is_granted() {
    let issuer = Issuer::start().await;
    let app = trusting(&issuer, &[("data-team", "default", TRIGGER)]).await;
    app.script("a", &["exit=3"]).await;
    let factory = with(&app, &issuer, json!({"email": null, "sub": "0a1b2c3d"}));
    let me = factory.whoami().await.unwrap();
    assert_eq!((me.name.as_str(), me.token, me.project.as_str()), ("oidc:0a1b2c3d", None, "default"));
    assert_eq!(me.scopes, [Scope::Trigger]);
    let run = factory.trigger("a", &Default::default(), None).await.unwrap().run;
    assert_eq!(run.created_by, "oidc:0a1b2c3d");
    assert_eq!(factory.wait(run.id).await.unwrap().exit_code, Some(3));
    // No more than that.
    assert_eq!(factory.archive_job("a").await.unwrap_err().status(), Some(403));
    assert_eq!(factory.projects().await.unwrap_err().status(), Some(403));
    assert_eq!(app.get("/metrics").await.0, 404);
    // As a password too, as with our own tokens.
    let basic = reqwest::Client::new().get(format!("{}/api/v1/whoami", app.client.url()));
    let basic = basic.basic_auth("any", Some(issuer.token(&json!({"aud": ["other", US]})))).send().await.unwrap();
    assert_eq!(basic.status(), 200);
    // Our own tokens work beside them.
    app.client.whoami().await.unwrap();
}

#[tokio::test]
async fn their_projects_are_those_of_the_grants() {
    let issuer = Issuer::start().await;
    let app = trusting(&issuer, &[("data-team", "sales", TRIGGER), ("ops", "*", &[Scope::Admin])]).await;
    let member = with(&app, &issuer, json!({}));
    let unknown = outcome(&member).await;
    assert_eq!(unknown.0, 403, "{unknown:?}");
    app.client.create_project(&serde_json::from_value(json!({"name": "sales"})).unwrap()).await.unwrap();
    assert_eq!(member.whoami().await.unwrap().project.as_str(), "sales", "their only one needs no name");
    let elsewhere = |project: &str| {
        let token = issuer.token(&json!({"aud": US}));
        Client::new(app.client.url(), token.into(), Some(project.parse().unwrap())).unwrap()
    };
    assert_eq!(outcome(&elsewhere("sales")).await.0, 200);
    let (refused, missing) = (outcome(&elsewhere("default")).await, outcome(&elsewhere("nowhere")).await);
    assert_eq!(refused.1.replace("default", "nowhere"), missing.1, "what exists is not told");
    let admin = with(&app, &issuer, json!({"groups": ["ops"]}));
    assert_eq!(admin.projects().await.unwrap().items.len(), 2);
    assert_eq!(admin.whoami().await.unwrap().project.as_str(), "default");
}

#[tokio::test]
async fn what_cannot_be_believed_is_refused() {
    let issuer = Issuer::start().await;
    let app = trusting(&issuer, &[("data-team", "default", TRIGGER)]).await;
    assert_eq!(outcome(&with(&app, &issuer, json!({}))).await.0, 200);
    for claims in [
        json!({"aud": "somebody-else"}),
        json!({"aud": [US.to_uppercase()]}),
        json!({"aud": null}),
        json!({"iss": "https://elsewhere.example.com"}),
        json!({"iss": null}),
        json!({"exp": 1_700_000_000}),
        json!({"exp": null}),
        json!({"nbf": 4_000_000_000_u32}),
    ] {
        assert_eq!(outcome(&with(&app, &issuer, claims.clone())).await.0, 401, "{claims}");
    }
    let good = issuer.token(&json!({"aud": US}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let other = issuer.token(&json!({"aud": US, "groups": ["ops"]}));
    for forged in [
        format!("{signed}."),
        format!("{header}.{}.{signature}", other.split('.').nth(1).unwrap()),
        format!("{good}x"),
        format!("{good}.{signature}"),
        "a.b.c".to_owned(),
        "..".to_owned(),
    ] {
        let client = Client::new(app.client.url(), forged.clone().into(), None).unwrap();
        assert_eq!(outcome(&client).await.0, 401, "{forged}");
    }
    for algorithm in ["none", "HS256"] {
        issuer.set().algorithm = algorithm;
        assert_eq!(outcome(&with(&app, &issuer, json!({}))).await.0, 401, "{algorithm}");
    }
    issuer.set().algorithm = "RS256";
    for (kind, status) in [("at+jwt", 200), ("logout+jwt", 401)] {
        issuer.set().kind = kind;
        assert_eq!(outcome(&with(&app, &issuer, json!({"kind": kind}))).await.0, status, "{kind}");
    }
}

#[tokio::test]
async fn who_has_no_grant_learns_what_is_missing() {
    let issuer = Issuer::start().await;
    let app = trusting(&issuer, &[("data-team", "default", TRIGGER)]).await;
    for claims in [json!({"groups": ["others"]}), json!({"groups": null}), json!({"sub": "has blanks"})] {
        let (status, detail) = outcome(&with(&app, &issuer, claims)).await;
        assert!(status == 403 && detail.contains("[[issuers.grants]]"), "{status} {detail}");
    }
}

#[tokio::test]
async fn keys_are_replaced_and_not_asked_for_by_everybody() {
    let issuer = Issuer::start().await;
    let app = trusting(&issuer, &[("data-team", "default", TRIGGER)]).await;
    assert_eq!(outcome(&with(&app, &issuer, json!({}))).await.0, 200);
    // Signed by a key that nobody has published: asked for again once at the most, however many come.
    issuer.set().key = (1, "second");
    for n in 0..20 {
        assert_eq!(outcome(&with(&app, &issuer, json!({"jti": n}))).await.0, 401);
    }
    let asked = issuer.set().asked_for_keys;
    assert!(asked <= 2, "{asked}");
    // Published at last: believed within the time that keys are not asked for again.
    issuer.set().published = (1, "second");
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while outcome(&with(&app, &issuer, json!({"jti": "late"}))).await.0 != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the new key is never asked for");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_delays_its_own_alone() {
    let issuer = Issuer::start().await;
    issuer.set().trouble = Some((reqwest::StatusCode::INTERNAL_SERVER_ERROR, "{}".to_owned()));
    let app = trusting(&issuer, &[("data-team", "default", TRIGGER)]).await;
    app.client.whoami().await.unwrap();
    let request = reqwest::Client::new().get(format!("{}/api/v1/whoami", app.client.url()));
    let answer = request.bearer_auth(issuer.token(&json!({"aud": US}))).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    issuer.set().trouble = None;
    let client = with(&app, &issuer, json!({}));
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while outcome(&client).await.0 != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the issuer is never asked again");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let issuer = Issuer::start().await;
    let app = trusting(&issuer, &[("data-team", "default", TRIGGER)]).await;
    let end = haulier::domain::Clock::now(&haulier::domain::SystemClock).as_micros() / 1_000_000 + 3;
    let client = with(&app, &issuer, json!({"exp": end}));
    client.whoami().await.unwrap();
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while outcome(&client).await.0 != 401 {
        assert!(tokio::time::Instant::now() < deadline, "it works for ever");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
