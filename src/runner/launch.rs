//! From a stored plan to what an engine is asked to launch.

use std::{collections::BTreeMap, time::Duration};

use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::Shared;
use crate::{
    domain::{AttemptEnd, ErrorCode, Given, GivenAs, JobConfig, Project, SecretDelivery, TraceParent},
    engines::{Credentials, LaunchFile, LaunchSpec, LaunchVariable, PullPolicy},
    registry::server_of,
    store::{LaunchPlan, SCHEDULER, StoreError},
    vault::KeyError,
};

/// Time beyond the run's timeout and grace after which an engine may end a workload by itself.
const MARGIN: Duration = Duration::from_secs(120);

/// What to launch, and every value that must not stand in the log.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) spec: LaunchSpec,
    pub(super) secrets: Vec<SecretString>,
}

/// Why nothing can be launched.
#[derive(Debug)]
pub(super) enum PrepareError {
    /// It never will: this is the attempt's end.
    Never(AttemptEnd),
    /// The database failed: try again.
    NotNow(StoreError),
}

impl From<StoreError> for PrepareError {
    fn from(error: StoreError) -> Self {
        Self::NotNow(error)
    }
}

impl From<KeyError> for PrepareError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => Self::NotNow(error),
            KeyError::Vault(_) | KeyError::Unreadable(_) => {
                never(ErrorCode::ConfigInvalid, format!("the job's configuration cannot be opened: {error}"))
            }
        }
    }
}

fn never(code: ErrorCode, message: String) -> PrepareError {
    PrepareError::Never(AttemptEnd::Failed { code, message, exit_code: None })
}

pub(super) async fn prepare(shared: &Shared, plan: &LaunchPlan) -> Result<Prepared, PrepareError> {
    let (run, spec) = (&plan.run, &plan.revision.spec);
    let project = shared.store.project_by_id(run.project).await?;
    let (project, _) = project.ok_or_else(|| never(ErrorCode::ConfigInvalid, "the project is gone".to_owned()))?;
    if !project.allows(&spec.image) {
        let message = format!("project {} does not allow the image {}", project.name, spec.image);
        return Err(never(ErrorCode::ImageNotAllowed, message));
    }
    let config = shared.keys.open_config(run.project, run.job, run.revision, &plan.config).await?;
    let mut env: BTreeMap<String, LaunchVariable> = BTreeMap::new();
    let mut set = |variable: LaunchVariable| _ = env.insert(variable.name.clone(), variable);
    config.env.iter().for_each(|(name, value)| set(LaunchVariable::plain(name, value.as_str())));
    if let Some(sealed) = &plan.env {
        let own: BTreeMap<String, String> = shared.keys.open_env(run.project, run.id, sealed).await?;
        own.into_iter().for_each(|(name, value)| set(LaunchVariable::plain(name, value)));
    }
    let mut files = plain_files(&config);
    let mut secrets = Vec::new();
    for (name, value) in resolve_secrets(shared, &project, &config).await? {
        match config.secrets[&name].delivery {
            SecretDelivery::Env => set(LaunchVariable::secret(name, value.clone())),
            SecretDelivery::File => files.push(LaunchFile {
                path: format!("/run/secrets/{name}"),
                content: SecretSlice::from(value.expose_secret().as_bytes().to_vec()),
                mode: 0o400,
                secret: true,
            }),
        }
        secrets.push(value);
    }
    for (name, given) in given(shared, plan, &config) {
        let value = match given {
            GivenAs::Variable(value) => value,
            GivenAs::File { path, content } => {
                let content = SecretSlice::from(content.into_bytes());
                files.push(LaunchFile { path: path.clone(), content, mode: 0o444, secret: false });
                path
            }
        };
        set(LaunchVariable::plain(name, value));
    }
    let credentials = credentials(shared, plan, &project).await?;
    secrets.extend(credentials.iter().map(|login| login.password.clone()));
    let grace = Duration::from_secs(u64::from(spec.kill_grace_seconds));
    Ok(Prepared {
        spec: LaunchSpec {
            owner: shared.store.installation(),
            attempt: plan.attempt.id,
            job: run.job_name.to_string(),
            project: project.name.to_string(),
            image: spec.image.clone(),
            pull: pull_policy(&spec.image),
            credentials,
            command: spec.command.clone(),
            args: spec.args.clone(),
            env: env.into_values().collect(),
            files,
            resources: spec.resources,
            kill_grace: grace,
            deadline: Duration::from_secs(u64::from(run.timeout_seconds)) + grace + MARGIN,
        },
        secrets,
    })
}

/// What Haulier gives to every script.
fn given(shared: &Shared, plan: &LaunchPlan, config: &JobConfig) -> Vec<(String, GivenAs)> {
    let run = &plan.run;
    // Without a span of our own, what the script does goes right below its caller's.
    let own = shared.tracer.attempt(run, plan.attempt.id.number).map(|span| span.traceparent());
    let traceparent = own.or_else(|| run.traceparent.clone());
    Given {
        run: run.id,
        job: &run.job_name,
        attempt: plan.attempt.id.number,
        slice: plan.attempt.slice,
        parameters: &run.parameters,
        state: plan.state.as_deref(),
        nonce: &plan.attempt.nonce,
        config: config.config.as_ref(),
        scheduled_time: run.source.get("time").filter(|_| run.created_by == SCHEDULER).map(String::as_str),
        traceparent: traceparent.as_ref().map(TraceParent::as_str),
    }
    .all()
}

fn plain_files(config: &JobConfig) -> Vec<LaunchFile> {
    let file = |(path, file): (&String, &crate::domain::FileSpec)| LaunchFile {
        path: path.clone(),
        content: SecretSlice::from(file.content.as_bytes().to_vec()),
        mode: file.mode_bits().unwrap_or(0o644),
        secret: false,
    };
    config.files.iter().map(file).collect()
}

async fn resolve_secrets(
    shared: &Shared,
    project: &Project,
    config: &JobConfig,
) -> Result<Vec<(String, SecretString)>, PrepareError> {
    let mut resolved = Vec::with_capacity(config.secrets.len());
    for (name, secret) in &config.secrets {
        let value = match (&secret.value, &secret.from) {
            (Some(value), _) => SecretString::from(value.as_str()),
            (None, Some(from)) => {
                let sealed = shared.store.secret(project.id, from).await?.ok_or_else(|| {
                    let message = format!("the project has no secret {from}: set it with 'haulier secret set {from}'");
                    never(ErrorCode::ConfigInvalid, message)
                })?;
                shared.keys.open_named(project.id, "secrets", from, &sealed).await?
            }
            (None, None) => {
                return Err(never(ErrorCode::ConfigInvalid, format!("the secret {name} has no value")));
            }
        };
        resolved.push((name.clone(), value));
    }
    Ok(resolved)
}

/// The login for the image's registry: the one the job names, else the one whose server the image names.
async fn credentials(
    shared: &Shared,
    plan: &LaunchPlan,
    project: &Project,
) -> Result<Option<Credentials>, PrepareError> {
    let spec = &plan.revision.spec;
    let server = server_of(&spec.image);
    if spec.registry.is_none() && server.is_none() {
        return Ok(None);
    }
    let registries = shared.store.registries(project.id).await?;
    let fits = registries.iter().find(|stored| stored.registry.is_for(spec.registry.as_ref(), server));
    let Some(stored) = fits else {
        return match &spec.registry {
            Some(name) => Err(never(ErrorCode::ConfigInvalid, format!("the project has no registry {name}"))),
            None => Ok(None),
        };
    };
    let name = &stored.registry.name;
    let password = shared.keys.open_named(project.id, "registries", name, &stored.password).await?;
    Ok(Some(Credentials {
        server: stored.registry.server.clone(),
        username: stored.registry.username.clone(),
        password,
    }))
}

/// A tag that moves is asked for at every launch, when a registry is named that can be asked.
fn pull_policy(image: &str) -> PullPolicy {
    let name = image.rsplit('/').next().unwrap_or(image);
    let moves = !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if moves && server_of(image).is_some() { PullPolicy::Always } else { PullPolicy::IfMissing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_tags_of_named_registries_are_pulled_every_time() {
        for (image, policy) in [
            ("r.example.com/a/b", PullPolicy::Always),
            ("r.example.com:5000/b:latest", PullPolicy::Always),
            ("r.example.com:5000/b:1.2", PullPolicy::IfMissing),
            ("r.example.com/b@sha256:ab", PullPolicy::IfMissing),
            ("busybox", PullPolicy::IfMissing),
            ("library/busybox:latest", PullPolicy::IfMissing),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
