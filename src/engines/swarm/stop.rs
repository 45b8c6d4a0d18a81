//! Ending, trying again, removing.

use bollard::{
    errors::Error,
    models::{Service, ServiceSpec, TaskSpec, TaskSpecPlacement},
    query_parameters::{ListConfigsOptions, ListSecretsOptions, UpdateServiceOptions},
};

use super::{
    SwarmEngine,
    read::has_ended,
    render::NOWHERE,
    snapshot::{Workload, has_nowhere},
};
use crate::engines::{
    EngineError, EngineErrorKind, Handle, Persistence,
    docker_api::{
        client::{QUICK, SLOW},
        errors::{self, classify},
    },
    label,
};

/// How often an update is made anew because the service has changed meanwhile.
const TRIES: usize = 5;

impl SwarmEngine {
    /// Forbids it every node: the task is ended as by its grace, and keeps its exit code and output. A removal would
    /// keep neither.
    pub(super) async fn stop_service(&self, handle: &Handle) -> Result<(), EngineError> {
        for _ in 0..TRIES {
            let found = self.inspect(&handle.id).await.map_err(|error| classify("inspect the service", error))?;
            let Some(found) = found else { return Ok(()) };
            if template(&found).and_then(|template| template.placement.as_ref()).is_some_and(has_nowhere) {
                return Ok(());
            }
            // After the service, so that a task made for a later version cannot be overlooked: the update is refused.
            let snapshot = self.cluster.snapshot(std::time::Duration::ZERO).await?;
            if snapshot.of(handle).and_then(Workload::task).is_some_and(has_ended) {
                return Ok(());
            }
            let forbid = |template: &mut TaskSpec| {
                let placement = template.placement.get_or_insert_with(TaskSpecPlacement::default);
                placement.constraints.get_or_insert_default().push(NOWHERE.to_owned());
            };
            match self.update(found, forbid).await {
                Err(error) if is_outdated(&error) => {}
                Err(error) if errors::status(&error) == Some(404) => return Ok(()),
                answer => return answer.map_err(|error| classify("stop the service", error)),
            }
        }
        let text = "others keep changing the service: try again";
        Err(EngineError::new(EngineErrorKind::Internal, Persistence::Temporary, "stop the service", text))
    }

    /// Makes a new task for a service whose task was refused before it could run. The task has to be of the service's
    /// present version, and the update is refused if that has changed: so nothing that could run is replaced.
    pub(super) async fn try_again(&self, workload: &Workload, refused: &str) -> Result<(), EngineError> {
        let found = self.inspect(&workload.id).await.map_err(|error| classify("inspect the service", error))?;
        let Some(found) = found else { return Ok(()) };
        let version = |template: &TaskSpec| template.force_update.unwrap_or_default();
        let present = template(&found).map(version);
        let newest = workload.tasks.last().filter(|task| task.id.as_deref() == Some(refused));
        if newest.and_then(|task| task.spec.as_ref()).map(version) != present {
            return Ok(());
        }
        let next = workload.tries + 1;
        match self.update(found, |template| template.force_update = Some(next)).await {
            Err(error) if is_outdated(&error) || errors::status(&error) == Some(404) => Ok(()),
            answer => answer.map_err(|error| classify("try the service again", error)),
        }
    }

    async fn update(&self, service: Service, change: impl FnOnce(&mut TaskSpec)) -> Result<(), Error> {
        let Service { id, version, spec, .. } = service;
        let mut spec: ServiceSpec = spec.unwrap_or_default();
        change(spec.task_template.get_or_insert_default());
        let version = version.and_then(|version| version.index).and_then(|index| i32::try_from(index).ok());
        // The login that the service was made with stays.
        let options = UpdateServiceOptions {
            version: version.unwrap_or_default(),
            registry_auth_from: "spec".to_owned(),
            rollback: None,
        };
        let id = id.unwrap_or_default();
        self.client.call(SLOW, |docker| async move { docker.update_service(&id, spec, options, None).await }).await?;
        Ok(())
    }

    pub(super) async fn remove_service(&self, handle: &Handle) -> Result<(), EngineError> {
        let id = handle.id.as_str();
        let answer = self.client.call(SLOW, |docker| async move { docker.delete_service(id).await }).await;
        missing_is_success("remove the service", answer)?;
        self.logins.remove(&handle.attempt);
        // Only after the service, which needs them.
        let mut filters = self.cluster.ours();
        let attempt = handle.attempt;
        let ours = [format!("{}={}", label::RUN, attempt.run), format!("{}={}", label::ATTEMPT, attempt.number)];
        filters.entry("label".to_owned()).or_default().extend(ours);
        let options = ListSecretsOptions { filters: Some(filters.clone()) };
        let secrets = self.client.call(QUICK, |docker| async move { docker.list_secrets(Some(options)).await }).await;
        for secret in secrets.map_err(|error| classify("list the secrets", error))? {
            let id = secret.id.unwrap_or_default();
            let answer = self.client.call(QUICK, |docker| async move { docker.delete_secret(&id).await }).await;
            missing_is_success("remove a secret", answer)?;
        }
        let options = ListConfigsOptions { filters: Some(filters) };
        let configs = self.client.call(QUICK, |docker| async move { docker.list_configs(Some(options)).await }).await;
        for config in configs.map_err(|error| classify("list the configs", error))? {
            let id = config.id.unwrap_or_default();
            let answer = self.client.call(QUICK, |docker| async move { docker.delete_config(&id).await }).await;
            missing_is_success("remove a config", answer)?;
        }
        Ok(())
    }
}

fn template(service: &Service) -> Option<&TaskSpec> {
    service.spec.as_ref()?.task_template.as_ref()
}

/// Whether the service has changed since it was read.
fn is_outdated(error: &Error) -> bool {
    errors::words(error).contains("update out of sequence")
}

fn missing_is_success(operation: &'static str, answer: Result<(), Error>) -> Result<(), EngineError> {
    match answer {
        Err(error) if errors::status(&error) != Some(404) => Err(classify(operation, error)),
        _ => Ok(()),
    }
}
