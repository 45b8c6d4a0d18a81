//! The service dies, on real containers: at every step of a launch, and at any moment. The next one finds each run's
//! true answer, and no container was started twice. Whoever is to be called back, is.

use std::{collections::HashMap, net::SocketAddr, path::Path, process::Command, time::Duration};

use axum::{Json, Router, http::HeaderMap};
use bollard::{
    Docker,
    query_parameters::{ListContainersOptionsBuilder, ListServicesOptionsBuilder},
};
use haulier::{
    client::{Client, ClientError, Triggered},
    domain::{JobSpec, RunId, RunRequest, RunState},
    engines::{contract::skipped, label},
    logs::contract::TestStore,
    vault::MasterKey,
};
use ordinary_user::OrdinaryUser;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use served::{Served, TOKEN};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch};

#[path = "ordinary_user/mod.rs"]
mod ordinary_user;
#[path = "served/mod.rs"]
mod served;

const PATIENCE: Duration = Duration::from_secs(120);

/// Where the containers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Docker,
    Swarm,
    Embedded,
    /// The same, with a service that an ordinary user runs.
    Rootless,
}

const ENGINES: &[On] =
    if cfg!(target_os = "linux") { &[On::Docker, On::Swarm, On::Embedded, On::Rootless] } else { &[On::Docker] };

struct Serve {
    on: On,
    /// Who runs it, if not whoever runs the test.
    user: Option<OrdinaryUser>,
    served: Served,
    client: Client,
    dir: TempDir,
    /// Who is called back at the end of each run.
    receiver: Option<Receiver>,
}

impl Serve {
    /// A service on the real engine; `None`, told visibly, where there is none.
    async fn start(on: On, case: &str, fail_points: &str) -> Option<Self> {
        if std::env::var_os("HAULIER_TEST_IMAGE").is_none() {
            skipped(case, "HAULIER_TEST_IMAGE is not set: use tests/support/test");
            return None;
        }
        let user = match (on, OrdinaryUser::of_the_tests()) {
            (On::Rootless, Ok(user)) => Some(user),
            (On::Rootless, Err(why)) => {
                skipped(&format!("{case} (rootless)"), &why);
                return None;
            }
            _ => None,
        };
        let dir = user.as_ref().map_or_else(|| TempDir::new().unwrap(), OrdinaryUser::directory);
        let config = match on {
            On::Docker => format!("[engines.docker]\nkind = \"docker\"\nhost = \"{}\"\n", host("DOCKER")),
            On::Swarm => format!("[engines.swarm]\nkind = \"swarm\"\nhost = \"{}\"\n", host("SWARM")),
            On::Embedded | On::Rootless => "[engines.embedded]\nkind = \"embedded\"\n".to_owned(),
        };
        let config = format!("callbacks.allow = [\"127.0.0.0/8\"]\n{config}");
        std::fs::write(dir.path().join("haulier.toml"), config).unwrap();
        let (served, client) = serve(user.as_ref(), dir.path(), fail_points);
        Some(Self { on, user, served, client, dir, receiver: None })
    }

    /// Starts the next service on the same data, without fail points.
    fn restart(&mut self) {
        (self.served, self.client) = serve(self.user.as_ref(), self.dir.path(), "");
    }

    /// Waits until the service has died of a fail point.
    fn died(&mut self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.served.has_ended() {
            assert!(std::time::Instant::now() < deadline, "the service lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    async fn apply(&self, script: &str, max_parallel: Option<u32>) {
        let image = std::env::var("HAULIER_TEST_IMAGE").unwrap();
        let spec: JobSpec =
            serde_json::from_value(json!({"name": "a", "image": image, "command": ["sh", "-c", script],
            "max_parallel": max_parallel}))
            .unwrap();
        self.client.apply_job(&spec).await.unwrap();
    }

    async fn trigger(&self, n: i32) -> RunId {
        self.try_trigger(n).await.unwrap().run.id
    }

    async fn try_trigger(&self, n: i32) -> Result<Triggered, ClientError> {
        let env = json!({"N": n.to_string()});
        let request = json!({"env": env, "callback_url": self.receiver.as_ref().map(Receiver::url)});
        let request: RunRequest = serde_json::from_value(request).unwrap();
        self.client.trigger("a", &request, Some(&format!("run-{n}"))).await
    }

    /// Triggers a run that the service dies of, and starts the next service. The first one may have died before it
    /// could answer: whoever repeats the request gets the same run.
    async fn trigger_and_die(&mut self, n: i32) -> RunId {
        let _ = self.try_trigger(n).await;
        self.died();
        self.restart();
        let again = self.try_trigger(n).await.unwrap();
        assert!(again.replayed);
        again.run.id
    }

    /// The run ended by its own container's doing, in its first and only attempt, whose output is there once.
    async fn assert_true_answer(&self, run: RunId, n: i32) {
        let view = tokio::time::timeout(PATIENCE, self.client.wait(run)).await.expect("the run ends").unwrap();
        let state = if n == 0 { RunState::Succeeded } else { RunState::Failed };
        assert_eq!((view.state, view.exit_code, view.attempt), (state, Some(n), 1), "{view:?}");
        let (mut offset, asked) = (0, std::time::Instant::now());
        let mut texts = Vec::new();
        loop {
            let page = self.client.log(run, offset, 10).await.unwrap();
            texts.extend(page.records.into_iter().map(|record| record.text));
            offset = page.next_offset;
            if page.end {
                break;
            }
            assert!(asked.elapsed() < PATIENCE, "the log does not end");
        }
        assert_eq!(texts, [format!("begin {n}"), format!("end {n}")]);
        assert!(view.log.complete, "{view:?}");
    }
}

fn serve(user: Option<&OrdinaryUser>, dir: &Path, fail_points: &str) -> (Served, Client) {
    let program = env!("CARGO_BIN_EXE_haulier");
    let haulier = user.map_or_else(|| Command::new(program), |user| user.command(program));
    let served = Served::start(haulier, dir, fail_points);
    let client = Client::new(&served.url, TOKEN.into(), None).unwrap();
    (served, client)
}

impl Serve {
    async fn containers_of(&self, run: RunId) -> usize {
        match self.on {
            On::Docker => docker_containers_of(&host("DOCKER"), run).await,
            // Its tasks go with it.
            On::Swarm => swarm_services_of(&host("SWARM"), run).await,
            On::Embedded | On::Rootless => {
                let runs = std::fs::read_dir(self.dir.path().join("embedded/runs")).unwrap().flatten();
                let labels = runs.filter_map(|entry| std::fs::read_to_string(entry.path().join("labels.json")).ok());
                labels.filter(|labels| labels.contains(&run.to_string()) || labels.contains(&run.0.to_string())).count()
            }
        }
    }

    async fn gone(&self, run: RunId) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.containers_of(run).await > 0 {
            assert!(tokio::time::Instant::now() < deadline, "the container of {run} is left");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Where `tests/support/infra` has a daemon.
fn host(name: &str) -> String {
    std::env::var(format!("HAULIER_TEST_{name}_HOST")).unwrap()
}

async fn daemon(host: &str) -> Docker {
    Docker::connect_with_host(host).unwrap().negotiate_version().await.unwrap()
}

fn of(run: RunId) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("label", vec![format!("{}={run}", label::RUN)])])
}

async fn docker_containers_of(host: &str, run: RunId) -> usize {
    let options = ListContainersOptionsBuilder::new().all(true).filters(&of(run)).build();
    daemon(host).await.list_containers(Some(options)).await.unwrap().len()
}

async fn swarm_services_of(host: &str, run: RunId) -> usize {
    let options = ListServicesOptionsBuilder::new().filters(&of(run)).build();
    daemon(host).await.list_services(Some(options)).await.unwrap().len()
}

async fn dies_at(point: &str) {
    for on in ENGINES {
        let Some(mut service) = Serve::start(*on, point, &format!("{point}=return")).await else { return };
        service.apply("echo begin $N; sleep 1; echo end $N; exit $N", None).await;
        let run = service.trigger_and_die(7).await;
        service.assert_true_answer(run, 7).await;
        service.gone(run).await;
    }
}

#[tokio::test]
async fn dies_before_the_engine_is_asked() {
    dies_at("intended").await;
}

#[tokio::test]
async fn dies_before_the_handle_is_stored() {
    dies_at("launched").await;
}

#[tokio::test]
async fn dies_before_the_output_is_read_to_its_end() {
    dies_at("ended").await;
}

#[tokio::test]
async fn dies_before_the_result_is_stored() {
    dies_at("collected").await;
}

#[tokio::test]
async fn dies_before_the_container_is_removed() {
    for on in ENGINES {
        let Some(mut service) = Serve::start(*on, "concluded", "concluded=return").await else { return };
        service.apply("echo begin $N; echo end $N; exit $N", None).await;
        let run = service.trigger_and_die(0).await;
        service.assert_true_answer(run, 0).await;
    }
}

#[tokio::test]
async fn is_killed_at_any_moment() {
    for on in ENGINES {
        let Some(mut service) = Serve::start(*on, "killed", "").await else { return };
        service.apply("echo begin $N; sleep 0.$N; echo end $N; exit $N", Some(3)).await;
        let mut runs = Vec::new();
        for n in 0..9 {
            runs.push((n, service.trigger(n).await));
        }
        // While some are queued, some starting, some running, some finishing.
        for pause in [700, 1100, 400, 900] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            service.served.kill();
            service.restart();
        }
        for (n, run) in runs {
            service.assert_true_answer(run, n).await;
            service.gone(run).await;
        }
    }
}

/// A service that shares its database and its logs with others, and nothing else.
fn serve_with_others(store: &TestStore, database: &str, key: &str) -> (Served, Client, TempDir) {
    let dir = TempDir::new().unwrap();
    let engine = format!("[engines.docker]\nkind = \"docker\"\nhost = \"{}\"\n", host("DOCKER"));
    let shared = format!("database_url = {database:?}\nmaster_key = {key:?}\n");
    std::fs::write(dir.path().join("haulier.toml"), format!("{shared}{}{engine}", store.toml())).unwrap();
    let (served, client) = serve(None, dir.path(), "");
    (served, client, dir)
}

#[tokio::test]
async fn another_goes_on_with_a_log_whose_machine_is_lost() {
    let case = "lost with its logs";
    if std::env::var_os("HAULIER_TEST_IMAGE").is_none() {
        return skipped(case, "HAULIER_TEST_IMAGE is not set: use tests/support/test");
    }
    let Some(store) = TestStore::all(case).into_iter().next() else { return };
    let Some(database) = haulier::store::contract::TestDatabase::postgres().await else { return };
    let key = MasterKey::generate().unwrap().to_text();
    let (mut leader, client, dir) = serve_with_others(&store, database.url(), key.expose_secret());
    let image = std::env::var("HAULIER_TEST_IMAGE").unwrap();
    let script = "trap 'echo after; exit 3' TERM; echo before; while :; do sleep 0.1; done";
    let spec = json!({"name": "a", "image": image, "command": ["sh", "-c", script]});
    client.apply_job(&serde_json::from_value(spec).unwrap()).await.unwrap();
    let run = client.trigger("a", &RunRequest::default(), None).await.unwrap().run.id;
    let (_other, client, _dir) = serve_with_others(&store, database.url(), key.expose_secret());
    let (mut offset, mut texts, asked) = (0, Vec::new(), std::time::Instant::now());
    loop {
        let page = client.log(run, offset, 10).await.unwrap();
        offset = page.next_offset;
        texts.extend(page.records.into_iter().map(|record| record.text));
        if page.end {
            break;
        }
        if texts == ["before"] && dir.path().exists() {
            // Read from the store, for the other one leads. Now it goes, and all that it has.
            leader.kill();
            std::fs::remove_dir_all(dir.path()).unwrap();
            client.cancel(run).await.unwrap();
        }
        assert!(asked.elapsed() < PATIENCE, "the log does not end: {texts:?}");
    }
    assert_eq!(texts, ["before", "after"]);
    let view = client.run(run, 0).await.unwrap();
    assert_eq!((view.state, view.attempt), (RunState::Cancelled, 1), "{view:?}");
    let asked = std::time::Instant::now();
    while docker_containers_of(&host("DOCKER"), run).await > 0 {
        assert!(asked.elapsed() < PATIENCE, "the container stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.clean_up().await.unwrap();
}

/// Somebody who is called back, and keeps the deliveries' ids and bodies.
struct Receiver {
    address: SocketAddr,
    calls: watch::Receiver<Vec<(String, Value)>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = watch::channel(Vec::new());
        let receive = async move |headers: HeaderMap, Json(body): Json<Value>| {
            let id = headers["webhook-id"].to_str().unwrap().to_owned();
            sender.send_modify(|calls| calls.push((id, body)));
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(receive)).await });
        Self { address, calls }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The first calls, once there are so many.
    async fn calls(&mut self, number: usize) -> Vec<(String, Value)> {
        let arrived = self.calls.wait_for(|calls| calls.len() >= number);
        tokio::time::timeout(PATIENCE, arrived).await.expect("it is called back").unwrap().clone()
    }
}

/// The service dies between the end of the run and what it knows of the delivery: that is made once or more.
async fn is_called_back_by_the_next(point: &str, deliveries: usize) {
    let Some(mut service) = Serve::start(ENGINES[ENGINES.len() - 1], point, &format!("{point}=return")).await else {
        return;
    };
    service.receiver = Some(Receiver::start().await);
    service.apply("echo begin $N; echo end $N; exit $N", None).await;
    // Not asked again: that would ask for a callback of its own.
    let run = service.trigger(7).await;
    service.died();
    service.restart();
    let calls = service.receiver.as_mut().unwrap().calls(deliveries).await;
    for (id, body) in &calls {
        assert_eq!(*id, calls[0].0, "one delivery has one id: {calls:?}");
        assert_eq!((&body["data"]["id"], &body["data"]["state"]), (&json!(run), &json!("failed")), "{body}");
    }
    service.assert_true_answer(run, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_back_who_waits_for_a_run_that_ended_just_before_the_service() {
    is_called_back_by_the_next("concluded", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_back_who_was_about_to_be_called() {
    is_called_back_by_the_next("callback_claimed", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_back_again_who_may_not_have_been_called() {
    is_called_back_by_the_next("called_back", 2).await;
}
