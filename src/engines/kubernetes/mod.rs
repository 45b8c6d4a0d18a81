//! Kubernetes.
//!
//! One job with one pod an attempt, by the attempt's name. The pod tells what has become of it; the job only makes it
//! happen once. A finalizer of ours keeps the pod's record until its result is stored.

mod changes;
mod client;
mod config;
mod ensure;
mod entries;
mod errors;
mod logs;
mod observe;
mod position;
mod render;
mod status;
mod stop;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::PodTemplateSpec;

pub use config::KubernetesConfig;

use super::{
    Capabilities, Change, Engine, EngineError, EngineHealth, Found, Handle, LaunchProgress, LaunchSpec, LogStream,
    Observation,
};
use crate::domain::{AttemptId, InstallationId};
use client::Client;

/// A namespace of a Kubernetes cluster.
pub struct KubernetesEngine {
    name: String,
    config: KubernetesConfig,
    template: PodTemplateSpec,
    client: Arc<Client>,
}

impl KubernetesEngine {
    /// An engine for the configured cluster, which need not be there yet: each call connects when it must.
    ///
    /// # Errors
    /// The kubeconfig cannot be read, or the pod template makes no sense.
    pub fn connect(
        name: impl Into<String>,
        owner: InstallationId,
        config: KubernetesConfig,
    ) -> Result<Self, EngineError> {
        let template = config.template()?;
        let (access, context, namespace) = (config.access()?, config.context.clone(), config.namespace.clone());
        let client = Arc::new(Client::new(access, context, namespace, owner));
        Ok(Self { name: name.into(), config, template, client })
    }
}

impl fmt::Debug for KubernetesEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesEngine").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Engine for KubernetesEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            memory_limit: true,
            cpu_limit: true,
            // Only the kubelet's own settings limit them.
            pids_limit: false,
            files: true,
            secret_files: true,
            secret_env: true,
            out_of_memory_told: true,
            streams_apart: false,
            pull: true,
            adopt: true,
            file_owner: false,
            whole_output: true,
            // The kubelet removes a deleted pod's containers, and their logs with them.
            output_after_stop: false,
            schedules: true,
        }
    }

    async fn ensure(&self, spec: &LaunchSpec, _progress: &LaunchProgress) -> Result<Handle, EngineError> {
        self.ensure_job(spec).await
    }

    async fn observe(
        &self,
        of: &[Handle],
    ) -> Result<HashMap<AttemptId, Result<Observation, EngineError>>, EngineError> {
        self.observe_pods(of).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        changes::watch(self.client.clone())
    }

    async fn list(&self) -> Result<Vec<Found>, EngineError> {
        self.list_workloads().await
    }

    /// The grace is the one that the pod was made with.
    async fn stop(&self, handle: &Handle, _grace: Duration) -> Result<(), EngineError> {
        self.stop_pods(handle).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), EngineError> {
        self.remove_workload(handle).await
    }

    fn logs(&self, handle: &Handle) -> LogStream {
        logs::follow(self.client.clone(), handle.attempt)
    }

    async fn probe(&self) -> EngineHealth {
        match self.client.version().await {
            Ok(version) => EngineHealth { reachable: true, version: Some(version), detail: None },
            Err(error) => EngineHealth { reachable: false, version: None, detail: Some(error.detail) },
        }
    }
}
