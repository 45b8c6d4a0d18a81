//! Calls to the API server, each with a timeout.

use std::{future::Future, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        batch::v1::Job,
        core::v1::{Event, Pod, Secret},
    },
};
use kube::{
    Api, Client as Connection, Config, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    config::KubeConfigOptions,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{sync::OnceCell, time::timeout};

use super::{
    config::Access,
    errors::{self, classify},
};
use crate::{
    domain::{AttemptId, InstallationId},
    engines::{EngineError, EngineErrorKind, Persistence, label},
};

/// The longest time for one call.
const CALL: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);
/// How many objects one answer may hold; more come in further answers.
const PAGE: u32 = 500;
/// So many pages are more than there can be; a server that gives more is broken.
const MAX_PAGES: usize = 1000;

/// A cluster, and our namespace in it.
pub(super) struct Client {
    access: Access,
    context: Option<String>,
    namespace: Option<String>,
    pub(super) owner: InstallationId,
    connected: OnceCell<(Connection, String)>,
}

impl Client {
    pub(super) fn new(
        access: Access,
        context: Option<String>,
        namespace: Option<String>,
        owner: InstallationId,
    ) -> Self {
        Self { access, context, namespace, owner, connected: OnceCell::new() }
    }

    /// The connection pool, made when first needed: its credentials are read then, and renewed by themselves.
    async fn connection(&self) -> Result<&(Connection, String), EngineError> {
        self.connected
            .get_or_try_init(|| async {
                // No other provider is ever installed, so a second installation is no error.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let mut config = match &self.access {
                    Access::InCluster => Config::incluster().map_err(unusable)?,
                    Access::Kubeconfig(kubeconfig) => {
                        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
                        let read = Config::from_custom_kubeconfig(kubeconfig.as_ref().clone(), &options);
                        read.await.map_err(unusable)?
                    }
                };
                config.connect_timeout = Some(CONNECT);
                let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
                Ok((Connection::try_from(config).map_err(unusable)?, namespace))
            })
            .await
    }

    pub(super) async fn api<K>(&self) -> Result<Api<K>, EngineError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let (connection, namespace) = self.connection().await?;
        Ok(Api::namespaced(connection.clone(), namespace))
    }

    pub(super) async fn version(&self) -> Result<String, EngineError> {
        let (connection, _) = self.connection().await?;
        let version = bounded("ask the API server for its version", connection.apiserver_version()).await?;
        Ok(format!("Kubernetes {}", version.git_version.trim_start_matches('v')))
    }

    pub(super) async fn job(&self, name: &str) -> Result<Option<Job>, EngineError> {
        let api = self.api::<Job>().await?;
        bounded("get the job", api.get_opt(name)).await
    }

    /// Everything that this selector names, from all pages.
    pub(super) async fn list<K>(&self, operation: &'static str, selector: &str) -> Result<Vec<K>, EngineError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api = self.api::<K>().await?;
        let mut parameters = ListParams::default().labels(selector).limit(PAGE);
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = bounded(operation, api.list(&parameters)).await?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(all),
            }
        }
        let text = "the list has no end";
        Err(EngineError::new(EngineErrorKind::Internal, Persistence::Temporary, operation, text))
    }

    /// The pods of one attempt, oldest first, whoever may have made them more than one.
    pub(super) async fn pods_of(&self, attempt: AttemptId) -> Result<Vec<Pod>, EngineError> {
        let selector = format!("{},{}={},{}={}", self.ours(), label::RUN, attempt.run, label::ATTEMPT, attempt.number);
        let mut pods = self.list::<Pod>("list the pods", &selector).await?;
        super::status::in_order(&mut pods);
        Ok(pods)
    }

    /// Selects what carries our owner label.
    pub(super) fn ours(&self) -> String {
        format!("{}={}", label::OWNER, self.owner)
    }

    /// The events about an object, in no order.
    pub(super) async fn events(&self, uid: &str) -> Result<Vec<Event>, EngineError> {
        let api = self.api::<Event>().await?;
        let parameters = ListParams::default().fields(&format!("involvedObject.uid={uid}")).limit(PAGE);
        Ok(bounded("list the events", api.list(&parameters)).await?.items)
    }

    /// Changes a pod; one that is gone needs no change.
    pub(super) async fn patch_pod(&self, pod: &Pod, change: &Value) -> Result<(), EngineError> {
        let api = self.api::<Pod>().await?;
        let (name, parameters) = (pod.metadata.name.as_deref().unwrap_or_default(), PatchParams::default());
        let patch = Patch::Strategic(change);
        or_gone(bounded("change the pod", api.patch(name, &parameters, &patch)).await)
    }

    /// Deletes a job, and with it what belongs to it. One that is gone, or is another by now, is success.
    pub(super) async fn delete_job(&self, job: &Job) -> Result<(), EngineError> {
        let api = self.api::<Job>().await?;
        let uid = job.metadata.uid.clone();
        // Without a policy its pods would be left running, for nobody.
        let parameters =
            DeleteParams::background().preconditions(kube::api::Preconditions { uid, resource_version: None });
        let name = job.metadata.name.as_deref().unwrap_or_default();
        or_gone(bounded("delete the job", api.delete(name, &parameters)).await)
    }

    pub(super) async fn secrets(&self) -> Result<Api<Secret>, EngineError> {
        self.api().await
    }
}

fn or_gone<T>(answer: Result<T, EngineError>) -> Result<(), EngineError> {
    match answer {
        Err(error) if !is(&error, &[404, 409]) => Err(error),
        _ => Ok(()),
    }
}

/// Whether the server answered with one of these.
pub(super) fn is(error: &EngineError, codes: &[u16]) -> bool {
    let beneath = error.source.as_ref().and_then(|source| source.downcast_ref::<kube::Error>());
    beneath.and_then(errors::status).is_some_and(|code| codes.contains(&code))
}

/// Waits for an answer, for as long as one may take.
pub(super) async fn bounded<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, EngineError> {
    match timeout(CALL, call).await {
        Ok(answer) => answer.map_err(|error| classify(operation, error)),
        Err(_) => {
            let text = format!("the API server did not answer within {} s: see whether it runs", CALL.as_secs());
            Err(EngineError::new(EngineErrorKind::Unreachable, Persistence::Unreachable, operation, text))
        }
    }
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> EngineError {
    let text = format!("{error}: see the kubeconfig");
    EngineError::new(EngineErrorKind::Unauthorized, Persistence::Temporary, "read the credentials", text)
        .caused_by(error)
}

/// Does something with each, a few at once, for a server is shared.
pub(super) async fn each<T, F: Future>(all: impl IntoIterator<Item = T>, work: impl FnMut(T) -> F) -> Vec<F::Output> {
    stream::iter(all).map(work).buffer_unordered(8).collect().await
}
