//! From a launch to the cluster's objects. Pure.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use k8s_openapi::{
    ByteString, DeepMerge,
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Container, EnvVar, EnvVarSource, KeyToPath, LocalObjectReference, PodSpec, PodTemplateSpec,
            ResourceRequirements, Secret, SecretKeySelector, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::{
    domain::Resources,
    engines::{Credentials, LaunchFile, LaunchSpec, PullPolicy, label},
};

/// What the script's own container is called.
pub(super) const CONTAINER: &str = "job";
/// Keeps the pod's record until its result is stored, through eviction, deletion and the loss of its node.
pub(super) const FINALIZER: &str = "haulier.io/record";
/// The volume that files lie in.
const FILES: &str = "haulier-files";

/// All that makes a launch.
pub(super) struct Manifests {
    pub(super) job: Job,
    /// The environment, the files, the registry's login: what only the node's kubelet needs to read.
    pub(super) secrets: Vec<Secret>,
}

// What is in the secrets is nobody's business.
impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifests").field("job", &self.job).finish_non_exhaustive()
    }
}

/// The objects of this launch. `template`: what the engine's settings say about every pod.
pub(super) fn render(spec: &LaunchSpec, template: &PodTemplateSpec, service_account: Option<&str>) -> Manifests {
    let LaunchSpec {
        owner: _,
        attempt: _,
        job: _,
        project: _,
        image,
        pull,
        credentials,
        command,
        args,
        env,
        files,
        resources,
        kill_grace,
        deadline,
    } = spec;
    let name = spec.name().to_string();
    let pull_secret = format!("{name}-pull");
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(image.clone()),
        image_pull_policy: Some(match pull {
            PullPolicy::Always => "Always".to_owned(),
            PullPolicy::IfMissing => "IfNotPresent".to_owned(),
        }),
        command: command.as_ref().map(|words| words.iter().map(|word| exact(word)).collect()),
        args: (!args.is_empty()).then(|| args.iter().map(|word| exact(word)).collect()),
        env: some(
            env.iter().enumerate().map(|(index, variable)| variable_from(&variable.name, &name, index)).collect(),
        ),
        resources: limits(*resources),
        volume_mounts: some(files.iter().enumerate().map(|(index, file)| mount(file, index)).collect()),
        ..Container::default()
    };
    let ours = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(spec)),
            finalizers: Some(vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            restart_policy: Some("Never".to_owned()),
            service_account_name: service_account.map(str::to_owned),
            termination_grace_period_seconds: Some(seconds(*kill_grace)),
            active_deadline_seconds: Some(seconds(*deadline).max(1)),
            image_pull_secrets: credentials.as_ref().map(|_| vec![LocalObjectReference { name: pull_secret.clone() }]),
            volumes: some(volumes(files, &name)),
            containers: vec![container],
            ..PodSpec::default()
        }),
    };
    let mut pod = defaults();
    pod.merge_from(template.clone());
    pod.merge_from(ours);
    // A variable has one source: ours.
    for variable in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers).filter_map(|it| it.env.as_mut()).flatten()
    {
        if variable.value_from.is_some() {
            variable.value = None;
        }
    }
    let job = Job {
        metadata: ObjectMeta { name: Some(name.clone()), labels: Some(labels(spec)), ..ObjectMeta::default() },
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            // A pod that is being deleted may still run: no other may start beside it. Older servers drop this.
            pod_replacement_policy: Some("Failed".to_owned()),
            template: pod,
            ..JobSpec::default()
        }),
        ..Job::default()
    };
    let mut secrets = Vec::new();
    if !env.is_empty() || !files.is_empty() {
        secrets.push(inputs(spec, name));
    }
    secrets.extend(credentials.as_ref().map(|login| registry_login(spec, login, pull_secret)));
    Manifests { job, secrets }
}

/// What a pod is, unless the template says otherwise.
fn defaults() -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: None,
        spec: Some(PodSpec {
            // Scripts have no business with the cluster.
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            // The sandbox's own process is then process 1: the script ends on TERM without a handler, and what it
            // leaves behind is reaped.
            share_process_namespace: Some(true),
            containers: vec![Container {
                name: CONTAINER.to_owned(),
                security_context: Some(SecurityContext {
                    allow_privilege_escalation: Some(false),
                    ..SecurityContext::default()
                }),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
    }
}

fn labels(spec: &LaunchSpec) -> BTreeMap<String, String> {
    spec.labels().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Kubernetes replaces `$(NAME)` in commands and arguments, and every `$$` by `$`.
fn exact(word: &str) -> String {
    word.replace('$', "$$")
}

/// Values that come from a secret are taken as they are.
fn variable_from(variable: &str, secret: &str, index: usize) -> EnvVar {
    let key = SecretKeySelector { name: secret.to_owned(), key: env_key(index), optional: Some(false) };
    EnvVar {
        name: variable.to_owned(),
        value_from: Some(EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

fn env_key(index: usize) -> String {
    format!("env-{index}")
}

fn file_key(index: usize) -> String {
    format!("file-{index}")
}

fn limits(Resources { cpu, memory_mb, pids: _ }: Resources) -> Option<ResourceRequirements> {
    let cpu = cpu.map(|cpu| ("cpu".to_owned(), Quantity(format!("{:.0}m", (cpu * 1000.0).ceil()))));
    let memory = memory_mb.map(|mb| ("memory".to_owned(), Quantity(format!("{mb}Mi"))));
    let limits: BTreeMap<_, _> = cpu.into_iter().chain(memory).collect();
    // What is requested defaults to the limit.
    (!limits.is_empty()).then(|| ResourceRequirements { limits: Some(limits), ..ResourceRequirements::default() })
}

/// Each file is mounted by itself, so that what the image has beside it stays.
fn mount(file: &LaunchFile, index: usize) -> VolumeMount {
    VolumeMount {
        name: FILES.to_owned(),
        mount_path: file.path.clone(),
        sub_path: Some(file_key(index)),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn volumes(files: &[LaunchFile], secret: &str) -> Vec<Volume> {
    if files.is_empty() {
        return Vec::new();
    }
    let items = files.iter().enumerate().map(|(index, file)| KeyToPath {
        key: file_key(index),
        path: file_key(index),
        mode: Some(readable(file.mode)),
    });
    let source = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        items: Some(items.collect()),
        ..SecretVolumeSource::default()
    };
    vec![Volume { name: FILES.to_owned(), secret: Some(source), ..Volume::default() }]
}

/// Files belong to root, and nobody knows as whom the image runs: who may read them as the owner may read them as
/// anybody. Nobody but the script is in there.
#[expect(clippy::cast_possible_wrap, reason = "permission bits are few")]
fn readable(mode: u32) -> i32 {
    let owner = mode & 0o500;
    (mode & 0o777 | owner >> 3 | owner >> 6) as i32
}

fn inputs(spec: &LaunchSpec, name: String) -> Secret {
    let env = spec.env.iter().enumerate();
    let env = env.map(|(index, it)| (env_key(index), ByteString(it.value.expose_secret().as_bytes().to_vec())));
    let files = spec.files.iter().enumerate();
    let files = files.map(|(index, file)| (file_key(index), ByteString(file.content.expose_secret().to_vec())));
    secret(spec, name, "Opaque", env.chain(files).collect())
}

fn registry_login(spec: &LaunchSpec, login: &Credentials, name: String) -> Secret {
    let Credentials { server, username, password } = login;
    let auth = BASE64_STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    let config = json!({"auths": {server: {"auth": auth}}}).to_string().into_bytes();
    let data = BTreeMap::from([(".dockerconfigjson".to_owned(), ByteString(config))]);
    secret(spec, name, "kubernetes.io/dockerconfigjson", data)
}

fn secret(spec: &LaunchSpec, name: String, kind: &str, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta { name: Some(name), labels: Some(labels(spec)), ..ObjectMeta::default() },
        immutable: Some(true),
        type_: Some(kind.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

/// Makes a secret go when its job goes.
pub(super) fn owned_by(job: &Job) -> OwnerReference {
    OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        controller: None,
        block_owner_deletion: None,
    }
}

/// Whether an object carries the labels of this launch's attempt.
pub(super) fn is_of(metadata: &ObjectMeta, spec: &LaunchSpec) -> bool {
    let wanted =
        spec.labels().into_iter().filter(|(name, _)| [label::OWNER, label::RUN, label::ATTEMPT].contains(name));
    let labels = metadata.labels.as_ref();
    wanted.into_iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(&value))
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
