//! Ending and removing.
//!
//! A pod ends when its job is deleted: TERM, its grace, KILL. Our finalizer keeps its record through that, exit code
//! included, until it is removed; its output stays with who has followed it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep};

use super::{
    KubernetesEngine,
    status::{Look, is_released, look, release, stopped_mark},
};
use crate::{
    domain::{Clock, SystemClock},
    engines::{EngineError, EngineErrorKind, Handle, Persistence, WorkloadPhase, label},
};

/// The longest time for one removal. What takes longer to end is asked for again.
const REMOVAL: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_millis(100);

impl KubernetesEngine {
    pub(super) async fn stop_pods(&self, handle: &Handle) -> Result<(), EngineError> {
        let pods = self.client.pods_of(handle.attempt).await?;
        let live: Vec<_> = pods.iter().filter(|pod| !is_released(pod) && !has_ended(pod)).collect();
        if live.is_empty() && !pods.is_empty() {
            return Ok(());
        }
        for pod in live {
            if pod.metadata.deletion_timestamp.is_none() {
                self.client.patch_pod(pod, &stopped_mark()).await?;
            }
        }
        self.delete_job(handle).await
    }

    /// Deletes the workload's job, if it is ours.
    async fn delete_job(&self, handle: &Handle) -> Result<(), EngineError> {
        let Some(job) = self.client.job(handle.attempt.workload_name().as_str()).await? else { return Ok(()) };
        let owner = job.metadata.labels.as_ref().and_then(|labels| labels.get(label::OWNER));
        if owner == Some(&self.client.owner.to_string()) { self.client.delete_job(&job).await } else { Ok(()) }
    }

    pub(super) async fn remove_workload(&self, handle: &Handle) -> Result<(), EngineError> {
        self.delete_job(handle).await?;
        let deadline = Instant::now() + REMOVAL;
        loop {
            let pods = self.client.pods_of(handle.attempt).await?;
            let mut left = None;
            for pod in pods.iter().filter(|pod| !is_released(pod)) {
                if !self.let_go(pod).await? {
                    left = pod.metadata.name.clone();
                }
            }
            let Some(left) = left else { return Ok(()) };
            if Instant::now() >= deadline {
                let text = format!("the pod {left} is still ending");
                return Err(EngineError::new(
                    EngineErrorKind::Internal,
                    Persistence::Temporary,
                    "remove the pods",
                    text,
                ));
            }
            sleep(PAUSE).await;
        }
    }

    /// Gives up the pod's record, once nothing of it can run any more and its deletion has been asked for.
    async fn let_go(&self, pod: &Pod) -> Result<bool, EngineError> {
        let deleted = pod.metadata.deletion_timestamp.is_some();
        let orphaned = pod.metadata.owner_references.as_ref().is_none_or(Vec::is_empty);
        match (deleted, has_ended(pod)) {
            (true, true) => {
                self.client.patch_pod(pod, &release()).await?;
                Ok(true)
            }
            // The collector of garbage is on its way, or its grace is running.
            (true, false) => Ok(false),
            (false, ended) if orphaned => {
                // Somebody has deleted the job and kept the pod. We may end it and forget it; deleting is theirs.
                let mut change = release();
                change["metadata"]["labels"] = serde_json::json!({label::OWNER: null});
                if !ended {
                    change["spec"] = serde_json::json!({"activeDeadlineSeconds": 1});
                }
                self.client.patch_pod(pod, &change).await?;
                Ok(true)
            }
            (false, _) => Ok(false),
        }
    }
}

/// Whether nothing of it runs, or ever will.
fn has_ended(pod: &Pod) -> bool {
    matches!(look(pod, SystemClock.now()), Look::Is(WorkloadPhase::Exited(_)))
}
