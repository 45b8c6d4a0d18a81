//! A cluster that makes tokens: the real one where `HAULIER_TEST_NOMAD_MANAGEMENT_TOKEN` is allowed to, else the test's
//! own.

use std::{io::Write, sync::Arc};

use haulier::{
    domain::{AttemptId, InstallationId, Resources, RunId},
    engines::{
        Engine, Exit, Handle, LaunchProgress, LaunchSpec, PullPolicy, WorkloadPhase,
        contract::{eventually, skipped},
        nomad::{NomadConfig, NomadEngine},
    },
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{server::Server, subject::variable, world::fresh};

/// What the documentation's policy allows.
pub const ALL: [&str; 6] = ["list-jobs", "read-job", "submit-job", "read-logs", "write", "destroy"];

/// A cluster that makes tokens.
pub enum Cluster {
    Own(Box<Server>),
    Real { address: String, management: String },
}

/// A token, and its policy on a real cluster.
pub struct Token {
    pub secret: String,
    name: String,
    accessor: String,
}

impl Cluster {
    pub async fn find(what: &str) -> Option<Self> {
        haulier::install_crypto();
        match Self::start().await {
            Ok(cluster) => Some(cluster),
            Err(why) => {
                skipped(what, &why);
                None
            }
        }
    }

    async fn start() -> Result<Self, String> {
        variable("HAULIER_TEST_IMAGE")?;
        if let (Ok(address), Ok(management)) =
            (variable("HAULIER_TEST_NOMAD_ADDR"), variable("HAULIER_TEST_NOMAD_MANAGEMENT_TOKEN"))
        {
            let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
            return Ok(Self::Real { address, management });
        }
        Ok(Self::Own(Box::new(Server::start(&variable("HAULIER_TEST_DOCKER_HOST")?).await)))
    }

    pub fn address(&self) -> String {
        match self {
            Self::Own(server) => server.address.to_string(),
            Self::Real { address, .. } => address.clone(),
        }
    }

    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let Self::Real { address, management } = self else { panic!("the test's own is asked directly") };
        let request = reqwest::Client::new().request(method, format!("http://{address}{path}"));
        let answer = request.header("X-Nomad-Token", management).json(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default()
    }

    pub async fn token(&self, capabilities: &[&str]) -> Token {
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
    pub async fn allow(&self, token: &Token, capabilities: &[&str]) {
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

    pub async fn forget(&self, token: Token) {
        if let Self::Real { .. } = self {
            self.ask(Method::DELETE, &format!("/v1/acl/token/{}", token.accessor), &Value::Null).await;
            self.ask(Method::DELETE, &format!("/v1/acl/policy/{}", token.name), &Value::Null).await;
        }
    }

    /// A new engine, which knows nothing of its token yet.
    pub fn engine(&self, secret: &str) -> Arc<dyn Engine> {
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

/// Nothing special.
pub fn spec() -> LaunchSpec {
    LaunchSpec {
        owner: InstallationId::generate(),
        attempt: AttemptId { run: RunId::generate(), number: 1 },
        job: "load".to_owned(),
        project: "default".to_owned(),
        image: variable("HAULIER_TEST_IMAGE").expect("the cluster was found"),
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

/// Runs something to its end, which is to be a good one. What is left of it is not removed yet.
pub async fn run(engine: &Arc<dyn Engine>, spec: &LaunchSpec) -> Handle {
    let handle = engine.ensure(spec, &LaunchProgress::new().0).await.expect("it is launched");
    eventually("it has ended", || async {
        let seen = engine.observe(std::slice::from_ref(&handle)).await.expect("it is observed");
        let seen = seen[&spec.attempt].as_ref().expect("it is seen");
        matches!(seen.phase, WorkloadPhase::Exited(Exit { code: Some(0), .. })).then_some(())
    })
    .await;
    handle
}
