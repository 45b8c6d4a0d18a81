//! From a launch to the daemon's request. Pure.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum};

use super::DockerConfig;
use crate::{domain::Resources, engines::LaunchSpec};

/// Where secret files lie: an anonymous volume, so that they are never part of the container's own layer.
pub(super) const SECRETS: &str = "/run/secrets";

/// The request that makes this launch's container. The content of files is not in it: it is put in place afterwards.
pub(super) fn render(spec: &LaunchSpec, config: &DockerConfig, podman: bool) -> ContainerCreateBody {
    let LaunchSpec {
        owner: _,
        attempt: _,
        job: _,
        project: _,
        image,
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
    let memory = memory_mb.map(|mb| i64::from(mb) * 1024 * 1024);
    let (log_mb, log_files) = (config.log_file_mb.max(1), config.log_files.max(1));
    // Podman keeps one file, and throws all of it away when it is full.
    let (log_mb, log_files) = if podman { (log_mb.saturating_mul(log_files), 1) } else { (log_mb, log_files) };
    let log_options = [("max-size", format!("{log_mb}m")), ("max-file", log_files.to_string())];
    ContainerCreateBody {
        image: Some(image.clone()),
        entrypoint: command.clone(),
        // An empty list would not be "the image's own" where the entry point is replaced.
        cmd: (!args.is_empty() || command.is_some()).then(|| args.clone()),
        env: Some(spec.exposed_env()),
        labels: Some(spec.labels().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        volumes: files.iter().any(|file| file.secret).then(|| vec![SECRETS.to_owned()]),
        tty: Some(false),
        open_stdin: Some(false),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(i64::try_from(kill_grace.as_secs()).unwrap_or(i64::MAX)),
        host_config: Some(HostConfig {
            // Passes TERM on, which a script as process 1 would ignore, and reaps what it leaves behind.
            init: Some(true),
            memory,
            // The same: no swap.
            memory_swap: memory,
            #[expect(clippy::cast_possible_truncation, reason = "a number of processors is small")]
            nano_cpus: cpu.map(|cpu| (cpu * 1e9) as i64),
            pids_limit: Some(i64::from(pids.unwrap_or(config.default_pids))),
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
            // The record must stay until its result is stored.
            auto_remove: Some(false),
            network_mode: config.network.clone(),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from(log_options.map(|(name, value)| (name.to_owned(), value)))),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_asked_for_is_in_the_request_and_no_file() {
        let config = DockerConfig { network: Some("jobs".to_owned()), ..DockerConfig::default() };
        let spec = LaunchSpec::example();
        let rendered = serde_json::to_value(render(&spec, &config, false)).unwrap();
        assert!(!rendered.to_string().contains("file-content"));
        let expected = json!({
            "Image": "registry.example.com/load:1",
            "Entrypoint": ["python"],
            "Cmd": ["-m", "load"],
            "Env": ["A=${b}"],
            "Labels": {
                "haulier.owner": "00000000-0000-0000-0000-000000000001",
                "haulier.run": "00000000-0000-0000-0000-000000000002",
                "haulier.attempt": "3",
                "haulier.spec": spec.hash(),
                "haulier.job": "load-orders",
                "haulier.project": "default",
            },
            "Volumes": {"/run/secrets": {}},
            "Tty": false,
            "OpenStdin": false,
            "StopSignal": "SIGTERM",
            "StopTimeout": 10,
            "HostConfig": {
                "Init": true,
                "Memory": 268_435_456,
                "MemorySwap": 268_435_456,
                "NanoCpus": 500_000_000,
                "PidsLimit": 4096,
                "RestartPolicy": {"Name": "no"},
                "AutoRemove": false,
                "NetworkMode": "jobs",
                "SecurityOpt": ["no-new-privileges"],
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "64m", "max-file": "4"}},
            },
        });
        let mut rendered = rendered;
        without_nulls(&mut rendered);
        assert_eq!(rendered, expected);
    }

    #[test]
    fn what_is_not_asked_for_is_left_to_the_image() {
        let mut spec = LaunchSpec::example();
        (spec.command, spec.args) = (None, Vec::new());
        spec.files.clear();
        spec.resources = Resources { cpu: None, memory_mb: None, pids: Some(9) };
        let rendered = render(&spec, &DockerConfig::default(), false);
        assert_eq!((rendered.entrypoint, rendered.cmd, rendered.volumes), (None, None, None));
        let host = rendered.host_config.unwrap();
        assert_eq!((host.memory, host.memory_swap, host.nano_cpus, host.pids_limit), (None, None, None, Some(9)));
    }

    #[test]
    fn one_file_of_output_is_as_large_as_all_of_them() {
        let log =
            render(&LaunchSpec::example(), &DockerConfig::default(), true).host_config.unwrap().log_config.unwrap();
        let expected =
            [("max-size", "256m"), ("max-file", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(log.config, Some(HashMap::from(expected)));
    }

    fn without_nulls(value: &mut serde_json::Value) {
        if let serde_json::Value::Object(members) = value {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
    }
}
