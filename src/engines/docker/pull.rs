//! Pulling images.

use std::{pin::pin, time::Duration};

use bollard::{errors::Error, query_parameters::CreateImageOptions};
use futures::StreamExt;
use tokio::time::timeout;

use super::DockerEngine;
use crate::{
    domain::WaitReason,
    engines::{
        EngineError, EngineErrorKind, LaunchProgress, LaunchSpec, Persistence,
        docker_api::{
            client::{QUICK, login},
            errors::classify_pull,
        },
    },
};

impl DockerEngine {
    /// Pulls the launch's image, and tells how it goes. Dropped midway, the daemon gives the pull up, unless another
    /// launch waits for it as well.
    pub(super) async fn pull(&self, spec: &LaunchSpec, progress: &LaunchProgress) -> Result<(), EngineError> {
        let image = &spec.image;
        progress.waits_for(WaitReason::PullingImage, format!("pulling {image}"));
        let whole = Duration::from_secs(self.config.pull_timeout_seconds.max(1));
        let late = || {
            let text = format!("{image}: the pull took too long (see `pull_timeout_seconds`, `pull_idle_seconds`)");
            EngineError::new(EngineErrorKind::ImagePull, Persistence::Temporary, "pull the image", text)
        };
        match timeout(whole, self.pull_now(spec, progress)).await {
            Ok(Err(Error::RequestTimeoutError)) | Err(_) => Err(late()),
            Ok(done) => done.map_err(|error| classify_pull(image, error)),
        }
    }

    async fn pull_now(&self, spec: &LaunchSpec, progress: &LaunchProgress) -> Result<(), Error> {
        let _permit = self.pulls.acquire().await;
        let idle = Duration::from_secs(self.config.pull_idle_seconds.max(1));
        let options = CreateImageOptions { from_image: Some(with_tag(&spec.image)), ..Default::default() };
        let login = spec.credentials.as_ref().map(login);
        // The first answer comes only when the registry has been asked.
        let docker = self.client.docker(QUICK).await?.with_timeout(idle);
        let mut steps = pin!(docker.create_image(Some(options), None, login));
        let mut layers = Layers::default();
        while let Some(step) = timeout(idle, steps.next()).await.map_err(|_| Error::RequestTimeoutError)? {
            let step = step?;
            if let (Some(id), Some(status)) = (step.id, step.status)
                && layers.note(id, &status)
            {
                progress.waits_for(WaitReason::PullingImage, format!("pulling {}: {layers}", spec.image));
            }
        }
        Ok(())
    }
}

/// The reference with the tag that is meant when there is none: the daemon would pull every tag.
fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// How far a pull is.
#[derive(Debug, Default)]
struct Layers {
    done: Vec<String>,
    all: Vec<String>,
}

impl Layers {
    /// Takes note of one step; whether that changed anything.
    fn note(&mut self, id: String, status: &str) -> bool {
        let before = (self.done.len(), self.all.len());
        if status.starts_with("Pulling from") {
            return false;
        }
        if matches!(status, "Pull complete" | "Already exists") && !self.done.contains(&id) {
            self.done.push(id.clone());
        }
        if !self.all.contains(&id) {
            self.all.push(id);
        }
        before != (self.done.len(), self.all.len())
    }
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} layers", self.done.len(), self.all.len())
    }
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn a_reference_without_tag_means_latest() {
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(with_tag("localhost:5000/a/b:1"), "localhost:5000/a/b:1");
        assert_eq!(with_tag("a@sha256:00"), "a@sha256:00");
    }
}
