//! Tokens that may not do all that running jobs takes: the engine says so before anything is launched, what waits for
//! it is told why, and nothing is made meanwhile. On the real cluster where `HAULIER_TEST_NOMAD_MANAGEMENT_TOKEN` is one
//! that may make tokens, else on the test's own.

use std::{env, io::Write, sync::Arc};

use haulier::{
    domain::{AttemptId, InstallationId, Resources, RunId},
    engines::{
        Engine, EngineErrorKind, EngineHealth, Exit, LaunchProgress, LaunchSpec, Persistence, PullPolicy,
        WorkloadPhase,
        contract::{eventually, skipped},
        nomad::{NomadConfig, NomadEngine},
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{server::Server, subject::variable, world::fresh};

/// What the documentation's policy allows.
const ALL: [&str; 6] = ["list-jobs", "read-job", "submit-job", "read-logs", "write", "destroy"];

/// A cluster that makes tokens.
enum Cluster {
    Own(Box<Server>),
    Real { address: String, management: String },
}

/// A token, and its policy on a real cluster.
struct Token {
    secret: String,
    name: String,
    accessor: String,
}

impl Cluster {
    async fn find(what: &str) -> Option<Self> {
        haulier::install_crypto();
        if let (Ok(address), Ok(management)) =
            (env::var("HAULIER_TEST_NOMAD_ADDR"), env::var("HAULIER_TEST_NOMAD_MANAGEMENT_TOKEN"))
        {
            let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
            return Some(Self::Real { address, management });
        }
        match variable("HAULIER_TEST_DOCKER_HOST") {
            Ok(host) => Some(Self::Own(Box::new(Server::start(&host).await))),
            Err(why) => {
                skipped(what, &why);
                None
            }
        }
    }

    fn address(&self) -> String {
        match self {
            Self::Own(server) => server.address.to_string(),
            Self::Real { address, .. } => address.clone(),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let Self::Real { address, management } = self else { panic!("the test's own is asked directly") };
        let request = reqwest::Client::new().request(method, format!("http://{address}{path}"));
        let answer = request.header("X-Nomad-Token", management).json(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default()
    }

    async fn token(&self, capabilities: &[&str]) -> Token {
        let name = format!("haulier-test-{}", fresh());
        let mut token = Token { secret: fresh().to_string(), name: name.clone(), accessor: String::new() };
        self.allow(&token, capabilities).await;
        if let Self::Real { .. } = self {
            let body = json!({"Name": name, "Type": "client", "Policies": [name]});
            let made = self.ask(Method::PUT, "/v1/acl/token", &body).await;
            token.secret = made["SecretID"].as_str().expect("a secret").to_owned();
            token.accessor = made["AccessorID"].as_str().expect("an accessor").to_owned();
        }
        token
    }

    /// Lets the token do this, and nothing else.
    async fn allow(&self, token: &Token, capabilities: &[&str]) {
        if let Self::Own(server) = self {
            return server.allow(&token.secret, capabilities);
        }
        let (variables, namespace): (Vec<&str>, Vec<&str>) =
            capabilities.iter().partition(|capability| ["write", "destroy"].contains(capability));
        let rules = json!({"namespace": {"default": {
            "capabilities": namespace,
            "variables": {"path": {"nomad/jobs/r-*": {"capabilities": variables}}},
        }}});
        let body = json!({"Name": token.name, "Rules": rules.to_string()});
        self.ask(Method::PUT, &format!("/v1/acl/policy/{}", token.name), &body).await;
    }

    async fn forget(&self, token: Token) {
        if let Self::Real { .. } = self {
            self.ask(Method::DELETE, &format!("/v1/acl/token/{}", token.accessor), &Value::Null).await;
            self.ask(Method::DELETE, &format!("/v1/acl/policy/{}", token.name), &Value::Null).await;
        }
    }

    /// A new engine, which knows nothing of its token yet.
    fn engine(&self, secret: &str) -> Arc<dyn Engine> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "{secret}").expect("it can be written to");
        let config = NomadConfig {
            address: Some(format!("http://{}", self.address())),
            token_file: Some(file.path().to_owned()),
            ..NomadConfig::default()
        };
        Arc::new(NomadEngine::connect("nomad", InstallationId::generate(), config).expect("the settings are right"))
    }
}

fn spec() -> LaunchSpec {
    LaunchSpec {
        owner: InstallationId::generate(),
        attempt: AttemptId { run: RunId::generate(), number: 1 },
        job: "load".to_owned(),
        project: "default".to_owned(),
        image: variable("HAULIER_TEST_IMAGE").expect("there is a Docker"),
        pull: PullPolicy::IfMissing,
        credentials: None,
        command: Some(vec!["/bin/true".to_owned()]),
        args: Vec::new(),
        env: Vec::new(),
        files: Vec::new(),
        resources: Resources::default(),
        kill_grace: std::time::Duration::from_secs(1),
        deadline: std::time::Duration::from_secs(60),
    }
}

/// It waits, with these words.
async fn assert_waits(engine: &Arc<dyn Engine>, spec: &LaunchSpec, words: &[&str]) {
    let error = engine.ensure(spec, &LaunchProgress::new().0).await.expect_err("it may not be launched");
    assert_eq!((error.kind, error.persistence), (EngineErrorKind::Unauthorized, Persistence::Unreachable), "{error}");
    assert!(words.iter().all(|words| error.detail.contains(words)), "{error}");
}

/// Runs something to its end.
async fn run(engine: &Arc<dyn Engine>, spec: &LaunchSpec) {
    let handle = engine.ensure(spec, &LaunchProgress::new().0).await.expect("it is launched");
    eventually("it has ended", || async {
        let seen = engine.observe(std::slice::from_ref(&handle)).await.expect("it is observed");
        let seen = seen[&spec.attempt].as_ref().expect("it is seen");
        matches!(seen.phase, WorkloadPhase::Exited(Exit { code: Some(0), .. })).then_some(())
    })
    .await;
    engine.remove(&handle).await.expect("it is removed");
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
    run(&engine, &spec()).await;
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
        run(&engine, &spec).await;
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
    run(&engine, &spec()).await;
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
    run(&engine, &spec).await;
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
