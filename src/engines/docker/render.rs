//! From a launch to the daemon's request. Pure.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum};

use super::DockerConfig;
use crate::{domain::Resources, engines::LaunchSpec};

/// Where secret files lie: an anonymous volume, so that they are never part of the container's own layer.
pub(super) const SECRETS: &str = "/run/secrets";

/// The request that makes this launch's container. The content of files is not in it: it is put in place afterwards.
pub(super) fn render(spec: &LaunchSpec, config: &DockerConfig) -> ContainerCreateBody {
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
    let log_options =
        [("max-size", format!("{}m", config.log_file_mb.max(1))), ("max-file", config.log_files.max(1).to_string())];
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
