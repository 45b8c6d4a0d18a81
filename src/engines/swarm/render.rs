//! From a launch to the manager's requests. Pure.

use std::collections::HashMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bollard::models::{
    ConfigSpec, Limit, NetworkAttachmentConfig, ResourceObject, SecretSpec, ServiceSpec, ServiceSpecMode,
    ServiceSpecModeReplicated, TaskSpec, TaskSpecContainerSpec, TaskSpecContainerSpecConfigs,
    TaskSpecContainerSpecFile, TaskSpecContainerSpecFile1, TaskSpecContainerSpecSecrets, TaskSpecLogDriver,
    TaskSpecPlacement, TaskSpecResources, TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum,
};
use secrecy::ExposeSecret;

use super::SwarmConfig;
use crate::{
    domain::Resources,
    engines::{LaunchFile, LaunchSpec},
};

/// No node satisfies this: with it, nothing of a service runs, and what ran is ended and keeps its result.
pub(super) const NOWHERE: &str = "node.labels.haulier.stopped==never";

/// One file of a launch, with the id that the manager gave its content.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) id: String,
    /// What the content is called on the manager.
    pub(super) name: String,
}

/// The service of this launch. The files were stored before, in the launch's order.
pub(super) fn render(spec: &LaunchSpec, image: String, placed: &[Placed], config: &SwarmConfig) -> ServiceSpec {
    let LaunchSpec {
        owner: _,
        attempt: _,
        job: _,
        project: _,
        image: _,
        pull: _,
        credentials: _,
        command,
        args,
        env: _,
        files,
        resources: Resources { cpu, memory_mb, pids },
        kill_grace,
        deadline: _,
    } = spec;
    #[expect(clippy::cast_possible_truncation, reason = "a number of processors is small")]
    let nano_cpus = cpu.map(|cpu| (cpu * 1e9) as i64);
    let memory_bytes = memory_mb.map(|mb| i64::from(mb) * 1024 * 1024);
    let log_options =
        [("max-size", format!("{}m", config.log_file_mb.max(1))), ("max-file", config.log_files.max(1).to_string())];
    let (secrets, configs) = references(files, placed);
    ServiceSpec {
        name: Some(spec.name().to_string()),
        labels: Some(labels(spec)),
        // A job of the swarm's own would be run again after each restart of a manager.
        mode: Some(ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated { replicas: Some(1) }),
            ..ServiceSpecMode::default()
        }),
        task_template: Some(TaskSpec {
            container_spec: Some(TaskSpecContainerSpec {
                image: Some(image),
                labels: Some(labels(spec)),
                command: command.clone(),
                args: (!args.is_empty()).then(|| args.clone()),
                env: Some(spec.exposed_env().iter().map(|variable| literal(variable)).collect()),
                tty: Some(false),
                open_stdin: Some(false),
                stop_signal: Some("SIGTERM".to_owned()),
                stop_grace_period: Some(i64::try_from(kill_grace.as_nanos()).unwrap_or(i64::MAX)),
                secrets: (!secrets.is_empty()).then_some(secrets),
                configs: (!configs.is_empty()).then_some(configs),
                // Passes TERM on, which a script as process 1 would ignore, and reaps what it leaves behind.
                init: Some(true),
                ..TaskSpecContainerSpec::default()
            }),
            resources: Some(TaskSpecResources {
                limits: Some(Limit {
                    nano_cpus,
                    memory_bytes,
                    pids: Some(i64::from(pids.unwrap_or(config.default_pids))),
                }),
                // What it may use is kept free for it: otherwise the swarm would pile everything on one node.
                reservations: Some(ResourceObject { nano_cpus, memory_bytes, generic_resources: None }),
                ..TaskSpecResources::default()
            }),
            restart_policy: Some(TaskSpecRestartPolicy {
                condition: Some(TaskSpecRestartPolicyConditionEnum::NONE),
                ..TaskSpecRestartPolicy::default()
            }),
            placement: Some(TaskSpecPlacement {
                constraints: Some(config.constraints.clone()),
                ..TaskSpecPlacement::default()
            }),
            networks: config.network.clone().map(|network| {
                vec![NetworkAttachmentConfig { target: Some(network), ..NetworkAttachmentConfig::default() }]
            }),
            log_driver: Some(TaskSpecLogDriver {
                name: Some("json-file".to_owned()),
                options: Some(HashMap::from(log_options.map(|(name, value)| (name.to_owned(), value)))),
            }),
            ..TaskSpec::default()
        }),
        ..ServiceSpec::default()
    }
}

/// What the content of the launch's file number `index` is called.
pub(super) fn content_name(spec: &LaunchSpec, index: usize) -> String {
    format!("{}-f{index}", spec.name())
}

pub(super) fn secret(spec: &LaunchSpec, index: usize, file: &LaunchFile) -> SecretSpec {
    SecretSpec {
        name: Some(content_name(spec, index)),
        labels: Some(labels(spec)),
        data: Some(BASE64_STANDARD.encode(file.content.expose_secret())),
        ..SecretSpec::default()
    }
}

pub(super) fn config(spec: &LaunchSpec, index: usize, file: &LaunchFile) -> ConfigSpec {
    let SecretSpec { name, labels, data, .. } = secret(spec, index, file);
    ConfigSpec { name, labels, data, templating: None }
}

fn labels(spec: &LaunchSpec) -> HashMap<String, String> {
    spec.labels().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn references(
    files: &[LaunchFile],
    placed: &[Placed],
) -> (Vec<TaskSpecContainerSpecSecrets>, Vec<TaskSpecContainerSpecConfigs>) {
    let (mut secrets, mut configs) = (Vec::new(), Vec::new());
    for (LaunchFile { path, content: _, mode, secret }, placed) in files.iter().zip(placed) {
        let (path, mode) = (Some(path.clone()), Some(readable(*mode)));
        let (root, id, name) = (Some("0".to_owned()), Some(placed.id.clone()), Some(placed.name.clone()));
        if *secret {
            let file = TaskSpecContainerSpecFile { name: path, uid: root.clone(), gid: root, mode };
            secrets.push(TaskSpecContainerSpecSecrets { file: Some(file), secret_id: id, secret_name: name });
        } else {
            let file = TaskSpecContainerSpecFile1 { name: path, uid: root.clone(), gid: root, mode };
            let reference = TaskSpecContainerSpecConfigs {
                file: Some(file),
                config_id: id,
                config_name: name,
                ..TaskSpecContainerSpecConfigs::default()
            };
            configs.push(reference);
        }
    }
    (secrets, configs)
}

/// A manager does not know which user an image runs as: what its owner may read, everybody in the container may.
fn readable(mode: u32) -> u32 {
    let read = mode & 0o400;
    mode | read >> 3 | read >> 6
}

/// The swarm takes the environment for Go templates.
fn literal(text: &str) -> String {
    text.replace("{{", r#"{{"{{"}}"#)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::engines::LaunchVariable;

    fn spec() -> LaunchSpec {
        let env = vec![LaunchVariable::plain("A", "${b} {{ c }}")];
        LaunchSpec { env, ..LaunchSpec::example() }
    }

    fn without_nulls(value: &mut Value) {
        if let Value::Object(members) = value {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
    }

    #[test]
    fn everything_asked_for_is_in_the_service_and_no_content() {
        let spec = spec();
        let placed = [1, 2].map(|n| Placed { id: format!("id{n}"), name: format!("name{n}") });
        let config = SwarmConfig { network: Some("jobs".to_owned()), ..SwarmConfig::default() };
        let mut rendered =
            serde_json::to_value(render(&spec, "registry.example.com/load:1".to_owned(), &placed, &config)).unwrap();
        without_nulls(&mut rendered);
        assert!(!rendered.to_string().contains("file-content"));
        let labels = json!({
            "haulier.owner": "00000000-0000-0000-0000-000000000001",
            "haulier.run": "00000000-0000-0000-0000-000000000002",
            "haulier.attempt": "3",
            "haulier.spec": spec.hash(),
            "haulier.job": "load-orders",
            "haulier.project": "default",
        });
        let expected = json!({
            "Name": spec.name().to_string(),
            "Labels": labels,
            "Mode": {"Replicated": {"Replicas": 1}},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "registry.example.com/load:1",
                    "Labels": labels,
                    "Command": ["python"],
                    "Args": ["-m", "load"],
                    "Env": ["A=${b} {{\"{{\"}} c }}"],
                    "TTY": false,
                    "OpenStdin": false,
                    "StopSignal": "SIGTERM",
                    "StopGracePeriod": 10_000_000_000_i64,
                    "Init": true,
                    "Secrets": [{
                        "File": {"Name": "/run/secrets/token", "UID": "0", "GID": "0", "Mode": 0o444},
                        "SecretID": "id1",
                        "SecretName": "name1",
                    }],
                    "Configs": [{
                        "File": {"Name": "/etc/app.json", "UID": "0", "GID": "0", "Mode": 0o444},
                        "ConfigID": "id2",
                        "ConfigName": "name2",
                    }],
                },
                "Resources": {
                    "Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 268_435_456, "Pids": 4096},
                    "Reservations": {"NanoCPUs": 500_000_000, "MemoryBytes": 268_435_456},
                },
                "RestartPolicy": {"Condition": "none"},
                "Placement": {"Constraints": []},
                "Networks": [{"Target": "jobs"}],
                "LogDriver": {"Name": "json-file", "Options": {"max-size": "64m", "max-file": "4"}},
            },
        });
        assert_eq!(rendered, expected);
    }

    #[test]
    fn names_of_content_fit() {
        // The manager takes no more.
        assert!(content_name(&spec(), 999).len() <= 64);
    }

    #[test]
    fn what_the_owner_may_read_everybody_may() {
        assert_eq!([0o400, 0o644, 0o600, 0o700].map(readable), [0o444, 0o644, 0o644, 0o744]);
    }
}
