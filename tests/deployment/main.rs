//! The files in `docker/` that bring Haulier to where it runs, deployed as they are but for what a test cannot have:
//! base images from a registry, and fixed names on a daemon that others use too.

mod docker;
#[path = "../gate/mod.rs"]
mod gate;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use docker::{Docker, Image, output, replaced};
use gate::{Gate, Target};
use haulier::{
    api::types::RunView,
    client::Client,
    domain::{JobSpec, RunId, RunRequest, RunState},
    engines::{
        contract::{eventually, skipped},
        label,
    },
    store::contract::TestDatabase,
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

const SCRIPT: &str = "echo begin; sleep 5; echo end; exit 3";

/// What the environment tells the tests; `None`, told visibly, where one is missing.
fn variables<const N: usize>(case: &str, names: [&str; N]) -> Option<[String; N]> {
    haulier::install_crypto();
    let found = names.map(|name| env::var(name).ok());
    match found.iter().position(Option::is_none) {
        Some(missing) => {
            skipped(case, &format!("{} is not set: see tests/support/infra and tests/support/newer", names[missing]));
            None
        }
        None => Some(found.map(Option::unwrap_or_default)),
    }
}

fn docker_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker")
}

/// What is in `docker`, with secrets.
struct Files {
    dir: TempDir,
}

impl Files {
    fn copy(names: &[&str]) -> Self {
        let (dir, from) = (TempDir::new().unwrap(), docker_dir());
        for name in names {
            fs::copy(from.join(name), dir.path().join(name)).unwrap();
        }
        output(std::process::Command::new(from.join("make-secrets")).arg(dir.path().join("secrets")));
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn change(&self, name: &str, what: &str, with: &str) {
        fs::write(self.path(name), replaced(&self.text(name), what, with)).unwrap();
    }

    fn admin_token(&self) -> String {
        self.text("secrets/admin-token").trim().to_owned()
    }

    /// The address of a database at which containers reach it.
    fn set_database(&self, database: &TestDatabase, gate: &Gate) {
        let url = replaced(database.url(), &host(database), &gate.address.to_string());
        fs::write(self.path("secrets/database-url"), url).unwrap();
    }

    fn client(&self, address: &str) -> Client {
        Client::new(&format!("http://{address}"), self.admin_token().into(), None).unwrap()
    }
}

/// A database's server, like `127.0.0.1:5432`.
fn host(database: &TestDatabase) -> String {
    let (_, behind) = database.url().split_once('@').expect("the address names a user");
    behind.split('/').next().unwrap_or_default().to_owned()
}

async fn start_run(client: &Client, image: &str) -> RunId {
    let spec = json!({"name": "a", "image": image, "command": ["sh", "-c", SCRIPT]});
    let spec: JobSpec = serde_json::from_value(spec).unwrap();
    client.apply_job(&spec).await.unwrap();
    let run = client.trigger("a", &RunRequest::default(), None).await.unwrap().run.id;
    eventually("it has begun", || async { log(client, run).await.contains(&"begin".to_owned()).then_some(()) }).await;
    run
}

async fn log(client: &Client, run: RunId) -> Vec<String> {
    client.log(run, 0, 0).await.unwrap().records.into_iter().map(|record| record.text).collect()
}

async fn end(client: &Client, run: RunId) -> RunView {
    let view = tokio::time::timeout(Duration::from_secs(60), client.wait(run)).await.expect("the run ends").unwrap();
    assert_eq!((view.state, view.exit_code, view.attempt), (RunState::Failed, Some(3), 1), "{view:?}");
    view
}

/// Removes a stack and what was made for it.
struct Stack {
    docker: Docker,
    name: String,
}

impl Stack {
    const SECRETS: [&str; 3] = ["admin-token", "database-url", "master-key"];

    fn deploy(docker: &Docker, files: &Files, image: &Image) -> Self {
        let name = format!("haulier-{}", RunId::generate());
        // Others may deploy the same.
        files.change("stack.yaml", "name: haulier-", &format!("name: {name}-"));
        files.change("stack.yaml", "- /var/run/docker.sock:", &format!("- {}:", docker.socket()));
        let stack = Self { docker: docker.clone(), name };
        for secret in Self::SECRETS {
            let from = files.path("secrets").join(secret);
            docker.run(&["secret", "create", &stack.named(secret), from.to_str().unwrap()]);
        }
        let mut deploy = docker.command("docker");
        deploy.args(["stack", "deploy", "--resolve-image", "never", "--compose-file"]).arg(files.path("stack.yaml"));
        output(deploy.arg(&stack.name).env("HAULIER_IMAGE", &image.name).env("HAULIER_PORT", "0"));
        stack
    }

    fn label(&self) -> String {
        format!("label=com.docker.stack.namespace={}", self.name)
    }

    fn named(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    /// Those whose health check has passed, with the addresses at which this machine reaches them.
    fn healthy(&self) -> Vec<(String, String)> {
        let list =
            ["container", "ls", "--quiet", "--no-trunc", "--filter", "health=healthy", "--filter", &self.label()];
        let healthy = self.docker.run(&list);
        let addresses = "{{range $id, $at := .Containers}}{{$id}} {{$at.IPv4Address}}\n{{end}}";
        let addresses = self.docker.run(&["network", "inspect", "--format", addresses, "docker_gwbridge"]);
        let pairs = addresses.lines().filter_map(|line| line.split_once(' '));
        let ours = pairs.filter(|(id, _)| healthy.lines().any(|healthy| healthy == *id));
        ours.map(|(id, at)| (id.to_owned(), format!("{}:8080", at.split('/').next().unwrap_or_default()))).collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.docker.try_run(&["stack", "rm", &self.name]);
        // What its containers use can be removed when they are gone.
        let list = ["container", "ls", "--all", "--quiet", "--filter", &self.label()];
        let deadline = Instant::now() + Duration::from_secs(40);
        while self.docker.try_run(&list).is_none_or(|left| !left.is_empty()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
        }
        for secret in Self::SECRETS {
            self.docker.try_run(&["secret", "rm", &self.named(secret)]);
        }
        self.docker.try_run(&["volume", "rm", &format!("{}_logs", self.name)]);
    }
}

/// Whether a service says that it leads.
async fn leads(address: &str, token: &str) -> bool {
    let request = reqwest::Client::new().get(format!("http://{address}/metrics")).bearer_auth(token);
    let answer = request.send().await.unwrap().error_for_status().unwrap();
    answer.text().await.unwrap().lines().any(|line| line == "haulier_leader 1")
}

/// Two services on one database: one leads, is killed in the middle of a run, and the other has its answer and its log.
#[tokio::test(flavor = "multi_thread")]
async fn the_swarm_stack_outlives_its_leader() {
    let names = ["HAULIER_TEST_SWARM_HOST", "HAULIER_TEST_PYTHON_BASE", "HAULIER_TEST_IMAGE"];
    let Some([swarm, base, job_image]) = variables("the swarm stack", names) else { return };
    let Some(database) = TestDatabase::postgres().await else { return };
    let docker = Docker::at(&swarm);
    let image = Image::build(&docker, &base);
    let gate = Gate::at(docker.gateway("docker_gwbridge").into(), Target::Tcp(host(&database))).await;
    let files = Files::copy(&["stack.yaml", "stack.toml"]);
    files.set_database(&database, &gate);
    let stack = Stack::deploy(&docker, &files, &image);

    let both = eventually("two are healthy", || async { Some(stack.healthy()).filter(|them| them.len() == 2) }).await;
    let token = files.admin_token();
    let leader = eventually("one leads", || async {
        for (id, address) in &both {
            if leads(address, &token).await {
                return Some(id.clone());
            }
        }
        None
    })
    .await;
    let client = |wanted: bool| {
        let (_, address) = both.iter().find(|(id, _)| (*id == leader) == wanted).expect("there are two");
        files.client(address)
    };
    let (first, second) = (client(true), client(false));
    let run = start_run(&second, &job_image).await;
    assert_eq!(log(&first, run).await, ["begin"]);
    docker.run(&["kill", &leader]);
    end(&second, run).await;
    assert_eq!(log(&second, run).await, ["begin", "end"]);
    let left = format!("label={}={run}", label::RUN);
    eventually("nothing is left of the run", || async {
        docker.run(&["service", "ls", "--quiet", "--filter", &left]).is_empty().then_some(())
    })
    .await;
    eventually("the swarm brings another service", || async { (stack.healthy().len() == 2).then_some(()) }).await;
    drop(stack);
    database.drop().await;
}

/// Removes a Compose project and its network.
struct Project<'a> {
    docker: Docker,
    compose: String,
    name: String,
    files: &'a Files,
    image: &'a Image,
}

impl Project<'_> {
    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.docker.command(&self.compose);
        command.env("HAULIER_IMAGE", &self.image.name).env("HAULIER_PORT", "0").args(["--project-name", &self.name]);
        for file in ["compose.yaml", "network.yaml"] {
            command.arg("--file").arg(self.files.path(file));
        }
        command.args(args);
        command
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _ = self.command(&["down", "--volumes", "--timeout", "20"]).output();
        self.docker.try_run(&["network", "rm", &self.name]);
    }
}

/// The service of the Compose file, which waits for its health check, on the engine that it names.
#[tokio::test(flavor = "multi_thread")]
async fn the_compose_file_brings_a_service_that_runs_jobs() {
    let names = ["HAULIER_TEST_COMPOSE", "HAULIER_TEST_DOCKER_HOST", "HAULIER_TEST_PYTHON_BASE", "HAULIER_TEST_IMAGE"];
    let Some([compose, docker, base, job_image]) = variables("the Compose file", names) else { return };
    let Some(database) = TestDatabase::postgres().await else { return };
    let docker = Docker::at(&docker);
    let image = Image::build(&docker, &base);
    let files = Files::copy(&["compose.yaml", "compose.toml"]);
    files.change("compose.yaml", "- /var/run/docker.sock:", &format!("- {}:", docker.socket()));
    let name = format!("haulier-{}", RunId::generate());
    docker.run(&["network", "create", &name]);
    fs::write(files.path("network.yaml"), format!("networks: {{default: {{external: true, name: {name}}}}}\n"))
        .unwrap();
    let project = Project { docker: docker.clone(), compose, name: name.clone(), files: &files, image: &image };
    let gate = Gate::at(docker.gateway(&name).into(), Target::Tcp(host(&database))).await;
    files.set_database(&database, &gate);

    // All of it is read; PostgreSQL, Prometheus and Grafana are images that cannot be had here.
    output(&mut project.command(&["--profile", "monitoring", "config", "--quiet"]));
    output(&mut project.command(&["up", "--detach", "--no-deps", "--wait", "--wait-timeout", "60", "haulier"]));
    let address = output(&mut project.command(&["port", "haulier", "8080"]));
    let client = files.client(&address);
    assert_eq!(client.engines().await.unwrap().items[0].kind, "docker");
    let run = start_run(&client, &job_image).await;
    output(&mut project.command(&["restart", "haulier"]));
    let client = files.client(&output(&mut project.command(&["port", "haulier", "8080"])));
    end(&client, run).await;
    assert_eq!(log(&client, run).await, ["begin", "end"]);
    drop(project);
    database.drop().await;
}

/// A real Nomad takes the job and the policy. That they do what they should was seen by hand: docs/nomad.md says when.
#[tokio::test]
async fn nomad_takes_the_job_and_its_policy() {
    let names = ["HAULIER_TEST_NOMAD_ADDR", "HAULIER_TEST_NOMAD_MANAGEMENT_TOKEN"];
    let Some([address, token]) = variables("the Nomad job", names) else { return };
    let ask = |method: Method, path: &str, body: Value| {
        let request = reqwest::Client::new().request(method, format!("{}{path}", address.trim_end_matches('/')));
        let request = request.header("X-Nomad-Token", &token).json(&body);
        async {
            let answer = request.send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert!(status.is_success(), "{status}: {text}");
            serde_json::from_str::<Value>(&text).unwrap_or_default()
        }
    };
    let text = |name: &str| fs::read_to_string(docker_dir().join(name)).unwrap();
    let written = json!({"JobHCL": text("nomad.hcl"), "Variables": "image = \"haulier:1\"", "Canonicalize": true});
    let job = ask(Method::POST, "/v1/jobs/parse", written).await;
    assert_eq!(job["TaskGroups"][0]["Tasks"][0]["Config"]["image"], "haulier:1");
    let checked = ask(Method::POST, "/v1/validate/job", json!({"Job": job})).await;
    assert_eq!((&checked["Error"], &checked["Warnings"]), (&json!(""), &json!("")), "{checked}");
    let name = format!("haulier-test-{}", RunId::generate());
    let path = format!("/v1/acl/policy/{name}");
    ask(Method::POST, &path, json!({"Name": name, "Rules": text("nomad-policy.hcl")})).await;
    ask(Method::DELETE, &path, Value::Null).await;
}
