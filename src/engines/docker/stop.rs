//! Ending and removing.

use std::time::Duration;

use bollard::query_parameters::{RemoveContainerOptions, StopContainerOptions};
use tokio::time::{Instant, sleep};

use super::{DockerEngine, ensure::never_started};
use crate::engines::{
    EngineError, EngineErrorKind, Handle, Persistence,
    docker_api::{
        client::{QUICK, SLOW},
        errors::{self, classify},
    },
};

impl DockerEngine {
    pub(super) async fn stop_container(&self, handle: &Handle, grace: Duration) -> Result<(), EngineError> {
        let container = handle.id.as_str();
        let found = self.client.inspect(container).await.map_err(|error| classify("inspect the container", error))?;
        let Some(state) = found.and_then(|found| found.state) else { return Ok(()) };
        if never_started(&state) {
            // Stopping would leave it there, to be started by a launch that is late.
            self.make_way(container).await?;
            let found = self.client.inspect(container).await;
            if found.map_err(|error| classify("inspect the container", error))?.is_none() {
                return Ok(());
            }
        }
        // In whole seconds; none at all would be a kill at once.
        let seconds = grace.as_millis().div_ceil(1000).min(86_400);
        let options = StopContainerOptions { signal: None, t: i32::try_from(seconds).ok() };
        let limit = grace + SLOW;
        let answer = self
            .client
            .call(limit, |docker| async move { docker.stop_container(container, Some(options)).await })
            .await;
        match answer {
            Err(error) if errors::status(&error) != Some(404) => Err(classify("stop the container", error)),
            _ => {
                self.running_since.remove(container);
                Ok(())
            }
        }
    }

    pub(super) async fn remove_container(&self, container: &str) -> Result<(), EngineError> {
        let deadline = Instant::now() + QUICK;
        loop {
            let options = RemoveContainerOptions { force: true, v: true, link: false };
            let answer = self
                .client
                .call(SLOW, |docker| async move { docker.remove_container(container, Some(options)).await })
                .await;
            match answer {
                Ok(()) => break,
                Err(error) if errors::status(&error) == Some(404) => break,
                // Another removal is under way, or the container is just ending.
                Err(error) if errors::status(&error) == Some(409) && Instant::now() < deadline => {
                    sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    let mut error = classify("remove the container", error);
                    if error.kind == EngineErrorKind::Conflict {
                        error.persistence = Persistence::Temporary;
                    }
                    return Err(error);
                }
            }
        }
        self.running_since.remove(container);
        Ok(())
    }
}
