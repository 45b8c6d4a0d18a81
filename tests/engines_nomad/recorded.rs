//! The test's own agent against recordings of a real Nomad 1.0.18, and of 2.0.5 where rights are concerned: the same
//! question gets the same kind of answer.
//! Names and times differ; what is compared is the status, the form, and what the engine reads.

use std::collections::BTreeSet;

use haulier::engines::contract::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use super::{server::Server, tokens::CAPABILITIES, variable, world::fresh};

fn recorded() -> Value {
    serde_json::from_str(include_str!("recorded.json")).expect("the recordings are JSON")
}

async fn ask(server: &Server, method: &str, path: &str, body: &Value) -> (u16, bool, String) {
    let url = format!("http://{}{path}", server.address);
    let method: Method = method.parse().expect("a method");
    let mut request = reqwest::Client::new().request(method, url).header("X-Nomad-Token", &server.token);
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = request.send().await.expect("an answer");
    let text = answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    (answer.status().as_u16(), text, answer.text().await.expect("a body"))
}

async fn server() -> Option<Server> {
    haulier::install_crypto();
    match variable("HAULIER_TEST_DOCKER_HOST") {
        Ok(host) => Some(Server::start(&host).await),
        Err(why) => {
            haulier::engines::contract::skipped("the recordings of Nomad", &why);
            None
        }
    }
}

/// Every member that a real answer has, ours has, and it is of the same type where it is not null.
fn assert_form(where_: &str, real: &Value, ours: &Value) {
    match (real, ours) {
        (Value::Object(real), Value::Object(ours)) => {
            for (key, value) in real {
                let its = ours.get(key).unwrap_or_else(|| panic!("{where_}: `{key}` is missing"));
                assert_form(&format!("{where_}.{key}"), value, its);
            }
        }
        (Value::Array(real), Value::Array(ours)) => {
            assert_eq!(real.is_empty(), ours.is_empty(), "{where_}: {ours:?}");
            if let (Some(real), Some(ours)) = (real.first(), ours.first()) {
                assert_form(where_, real, ours);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (real, ours) => {
            assert_eq!(std::mem::discriminant(real), std::mem::discriminant(ours), "{where_}: {real} and {ours}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_a_real_server() {
    let Some(server) = server().await else { return };
    for exchange in recorded()["exchanges"].as_array().expect("a list") {
        let member = |key: &str| exchange[key].as_str().unwrap_or_default();
        let (method, path) = (member("method"), member("path"));
        let where_ = format!("{}: {method} {path}", member("scenario"));
        let (status, text, body) = ask(&server, method, path, &exchange["body"]).await;
        assert_eq!(json!(status), exchange["status"], "{where_}: {body}");
        assert_eq!(json!(text), exchange["text"], "{where_}: {body}");
        match &exchange["answer"] {
            Value::String(words) => assert_eq!(body.trim(), words.trim(), "{where_}"),
            answer if path.ends_with("/summary") => {
                let ours: Value = serde_json::from_str(&body).expect("JSON");
                assert_eq!(
                    ours["Summary"]["run"].as_object().map(|it| it.keys().collect::<BTreeSet<_>>()),
                    answer["Summary"]["run"].as_object().map(|it| it.keys().collect::<BTreeSet<_>>()),
                    "{where_}"
                );
            }
            answer => assert_form(&where_, answer, &serde_json::from_str(&body).expect("JSON")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_asked_for_as_a_real_server_does() {
    let Some(server) = server().await else { return };
    let url = format!("http://{}/v1/jobs", server.address);
    for (token, status, words) in [
        (None, 403, "Permission denied"),
        (Some("00000000-1111-2222-3333-444444444444"), 403, "ACL token not found"),
        (Some("zzz"), 500, "acl token lookup failed: index error: UUID must be 36 characters"),
    ] {
        let mut request = reqwest::Client::new().get(&url);
        if let Some(token) = token {
            request = request.header("X-Nomad-Token", token);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.text().await.expect("words").as_str()), (status, words));
    }
}

/// Each question as it is answered to a token that may do all, and to one that may not do what it needs.
#[tokio::test(flavor = "multi_thread")]
async fn rights_are_asked_for_as_a_real_server_does() {
    let Some(mut server) = server().await else { return };
    let job = json!({"ID": "any", "Type": "batch", "Datacenters": ["dc1"], "TaskGroups": [{"Name": "run",
        "Tasks": [{"Name": "main", "Driver": "docker", "Config": {"image": variable("HAULIER_TEST_IMAGE").unwrap()}}]}]});
    ask(&server, "POST", "/v1/jobs", &json!({"Job": job})).await;
    let (_, _, allocations) = ask(&server, "GET", "/v1/allocations?per_page=1", &Value::Null).await;
    let allocations: Value = serde_json::from_str(&allocations).expect("JSON");
    let allocation = allocations[0]["ID"].as_str().expect("an allocation").to_owned();
    eventually("it was tried", || async {
        let (_, _, body) = ask(&server, "GET", &format!("/v1/allocation/{allocation}"), &Value::Null).await;
        (!serde_json::from_str::<Value>(&body).expect("JSON")["TaskStates"].is_null()).then_some(())
    })
    .await;
    for question in recorded()["rights"].as_array().expect("a list") {
        let member = |key: &str| question[key].as_str().unwrap_or_default();
        let path = member("path").replace("{allocation}", &allocation);
        for answer in ["allowed", "refused"] {
            let real = &question[answer];
            let capabilities = CAPABILITIES.into_iter().filter(|it| answer == "allowed" || *it != member("needs"));
            server.token = fresh().to_string();
            server.allow(&server.token, &capabilities.collect::<Vec<_>>());
            let (status, text, body) = ask(&server, member("method"), &path, &question["body"]).await;
            let where_ = format!("{} {path}, {answer}", member("method"));
            assert_eq!(
                (json!(status), json!(text)),
                (real["status"].clone(), real["text"].clone()),
                "{where_}: {body}"
            );
            if let Value::String(words) = &real["answer"] {
                assert_eq!(body.trim(), words.trim(), "{where_}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_end_as_on_a_real_node() {
    let Some(server) = server().await else { return };
    let (image, registry) = (variable("HAULIER_TEST_IMAGE").unwrap(), variable("HAULIER_TEST_REGISTRY").unwrap());
    for end in recorded()["ends"].as_array().expect("a list") {
        let name = end["name"].as_str().unwrap_or_default();
        let id = name.replace(' ', "-");
        let missing = format!("{registry}/haulier-test/no-such-image:1");
        let image = if end["missing_image"] == json!(true) { &missing } else { &image };
        let job = json!({"ID": id, "Name": id, "Type": "batch", "Datacenters": ["dc1"], "TaskGroups": [{"Name": "run",
            "Tasks": [{"Name": "main", "Driver": "docker", "Config": {"image": image, "entrypoint": [],
                "args": end["command"]}, "Resources": {"CPU": 50, "MemoryMB": end["memory_mb"]}}]}]});
        let (status, _, body) = ask(&server, "POST", "/v1/jobs", &json!({"Job": job})).await;
        assert_eq!(status, 200, "{name}: {body}");
        let allocation: Value = eventually("the task has ended", || async {
            let (_, _, body) = ask(&server, "GET", &format!("/v1/job/{id}/allocations"), &Value::Null).await;
            let all: Value = serde_json::from_str(&body).expect("JSON");
            matches!(all[0]["ClientStatus"].as_str(), Some("complete" | "failed")).then(|| all[0].clone())
        })
        .await;
        assert_eq!(allocation["ClientStatus"], end["client_status"], "{name}");
        assert_eq!(allocation["DesiredStatus"], end["desired_status"], "{name}");
        let task = &allocation["TaskStates"]["main"];
        assert_eq!(json!(!task["StartedAt"].is_null()), end["started"], "{name}");
        let events = task["Events"].as_array().expect("events");
        // Whether an image must be downloaded depends on what ran before.
        let kinds = |events: &[Value], key: &str| -> Vec<Value> {
            events.iter().map(|event| event[key].clone()).filter(|kind| *kind != json!("Driver")).collect()
        };
        let real = end["events"].as_array().expect("events");
        assert_eq!(kinds(events, "Type"), kinds(real, "type"), "{name}: {events:?}");
        for real in real.iter().filter(|event| event["type"] != json!("Driver")) {
            let ours = events.iter().find(|event| event["Type"] == real["type"]).expect("it was compared");
            assert_eq!(ours["ExitCode"], real["exit_code"], "{name}");
            for (key, value) in real["details"].as_object().into_iter().flatten() {
                assert_eq!(&ours["Details"][key], value, "{name}: {key}");
            }
            let words = real["driver_error"].as_str().unwrap_or_default();
            assert!(ours["DriverError"].as_str().unwrap_or_default().starts_with(words), "{name}: {ours}");
        }
        for (keys, object) in [("allocation_keys", &allocation), ("task_keys", task), ("event_keys", &events[0])] {
            for key in end[keys].as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert!(object.get(key).is_some(), "{name}: {key} is missing");
            }
        }
    }
}
