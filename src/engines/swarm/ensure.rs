//! Launching exactly once: a service's name makes its creation happen once, and its task is made by the swarm.

use bollard::{
    errors::Error,
    models::Service,
    query_parameters::{ListConfigsOptions, ListSecretsOptions},
};
use secrecy::ExposeSecret;

use super::{
    SwarmEngine,
    render::{self, Placed, render},
};
use crate::engines::{
    EngineError, EngineErrorKind, Handle, LaunchFile, LaunchSpec, Persistence, PullPolicy,
    docker_api::{
        client::{QUICK, SLOW, login},
        errors::{self, classify, classify_pull},
    },
    label,
};

/// What a manager stores as one secret or config.
const LARGEST: usize = 500_000;

impl SwarmEngine {
    pub(super) async fn ensure_service(&self, spec: &LaunchSpec) -> Result<Handle, EngineError> {
        if let Some(credentials) = &spec.credentials {
            self.logins.insert(spec.attempt, credentials.clone());
        }
        if let Some(handle) = self.adopt(spec).await? {
            return Ok(handle);
        }
        let image = self.image(spec).await?;
        let placed = self.place(spec).await?;
        let body = render(spec, image, &placed, &self.config);
        let login = spec.credentials.as_ref().map(login);
        let answer = self.client.call(SLOW, |docker| async move { docker.create_service(body, login).await }).await;
        match answer {
            Ok(created) => Ok(Handle { attempt: spec.attempt, id: created.id.unwrap_or_default() }),
            Err(error) if errors::status(&error) == Some(409) => {
                // Someone else was faster, or removes it just now.
                let gone = || {
                    let text = format!("`{}` is being removed: try again", spec.name());
                    EngineError::new(EngineErrorKind::Internal, Persistence::Temporary, "create the service", text)
                };
                self.adopt(spec).await?.ok_or_else(gone)
            }
            Err(error) => Err(classify("create the service", error)),
        }
    }

    /// The image to ask for. Where the registry is to be asked before every launch, it is asked here, and all nodes
    /// are held to its answer: by itself, a node that is refused an image uses one that it has.
    async fn image(&self, spec: &LaunchSpec) -> Result<String, EngineError> {
        let image = spec.image.clone();
        if spec.pull == PullPolicy::IfMissing {
            return Ok(image);
        }
        match self.digest(&image, spec.credentials.as_ref()).await {
            Ok(Some(digest)) if !image.contains('@') => Ok(format!("{image}@{digest}")),
            // A node waits longer for a slow registry than a launch may.
            Ok(_) | Err(Error::RequestTimeoutError) => Ok(image),
            Err(error) => Err(classify_pull(&image, error)),
        }
    }

    /// Takes over the service that has our name, if it is ours.
    async fn adopt(&self, spec: &LaunchSpec) -> Result<Option<Handle>, EngineError> {
        let name = spec.name();
        let found = self.inspect(name.as_str()).await.map_err(|error| classify("inspect the service", error))?;
        let Some(found) = found else { return Ok(None) };
        if !is_ours(spec, &found) {
            let text = format!("there is a service `{name}` that this installation did not make: remove it");
            return Err(EngineError::new(EngineErrorKind::Conflict, Persistence::Permanent, "adopt the service", text));
        }
        Ok(found.id.map(|id| Handle { attempt: spec.attempt, id }))
    }

    /// One service; `None` when there is none.
    pub(super) async fn inspect(&self, service: &str) -> Result<Option<Service>, Error> {
        match self.client.call(QUICK, |docker| async move { docker.inspect_service(service, None).await }).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if errors::status(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores the content of the launch's files on the manager.
    async fn place(&self, spec: &LaunchSpec) -> Result<Vec<Placed>, EngineError> {
        let mut placed = Vec::with_capacity(spec.files.len());
        for (index, file) in spec.files.iter().enumerate() {
            let size = file.content.expose_secret().len();
            if size == 0 || size > LARGEST {
                let text = format!(
                    "{}: a swarm takes files of 1 to {LARGEST} bytes, this has {size}: fetch it in the script, or use another engine",
                    file.path
                );
                return Err(EngineError::new(EngineErrorKind::Rejected, Persistence::Permanent, "store a file", text));
            }
            let id = self.store(spec, index, file).await?;
            placed.push(Placed { id, name: render::content_name(spec, index) });
        }
        Ok(placed)
    }

    async fn store(&self, spec: &LaunchSpec, index: usize, file: &LaunchFile) -> Result<String, EngineError> {
        let answer = if file.secret {
            let body = render::secret(spec, index, file);
            self.client.call(QUICK, |docker| async move { docker.create_secret(body).await }).await
        } else {
            let body = render::config(spec, index, file);
            self.client.call(QUICK, |docker| async move { docker.create_config(body).await }).await
        };
        match answer {
            Ok(created) => Ok(created.id),
            // An earlier call has come as far as this.
            Err(error) if errors::status(&error) == Some(409) => self.stored(spec, index, file).await,
            Err(error) => Err(classify("store a file", error)),
        }
    }

    /// The id of a content that was stored before.
    async fn stored(&self, spec: &LaunchSpec, index: usize, file: &LaunchFile) -> Result<String, EngineError> {
        let name = render::content_name(spec, index);
        let mut filters = self.cluster.ours();
        filters.insert("name".to_owned(), vec![name.clone()]);
        let all: Result<Vec<_>, Error> = if file.secret {
            let options = ListSecretsOptions { filters: Some(filters) };
            let found = self.client.call(QUICK, |docker| async move { docker.list_secrets(Some(options)).await }).await;
            found.map(|all| all.into_iter().map(|it| (it.id, it.spec.and_then(|spec| spec.name))).collect())
        } else {
            let options = ListConfigsOptions { filters: Some(filters) };
            let found = self.client.call(QUICK, |docker| async move { docker.list_configs(Some(options)).await }).await;
            found.map(|all| all.into_iter().map(|it| (it.id, it.spec.and_then(|spec| spec.name))).collect())
        };
        let all = all.map_err(|error| classify("list the stored files", error))?;
        // The filter takes what begins with the name as well.
        all.into_iter().find_map(|(id, its)| id.filter(|_| its.as_ref() == Some(&name))).ok_or_else(|| {
            let text = format!("there is a secret or config `{name}` that this installation did not make: remove it");
            EngineError::new(EngineErrorKind::Conflict, Persistence::Permanent, "store a file", text)
        })
    }
}

/// Whether it carries the labels of this very attempt.
fn is_ours(spec: &LaunchSpec, found: &Service) -> bool {
    let labels = found.spec.as_ref().and_then(|spec| spec.labels.as_ref());
    spec.labels()
        .into_iter()
        .filter(|(name, _)| [label::OWNER, label::RUN, label::ATTEMPT].contains(name))
        .all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(&value))
}
