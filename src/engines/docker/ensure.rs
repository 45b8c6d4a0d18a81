//! Launching exactly once.
//!
//! The name makes `create` happen once. `start` is the one call that is not idempotent: it runs an ended container
//! again. So a container is started by whoever created it and by nobody else, under the id that only the creator
//! got. Whoever else finds it created but not started waits for the creator, and if that seems to be gone, removes
//! the container and makes its own: a creator that wakes up later starts an id that no longer exists.

use std::time::Duration;

use bollard::{
    models::{ContainerInspectResponse, ContainerState},
    query_parameters::{CreateContainerOptions, RemoveContainerOptions, StartContainerOptions},
};
use tokio::time::{Instant, sleep};

use super::{DockerEngine, observe::is_created, render::render};
use crate::engines::{
    EngineError, EngineErrorKind, Handle, LaunchProgress, LaunchSpec, Persistence, PullPolicy,
    docker_api::{
        client::{QUICK, SLOW},
        errors::{self, classify, classify_start},
        moment,
    },
    label,
};

/// How long a container may stand created and not started before its creator is taken for gone. Far longer than a
/// start takes, for waiting costs little; a start under way holds up the inspection itself.
const CREATOR_GONE: Duration = Duration::from_secs(5);

/// How long a launch begins anew within one call.
const CONTEST: Duration = Duration::from_secs(30);
/// Between two looks at a container that is neither here nor there.
const PAUSE: Duration = Duration::from_millis(50);

/// What a create came to.
enum Created {
    /// This call made it; the container's id.
    Fresh(String),
    /// There is one of this name already.
    Taken,
}

impl DockerEngine {
    pub(super) async fn ensure_container(
        &self,
        spec: &LaunchSpec,
        progress: &LaunchProgress,
    ) -> Result<Handle, EngineError> {
        // Two calls in this process need not guess about each other.
        let _turn = self.turns.take(spec.attempt).await;
        if spec.pull == PullPolicy::Always
            && self.client.inspect(spec.name().as_str()).await.is_ok_and(|it| it.is_none())
        {
            self.pull(spec, progress).await?;
        }
        let mut pulled = false;
        let mut contested = None;
        while contested.is_none_or(|since: Instant| since.elapsed() < CONTEST) {
            match self.launch(spec).await {
                Ok(Some(id)) => return Ok(Handle { attempt: spec.attempt, id }),
                // Someone else's container was in the way and is gone now.
                Ok(None) => _ = contested.get_or_insert_with(Instant::now),
                Err(error) if error.kind == EngineErrorKind::ImageNotFound && !pulled => {
                    self.pull(spec, progress).await?;
                    pulled = true;
                }
                Err(error) => return Err(error),
            }
        }
        Err(EngineError::new(
            EngineErrorKind::Internal,
            Persistence::Temporary,
            "create the container",
            format!("others keep creating and removing `{}`", spec.name()),
        ))
    }

    /// Creates and starts, or adopts; `None`: try again now.
    async fn launch(&self, spec: &LaunchSpec) -> Result<Option<String>, EngineError> {
        let permit = self.launches.acquire().await;
        match self.create(spec).await? {
            Created::Fresh(id) => {
                self.place_files(&id, &spec.files).await?;
                self.client
                    .call(SLOW, |docker| {
                        let id = id.clone();
                        async move { docker.start_container(&id, None::<StartContainerOptions>).await }
                    })
                    .await
                    .map_err(classify_start)?;
                Ok(Some(id))
            }
            Created::Taken => {
                drop(permit);
                self.adopt(spec).await
            }
        }
    }

    async fn create(&self, spec: &LaunchSpec) -> Result<Created, EngineError> {
        let options = CreateContainerOptions { name: Some(spec.name().to_string()), ..Default::default() };
        let body = render(spec, &self.config, self.podman);
        let answer =
            self.client.call(SLOW, |docker| async move { docker.create_container(Some(options), body).await }).await;
        match answer {
            Ok(created) => Ok(Created::Fresh(created.id)),
            Err(error) if errors::is_name_taken(&error) => Ok(Created::Taken),
            Err(error) => Err(classify("create the container", error)),
        }
    }

    /// Takes over the container that has our name, if it is ours; `None` when it was made way for another.
    async fn adopt(&self, spec: &LaunchSpec) -> Result<Option<String>, EngineError> {
        let since = Instant::now();
        loop {
            let name = spec.name();
            let found = self.client.inspect(name.as_str()).await;
            let Some(found) = found.map_err(|error| classify("inspect the container", error))? else {
                // Gone, or still being made: its name is taken before it can be seen.
                sleep(PAUSE).await;
                return Ok(None);
            };
            if !is_ours(spec, &found) {
                let text = format!("there is a container `{name}` that this service did not make: remove it");
                return Err(EngineError::new(
                    EngineErrorKind::Conflict,
                    Persistence::Permanent,
                    "adopt the container",
                    text,
                ));
            }
            let (id, state) = (found.id.unwrap_or_default(), found.state.unwrap_or_default());
            if !never_started(&state) {
                return Ok(Some(id));
            }
            // Its start has failed: it has never run, and never will by itself.
            let failed = state.error.filter(|error| !error.is_empty());
            if let Some(error) = failed.as_ref().filter(|error| errors::is_missing_command(error)) {
                return Err(EngineError::new(
                    EngineErrorKind::CommandNotFound,
                    Persistence::Permanent,
                    "start the container",
                    error.clone(),
                ));
            }
            if failed.is_some() || since.elapsed() >= CREATOR_GONE {
                return self.make_way(&id).await.map(|()| None);
            }
            sleep(PAUSE).await;
        }
    }

    /// Removes a container that was never started, by its id and without force, so that one that has just been
    /// started after all stays.
    pub(super) async fn make_way(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptions { v: true, ..Default::default() };
        let answer =
            self.client.call(QUICK, |docker| async move { docker.remove_container(id, Some(options)).await }).await;
        match answer {
            Err(error) if !matches!(errors::status(&error), Some(404 | 409)) => {
                Err(classify("remove the container that was never started", error))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the container has certainly never run.
pub(super) fn never_started(state: &ContainerState) -> bool {
    is_created(state) && moment(state.started_at.as_deref()).is_none()
}

/// Whether it carries the labels of this very attempt.
fn is_ours(spec: &LaunchSpec, found: &ContainerInspectResponse) -> bool {
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    spec.labels()
        .into_iter()
        .filter(|(name, _)| [label::OWNER, label::RUN, label::ATTEMPT].contains(name))
        .all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(&value))
}
