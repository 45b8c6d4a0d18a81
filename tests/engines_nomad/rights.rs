//! Tokens that may not do all that running jobs takes: the engine says so before anything is launched, what waits for
//! it is told why, and nothing is made meanwhile.

use std::sync::Arc;

use haulier::engines::{
    Engine, EngineErrorKind, EngineHealth, LaunchProgress, LaunchSpec, Persistence, contract::eventually,
};
use uuid::Uuid;

use super::cluster::{ALL, Cluster, run, spec};

async fn run_and_remove(engine: &Arc<dyn Engine>, spec: &LaunchSpec) {
    engine.remove(&run(engine, spec).await).await.expect("it is removed");
}

/// It waits, with these words.
async fn assert_waits(engine: &Arc<dyn Engine>, spec: &LaunchSpec, words: &[&str]) {
    let error = engine.ensure(spec, &LaunchProgress::new().0).await.expect_err("it may not be launched");
    assert_eq!((error.kind, error.persistence), (EngineErrorKind::Unauthorized, Persistence::Unreachable), "{error}");
    assert!(words.iter().all(|words| error.detail.contains(words)), "{error}");
}

fn without(missing: &str) -> Vec<&'static str> {
    ALL.into_iter().filter(|capability| *capability != missing).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_is_missed_before_anything_is_launched() {
    let Some(cluster) = Cluster::find("rights on Nomad").await else { return };
    // Output can only be asked for where something has run.
    let token = cluster.token(&ALL).await;
    let engine = cluster.engine(&token.secret);
    assert_eq!((engine.probe().await.reachable, engine.probe().await.detail), (true, None));
    run_and_remove(&engine, &spec()).await;
    cluster.forget(token).await;
    for (missing, policy) in [
        ("list-jobs", r#"namespace "default" { capabilities = ["list-jobs"] }"#),
        ("read-job", r#"namespace "default" { capabilities = ["read-job"] }"#),
        ("submit-job", r#"namespace "default" { capabilities = ["submit-job"] }"#),
        ("read-logs", r#"namespace "default" { capabilities = ["read-logs"] }"#),
        ("write", r#"namespace "default" { variables { path "nomad/jobs/r-*" { capabilities = ["write"] } } }"#),
    ] {
        let token = cluster.token(&without(missing)).await;
        let engine = cluster.engine(&token.secret);
        let EngineHealth { reachable, detail, .. } = engine.probe().await;
        let detail = detail.unwrap_or_else(|| panic!("{missing} is not missed"));
        assert!(!reachable && detail.contains(policy), "{missing}: {detail}");
        let spec = spec();
        assert_waits(&engine, &spec, &[policy]).await;
        // It is asked for again, and what waited can be launched.
        cluster.allow(&token, &ALL).await;
        let health =
            eventually("it is allowed", || async { Some(engine.probe().await).filter(|it| it.reachable) }).await;
        assert_eq!(health.detail, None, "{missing}");
        run_and_remove(&engine, &spec).await;
        cluster.forget(token).await;
    }
    if let Cluster::Own(server) = &cluster {
        assert_eq!(server.count(), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_clear_away_runs_go_on_and_it_is_told() {
    let Some(cluster) = Cluster::find("the right to clear away on Nomad").await else { return };
    let token = cluster.token(&without("destroy")).await;
    let engine = cluster.engine(&token.secret);
    let EngineHealth { reachable, detail, .. } = engine.probe().await;
    let detail = detail.expect("it is missed");
    assert!(reachable && detail.contains(r#"{ capabilities = ["destroy"] }"#), "{detail}");
    run_and_remove(&engine, &spec()).await;
    cluster.allow(&token, &ALL).await;
    assert_eq!((engine.probe().await.reachable, engine.probe().await.detail), (true, None));
    cluster.forget(token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_later_is_missed_too() {
    let Some(cluster) = Cluster::find("rights that are taken away on Nomad").await else { return };
    let token = cluster.token(&ALL).await;
    let engine = cluster.engine(&token.secret);
    assert!(engine.probe().await.reachable);
    cluster.allow(&token, &without("submit-job")).await;
    let spec = spec();
    // The refusal itself is told, then what the probe has found.
    assert_waits(&engine, &spec, &["\"submit-job\""]).await;
    assert!(!engine.probe().await.reachable);
    assert_waits(&engine, &spec, &["\"submit-job\""]).await;
    cluster.allow(&token, &ALL).await;
    assert!(engine.probe().await.reachable);
    run_and_remove(&engine, &spec).await;
    cluster.forget(token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_known_is_told_from_one_that_lacks_something() {
    let Some(cluster) = Cluster::find("unknown tokens on Nomad").await else { return };
    let engine = cluster.engine(&Uuid::from_u128(7).to_string());
    let health = engine.probe().await;
    let detail = health.detail.expect("it is told");
    assert!(!health.reachable && detail.starts_with("the agent does not know the token"), "{detail}");
    assert!(ALL.iter().all(|capability| detail.contains(&format!("\"{capability}\""))), "{detail}");
    assert_waits(&engine, &spec(), &["the agent does not know the token"]).await;
}
