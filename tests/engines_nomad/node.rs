//! What the one node of the cluster does: it runs tasks with the Docker driver, on the tests' own Docker.

use std::{collections::HashMap, path::Path};

use bollard::{
    Docker,
    auth::DockerCredentials,
    container::LogOutput,
    errors::Error,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateImageOptions, LogsOptions, RemoveContainerOptions, StopContainerOptions},
};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::{
    templates,
    world::{Shared, now, timestamp},
};

/// The label of everything that a test server's node has started.
pub const LABEL: &str = "haulier-test.nomad";

/// Runs an allocation's task to its end.
pub async fn run(world: Shared, docker: Docker, server: String, allocation: String, task: Value) {
    let node = Node { world, docker, server, allocation };
    node.event("pending", "Received", "Task received by client", &json!({}));
    node.event("pending", "Task Setup", "Building Task Directory", &json!({"message": "Building Task Directory"}));
    if let Err((kind, words)) = node.try_run(&task).await {
        let details = match kind {
            "Failed Validation" => json!({"validation_error": words}),
            "Killing" => json!({"fails_task": "true"}),
            _ => json!({"driver_error": words}),
        };
        node.event("pending", kind, &words, &details);
        node.end(true);
    }
}

struct Node {
    world: Shared,
    docker: Docker,
    server: String,
    allocation: String,
}

type Failure = (&'static str, String);

impl Node {
    async fn try_run(&self, task: &Value) -> Result<(), Failure> {
        let config = &task["Config"];
        let image = config["image"].as_str().unwrap_or_default();
        let directory = tempfile::tempdir().map_err(|error| driver(&error))?;
        let variables = self.world.state().variables.clone();
        let env = templates::place(task, directory.path(), &variables)
            .map_err(|words| ("Killing", format!("Template failed: {words}")))?;
        if config["force_pull"] == json!(true) || self.docker.inspect_image(image).await.is_err() {
            self.event("pending", "Driver", "Downloading image", &json!({"image": image}));
            self.pull(image, &config["auth"][0]).await.map_err(|error| {
                ("Driver Failure", format!("Failed to pull `{image}`: API error (500): {}", words(&error)))
            })?;
        }
        let body = self.container(task, directory.path(), env)?;
        let created = self.docker.create_container(None, body).await;
        let id = created
            .map_err(|error| ("Driver Failure", format!("Failed to create container: API error: {}", words(&error))))?
            .id;
        let ended = self.start_and_wait(&id, task).await;
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        let _ = self.docker.remove_container(&id, Some(options)).await;
        ended
    }

    async fn start_and_wait(&self, id: &str, task: &Value) -> Result<(), Failure> {
        let mut stop = self.world.state().allocations[&self.allocation].stop.subscribe();
        if *stop.borrow() {
            self.event("pending", "Killing", "Sent interrupt", &json!({}));
            self.end(false);
            return Ok(());
        }
        self.docker.start_container(id, None).await.map_err(|error| {
            ("Driver Failure", format!("Failed to start container {id}: API error (400): {}", words(&error)))
        })?;
        let started = timestamp();
        self.world.update(&self.allocation, |value| {
            value["ClientStatus"] = json!("running");
            value["ClientDescription"] = json!("Tasks are running");
            value["TaskStates"]["main"]["StartedAt"] = json!(started);
        });
        self.event("running", "Started", "Task started by client", &json!({}));
        let output = self.collect(id, false);
        let grace = task["KillTimeout"].as_u64().unwrap_or(5_000_000_000).div_ceil(1_000_000_000);
        let stopping = async {
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
            let words = format!("Sent interrupt. Waiting {grace}s before force killing");
            self.event("running", "Killing", &words, &json!({"kill_timeout": format!("{grace}s")}));
            let options = StopContainerOptions { signal: None, t: i32::try_from(grace).ok() };
            let _ = self.docker.stop_container(id, Some(options)).await;
            std::future::pending::<()>().await;
        };
        tokio::select! { () = output => {} () = stopping => {} }
        // The daemon tells of the kill's reason a little later than of the kill.
        let mut state = None;
        for _ in 0..60 {
            let found = self.docker.inspect_container(id, None).await.map_err(|error| driver(&error))?;
            let known = found.state.unwrap_or_default();
            let settled =
                known.running == Some(false) && (known.exit_code != Some(137) || known.oom_killed == Some(true));
            state = Some(known);
            if settled {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        self.collect(id, true).await;
        let state = state.unwrap_or_default();
        let code = state.exit_code.unwrap_or(0);
        let oom = state.oom_killed == Some(true);
        let message = if oom {
            "OOM Killed".to_owned()
        } else {
            format!("Docker container exited with non-zero exit code: {code}")
        };
        let details = json!({"exit_code": code.to_string(), "signal": "0", "oom_killed": oom.to_string(),
            "exit_message": message});
        self.event("running", "Terminated", &format!("Exit Code: {code}, Exit Message: {message:?}"), &details);
        let stopped = *stop.borrow();
        self.world.update(&self.allocation, |value| {
            if let Some(event) = value["TaskStates"]["main"]["Events"].as_array_mut().and_then(|all| all.last_mut()) {
                event["ExitCode"] = json!(code);
            }
        });
        self.end(code != 0 && !stopped);
        Ok(())
    }

    /// Keeps what the container writes, until it ends; with `again` all that it has written, for what is followed may
    /// break off before its end.
    async fn collect(&self, id: &str, again: bool) {
        let options = LogsOptions { follow: !again, stdout: true, stderr: true, ..Default::default() };
        let mut output = self.docker.logs(id, Some(options));
        let mut known = match again {
            true => self.world.state().allocations[&self.allocation].output.each_ref().map(Vec::len),
            false => [0; 2],
        };
        while let Some(Ok(piece)) = output.next().await {
            let file = usize::from(matches!(piece, LogOutput::StdErr { .. }));
            let bytes = piece.into_bytes();
            let new = bytes.slice(known[file].min(bytes.len())..);
            known[file] -= bytes.len() - new.len();
            if let Some(allocation) = self.world.state().allocations.get_mut(&self.allocation) {
                allocation.output[file].extend_from_slice(&new);
            }
        }
    }

    async fn pull(&self, image: &str, auth: &Value) -> Result<(), Error> {
        let text = |key: &str| auth[key].as_str().map(str::to_owned);
        let login = auth.is_object().then(|| DockerCredentials {
            username: text("username"),
            password: text("password"),
            serveraddress: text("server_address"),
            ..Default::default()
        });
        let options = CreateImageOptions { from_image: Some(image.to_owned()), ..Default::default() };
        self.docker.create_image(Some(options), None, login).try_for_each(|_| async { Ok(()) }).await
    }

    fn container(
        &self,
        task: &Value,
        directory: &Path,
        of_templates: HashMap<String, String>,
    ) -> Result<ContainerCreateBody, Failure> {
        let (config, resources) = (&task["Config"], &task["Resources"]);
        let list = |key: &str| -> Result<Option<Vec<String>>, Failure> {
            let Some(parts) = config[key].as_array() else { return Ok(None) };
            let parts = parts.iter().map(|part| interpolated(part.as_str().unwrap_or_default()));
            parts.collect::<Result<_, _>>().map(Some).map_err(|words| ("Failed Validation", words))
        };
        let env = task["Env"].as_object().into_iter().flatten();
        let mut env: HashMap<_, _> =
            env.map(|(name, value)| (name.clone(), in_env(value.as_str().unwrap_or_default()))).collect();
        env.extend(of_templates);
        let memory = resources["MemoryMB"].as_i64().map(|mb| mb * 1024 * 1024);
        let hard = config["cpu_hard_limit"] == json!(true);
        let volumes = config["volumes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(ContainerCreateBody {
            image: config["image"].as_str().map(str::to_owned),
            entrypoint: list("entrypoint")?,
            cmd: list("args")?,
            env: Some(env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            labels: Some(HashMap::from([(LABEL.to_owned(), self.server.clone())])),
            host_config: Some(HostConfig {
                init: config["init"].as_bool(),
                memory,
                memory_swap: memory,
                // One processor of this node is 1000 MHz.
                nano_cpus: hard.then(|| resources["CPU"].as_i64().unwrap_or(100) * 1_000_000),
                pids_limit: config["pids_limit"].as_i64(),
                binds: Some(volumes.map(|volume| format!("{}/{volume}", directory.display())).collect()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        })
    }

    /// Notes what befell the task; the last ten are kept.
    fn event(&self, state: &str, kind: &str, words: &str, details: &Value) {
        let error = if kind == "Driver Failure" { words } else { "" };
        let event = json!({"Type": kind, "Time": now(), "Message": "", "DisplayMessage": words, "Details": details,
            "FailsTask": false, "RestartReason": "", "SetupError": "", "DriverError": error, "ExitCode": 0,
            "Signal": 0, "KillTimeout": 0, "KillError": "", "KillReason": "", "StartDelay": 0, "DownloadError": "",
            "ValidationError": "", "DiskLimit": 0, "FailedSibling": "", "VaultError": "", "TaskSignalReason": "",
            "TaskSignal": "", "DriverMessage": "", "GenericSource": ""});
        self.world.update(&self.allocation, |value| {
            if value["TaskStates"].is_null() {
                value["TaskStates"] = json!({"main": {"State": state, "Failed": false, "Restarts": 0,
                    "LastRestart": null, "StartedAt": null, "FinishedAt": null, "Events": []}});
            }
            let task = &mut value["TaskStates"]["main"];
            task["State"] = json!(state);
            if let Some(events) = task["Events"].as_array_mut() {
                events.push(event);
                let surplus = events.len().saturating_sub(10);
                events.drain(..surplus);
            }
        });
    }

    fn end(&self, failed: bool) {
        let ended = timestamp();
        let restart = "Policy allows no restarts";
        if failed {
            self.event("dead", "Not Restarting", restart, &json!({"restart_reason": restart, "fails_task": "true"}));
        }
        self.world.update(&self.allocation, |value| {
            let task = &mut value["TaskStates"]["main"];
            (task["State"], task["Failed"], task["FinishedAt"]) = (json!("dead"), json!(failed), json!(ended));
            let (status, words) =
                if failed { ("failed", "Failed tasks") } else { ("complete", "All tasks have completed") };
            (value["ClientStatus"], value["ClientDescription"]) = (json!(status), json!(words));
        });
    }
}

fn driver(error: &dyn std::fmt::Display) -> Failure {
    ("Driver Failure", error.to_string())
}

fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        other => other.to_string(),
    }
}

/// As the driver's configuration is: what looks like an expression must be escaped.
fn interpolated(text: &str) -> Result<String, String> {
    let (mut rest, mut done) = (text, String::new());
    while let Some(at) = rest.find(['$', '%']) {
        done.push_str(&rest[..at]);
        rest = &rest[at..];
        let sign = &rest[..1];
        if rest[1..].starts_with(sign) && rest[2..].starts_with('{') {
            done.push_str(sign);
            done.push('{');
            rest = &rest[3..];
        } else if rest[1..].starts_with('{') {
            return Err(format!("failed to parse config: unknown variable in {text:?}"));
        } else {
            done.push_str(sign);
            rest = &rest[1..];
        }
    }
    done.push_str(rest);
    Ok(done)
}

/// As an environment is: known names are replaced, all else stays.
fn in_env(text: &str) -> String {
    text.replace("${NOMAD_META_haulier_dollar}", "$")
}
