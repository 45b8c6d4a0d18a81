//! Who may read jobs sees no secrets.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use haulier::engines::{LaunchFile, LaunchVariable};
use reqwest::{Client, Method};
use serde_json::Value;

use super::cluster::{ALL, Cluster, run, spec};

const SECRETS: [&str; 2] = ["secret-of-the-environment", "secret-of-a-file"];

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_in_the_job_and_go_with_it() {
    let Some(cluster) = Cluster::find("secrets on Nomad").await else { return };
    let token = cluster.token(&ALL).await;
    let engine = cluster.engine(&token.secret);
    let mut spec = spec();
    let script = "[ ${#TOKEN} = 25 ] && [ $PLAIN = seen ] && [ $(wc -c < /run/secrets/file) = 16 ]";
    (spec.command, spec.args) = (Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec()), Vec::new());
    spec.env = vec![LaunchVariable::secret("TOKEN", SECRETS[0]), LaunchVariable::plain("PLAIN", "seen")];
    let (path, content) = ("/run/secrets/file".to_owned(), SECRETS[1].as_bytes().to_vec().into());
    spec.files = vec![LaunchFile { path, content, mode: 0o400, secret: true }];
    let handle = run(&engine, &spec).await;

    let get = async |path: String| {
        let request = Client::new().get(format!("http://{}{path}", cluster.address()));
        let answer = request.header("X-Nomad-Token", &token.secret).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}");
        answer.text().await.expect("a body")
    };
    let job = get(format!("/v1/job/{}", handle.id)).await;
    assert!(job.contains("seen"));
    let allocations = get(format!("/v1/job/{}/allocations", handle.id)).await;
    let id = serde_json::from_str::<Value>(&allocations).expect("JSON")[0]["ID"].as_str().expect("an id").to_owned();
    let allocation = get(format!("/v1/allocation/{id}")).await;
    let evaluations = get(format!("/v1/job/{}/evaluations", handle.id)).await;
    for text in [job, allocations, allocation, evaluations] {
        for secret in SECRETS {
            assert!(!text.contains(secret) && !text.contains(&BASE64_STANDARD.encode(secret)), "{text}");
        }
    }

    engine.remove(&handle).await.expect("it is removed");
    match &cluster {
        Cluster::Own(server) => assert_eq!(server.count(), (0, 0)),
        Cluster::Real { .. } => {
            let path = format!("/v1/vars?prefix=nomad/jobs/{}", handle.id);
            assert_eq!(cluster.ask(Method::GET, &path, &Value::Null).await, Value::Array(Vec::new()));
        }
    }
    cluster.forget(token).await;
}
