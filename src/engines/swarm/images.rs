//! What the registry itself says about an image: a node that cannot pull does not pass the reason on.

use std::time::Duration;

use bollard::errors::Error;
use tokio::time::Instant;

use super::{SwarmEngine, snapshot::Workload};
use crate::{
    domain::{AttemptId, WaitReason},
    engines::{
        Credentials, EngineError, EngineErrorKind, Exit, LaunchFailure, Persistence, WorkloadPhase,
        docker_api::{client::login, errors::classify_pull},
    },
};

/// The longest time for a registry's answer.
const ASK: Duration = Duration::from_secs(10);
/// How long a service whose image could not be had waits for its next try.
const PAUSE: Duration = Duration::from_secs(5);

/// What came of asking a registry.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    /// No image of this reference can be had, or why it could not be had now.
    kind: EngineErrorKind,
    permanent: bool,
    detail: String,
    asked: Instant,
}

impl SwarmEngine {
    /// The image's digest in its registry. Asked by the manager, with the login that a node would use.
    pub(super) async fn digest(&self, image: &str, credentials: Option<&Credentials>) -> Result<Option<String>, Error> {
        let login = credentials.map(login);
        let answer =
            self.client.call(ASK, |docker| async move { docker.inspect_registry_image(image, login).await }).await?;
        Ok(answer.descriptor.digest)
    }

    /// How a service stands whose task was refused for want of the image.
    pub(super) async fn without_image(&self, workload: &Workload, task: &str) -> Result<WorkloadPhase, EngineError> {
        if workload.stopped {
            let failure = Some(LaunchFailure::NeverStarted(format!("{}: never pulled", workload.image)));
            return Ok(WorkloadPhase::Exited(Exit { failure, ..Exit::default() }));
        }
        let verdict = match self.verdicts.get(task) {
            Some(verdict) => verdict,
            None => {
                let verdict = self.ask(workload.attempt, &workload.image).await?;
                self.verdicts.insert(task.to_owned(), verdict.clone());
                verdict
            }
        };
        if verdict.permanent {
            let failure = Some(LaunchFailure::Image(verdict.kind, verdict.detail));
            return Ok(WorkloadPhase::Exited(Exit { failure, ..Exit::default() }));
        }
        if verdict.asked.elapsed() >= PAUSE {
            self.try_again(workload, task).await?;
        }
        Ok(WorkloadPhase::Pending(WaitReason::PullingImage, verdict.detail))
    }

    async fn ask(&self, attempt: AttemptId, image: &str) -> Result<Verdict, EngineError> {
        let asked = Instant::now();
        let verdict = |kind, permanent, detail| Verdict { kind, permanent, detail, asked };
        match self.digest(image, self.logins.get(&attempt).as_ref()).await {
            Ok(_) => {
                let detail = format!("{image}: a node could not pull it, though the registry has it; trying again");
                Ok(verdict(EngineErrorKind::ImagePull, false, detail))
            }
            Err(Error::RequestTimeoutError) => {
                let detail = format!("{image}: its registry does not answer; trying again");
                Ok(verdict(EngineErrorKind::ImagePull, false, detail))
            }
            Err(error) => {
                let error = classify_pull(image, error);
                if error.persistence == Persistence::Unreachable {
                    return Err(error);
                }
                Ok(verdict(error.kind, error.is_permanent(), error.detail))
            }
        }
    }
}
