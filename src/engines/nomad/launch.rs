//! Launching exactly once, trying again, ending, removing.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    NomadEngine,
    client::Refusal,
    operation::{FORGET_SECRETS, KEEP_SECRETS, PURGE, READ_JOB, REGISTER, STOP},
    render::{SECRETS, render, secrets, variable_path},
    types::Job,
};
use crate::engines::{EngineError, EngineErrorKind, Handle, LaunchSpec, Persistence, label};

/// As many bytes as a variable holds, with the names of its items.
const LARGEST: usize = 65_536;
/// The meta key that makes a new version of a job that is tried again.
const TRY: &str = "haulier.try";

impl NomadEngine {
    /// Registers the job if there is none: only one of many who try at once succeeds. What the token may not do is
    /// waited for: no attempt is to be used up by it.
    pub(super) async fn ensure_job(&self, spec: &LaunchSpec) -> Result<Handle, EngineError> {
        let waits =
            |why: String| EngineError::new(EngineErrorKind::Unauthorized, Persistence::Unreachable, REGISTER.name, why);
        if let Some(why) = self.forbidden() {
            return Err(waits(why));
        }
        self.register(spec).await.map_err(|error| match error.kind {
            EngineErrorKind::Unauthorized => waits(self.forbidden().unwrap_or(error.detail)),
            _ => error,
        })
    }

    async fn register(&self, spec: &LaunchSpec) -> Result<Handle, EngineError> {
        self.keep_secrets(spec).await?;
        let body = json!({"Job": render(spec, &self.config), "EnforceIndex": true, "JobModifyIndex": 0});
        match self.client.call(REGISTER, Method::POST, "/v1/jobs", Some(&body)).await {
            Ok(()) => Ok(Handle { attempt: spec.attempt, id: spec.name().to_string() }),
            Err(refusal) if is_taken(&refusal) => self.adopt(spec).await,
            Err(refusal) => Err(refusal.error),
        }
    }

    async fn keep_secrets(&self, spec: &LaunchSpec) -> Result<(), EngineError> {
        let items = secrets(spec, &self.config);
        if items.is_empty() {
            return Ok(());
        }
        let reject = |kind, text: &str| Err(EngineError::new(kind, Persistence::Permanent, KEEP_SECRETS.name, text));
        if !self.config.variables {
            return reject(
                EngineErrorKind::Unsupported,
                "this Nomad has no Variables (they come with 1.4), so there is no place for secret files: give them as environment variables",
            );
        }
        if items.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > LARGEST {
            return reject(
                EngineErrorKind::Rejected,
                "the secrets are larger than a Nomad variable (64 KiB, files as base64): fetch them in the script",
            );
        }
        let path = format!("/v1/var/{}?cas=0", variable_path(spec.name().as_str()));
        match self.client.call(KEEP_SECRETS, Method::PUT, &path, Some(&json!({"Items": items}))).await {
            // An earlier call has come as far as this.
            Err(Refusal { status: Some(StatusCode::CONFLICT), .. }) | Ok(()) => Ok(()),
            Err(refusal) => Err(refusal.error),
        }
    }

    /// Takes over the job that has our name, if it is ours.
    async fn adopt(&self, spec: &LaunchSpec) -> Result<Handle, EngineError> {
        let operation = "adopt the job";
        let name = spec.name();
        let Some(job) = self.client.get::<Job>(READ_JOB, &format!("/v1/job/{name}")).await? else {
            let text = format!("`{name}` is being removed: try again");
            return Err(EngineError::new(EngineErrorKind::Internal, Persistence::Temporary, operation, text));
        };
        let meta = job.meta.unwrap_or_default();
        let ours = spec
            .labels()
            .into_iter()
            .filter(|(name, _)| [label::OWNER, label::RUN, label::ATTEMPT].contains(name))
            .all(|(name, value)| meta.get(name) == Some(&value));
        if ours {
            return Ok(Handle { attempt: spec.attempt, id: name.to_string() });
        }
        let text = format!("there is a job `{name}` that this installation did not make: purge it");
        Err(EngineError::new(EngineErrorKind::Conflict, Persistence::Permanent, operation, text))
    }

    /// Makes a new version of a job whose every allocation has failed before it could run. It is refused if the job
    /// has changed since it was read.
    pub(super) async fn try_again(&self, id: &str) -> Result<(), EngineError> {
        let Some(mut job) = self.client.get::<Value>(READ_JOB, &format!("/v1/job/{id}")).await? else {
            return Ok(());
        };
        if job["Stop"] == json!(true) {
            return Ok(());
        }
        let index = job["JobModifyIndex"].clone();
        let tries = job["Version"].as_u64().unwrap_or_default() + 1;
        job["Meta"][TRY] = json!(tries.to_string());
        let body = json!({"Job": job, "EnforceIndex": true, "JobModifyIndex": index});
        match self.client.call(REGISTER, Method::POST, "/v1/jobs", Some(&body)).await {
            Err(refusal) if is_taken(&refusal) => Ok(()),
            answer => Ok(answer?),
        }
    }

    /// Deregisters it: its task is ended as by its grace, and its record stays.
    pub(super) async fn stop_job(&self, handle: &Handle) -> Result<(), EngineError> {
        let path = format!("/v1/job/{}", handle.id);
        match self.client.get::<Job>(READ_JOB, &path).await? {
            None | Some(Job { stop: true, .. }) => Ok(()),
            Some(_) => Ok(self.client.call(STOP, Method::DELETE, &path, None).await?),
        }
    }

    pub(super) async fn remove_job(&self, handle: &Handle) -> Result<(), EngineError> {
        let path = format!("/v1/job/{}", handle.id);
        let job = self.client.get::<Job>(READ_JOB, &path).await?;
        // The secrets first: nobody would ever look again for those of a job that is gone. A launch that was broken off
        // may have left some without a job.
        if self.config.variables && job.as_ref().is_none_or(has_secrets) {
            let path = format!("/v1/var/{}", variable_path(&handle.id));
            match self.client.call(FORGET_SECRETS, Method::DELETE, &path, None).await {
                Err(Refusal { status: Some(StatusCode::NOT_FOUND), .. }) => {}
                answer => answer?,
            }
        }
        // Nomad would note the removal of what is not there as well.
        if job.is_some() {
            match self.client.call(PURGE, Method::DELETE, &format!("{path}?purge=true"), None).await {
                // Somebody else was faster.
                Err(Refusal { words, .. }) if words.contains("job not found") => {}
                answer => answer?,
            }
        }
        Ok(())
    }
}

/// Whether there are secrets for the job's task.
fn has_secrets(job: &Job) -> bool {
    job.meta.as_ref().is_some_and(|meta| meta.contains_key(SECRETS))
}

/// Whether a registration was refused because the job is not as it was expected to be.
fn is_taken(refusal: &Refusal) -> bool {
    refusal.words.contains("Enforcing job modify index")
}
