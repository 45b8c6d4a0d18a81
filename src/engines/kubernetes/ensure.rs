//! Launching exactly once.
//!
//! The job's name makes it happen once: whoever comes second finds it there. It is made anew only where it has no pods
//! either, for those outlive it until their result is stored.
//!
//! The secrets come after the job, so that they can name it as their owner and go with it whatever happens. A pod
//! takes some hundred milliseconds before it reads them; one that is faster waits for its kubelet's next look. Its image
//! may have been pulled without the login by then, which is why the first refusal of a pull is not believed.

use std::time::Duration;

use k8s_openapi::api::{batch::v1::Job, core::v1::Secret};
use kube::api::{DeleteParams, PostParams};
use tokio::time::sleep;

use super::{
    KubernetesEngine,
    client::{bounded, is},
    render::{is_of, owned_by, render},
    status::is_released,
};
use crate::engines::{EngineError, EngineErrorKind, Handle, LaunchSpec, Persistence};

/// How often something that vanishes while it is looked at is looked at again.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

impl KubernetesEngine {
    pub(super) async fn ensure_job(&self, spec: &LaunchSpec) -> Result<Handle, EngineError> {
        let handle = Handle { attempt: spec.attempt, id: spec.name().to_string() };
        let pods = self.client.pods_of(spec.attempt).await?;
        let launched = pods.iter().any(|pod| !is_released(pod));
        let manifests = render(spec, &self.template, self.config.service_account.as_deref());
        for _ in 0..TRIES {
            let found = if launched { None } else { self.create(&manifests.job).await? };
            let job = match found {
                Some(job) => job,
                None => match self.client.job(&handle.id).await? {
                    Some(job) => job,
                    // Its pods are there, and need nothing any more that the job would have.
                    None if launched => return Ok(handle),
                    None => {
                        sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            if !is_of(&job.metadata, spec) {
                let text = format!("there is a job `{}` that this service did not make: delete it", handle.id);
                return Err(EngineError::new(EngineErrorKind::Conflict, Persistence::Permanent, "adopt the job", text));
            }
            if job.metadata.deletion_timestamp.is_some() && !launched {
                sleep(PAUSE).await;
                continue;
            }
            for secret in &manifests.secrets {
                if let Err(error) = self.ensure_secret(secret, &job).await {
                    if error.is_permanent() {
                        // Without it the pod can only wait.
                        self.client.delete_job(&job).await?;
                    }
                    return Err(error);
                }
            }
            return Ok(handle);
        }
        let text = format!("others keep creating and deleting the job `{}`", handle.id);
        Err(EngineError::new(EngineErrorKind::Internal, Persistence::Temporary, "create the job", text))
    }

    /// `None`: there is one of this name already.
    async fn create(&self, job: &Job) -> Result<Option<Job>, EngineError> {
        let api = self.client.api::<Job>().await?;
        match bounded("create the job", api.create(&PostParams::default(), job)).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if is(&error, &[409]) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ensure_secret(&self, secret: &Secret, job: &Job) -> Result<(), EngineError> {
        let api = self.client.secrets().await?;
        let mut secret = secret.clone();
        secret.metadata.owner_references = Some(vec![owned_by(job)]);
        let name = secret.metadata.name.clone().unwrap_or_default();
        for _ in 0..TRIES {
            match bounded("create the secret", api.create(&PostParams::default(), &secret)).await {
                Err(error) if is(&error, &[409]) => {}
                answer => return answer.map(drop),
            }
            let Some(found) = bounded("get the secret", api.get_opt(&name)).await? else { continue };
            if found.metadata.owner_references == secret.metadata.owner_references {
                return Ok(());
            }
            // It belonged to a job that is gone.
            let deleted = bounded("delete the secret", api.delete(&name, &DeleteParams::default())).await;
            deleted.map(drop).or_else(|error| if is(&error, &[404]) { Ok(()) } else { Err(error) })?;
        }
        let text = format!("others keep creating the secret `{name}`");
        Err(EngineError::new(EngineErrorKind::Internal, Persistence::Temporary, "create the secret", text))
    }
}
