//! What a log store does where there is an object store.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Archive, InstallationId, Live, LogError, LogStore, RunId, blocking, page::Source};
use crate::{logs::Objects, metrics::LogMetrics};

/// How often it is looked what open logs have for the object store.
const TICK: Duration = Duration::from_secs(1);
/// How long a workload is kept for its log, which is not in the object store yet.
const KEPT: Duration = Duration::from_secs(30);

impl LogStore {
    /// Keeps the logs in an object store.
    #[must_use]
    pub fn with_objects(self, objects: Objects) -> Self {
        let archive = Archive::new(objects, Arc::clone(&self.files));
        Self { archive: Some(Arc::new(archive)), ..self }
    }

    /// What is counted of logs.
    #[must_use]
    pub fn metrics(&self) -> LogMetrics {
        self.archive.as_ref().map_or_else(LogMetrics::default, |archive| archive.metrics().clone())
    }

    /// How often whoever follows a log that another service writes looks for more.
    #[must_use]
    pub const fn look_every(&self) -> Duration {
        // Each look is two requests.
        Duration::from_secs(if self.archive.is_some() { 2 } else { 1 })
    }

    /// Makes sure that no other installation keeps its logs in the object store, if there is one. One that does not answer
    /// is asked later.
    ///
    /// # Errors
    /// Another has been there first, or the store lets nobody in.
    pub async fn claim_objects(&self, owner: InstallationId) -> Result<(), LogError> {
        match &self.archive {
            Some(archive) => archive.claim(&owner.to_string()).await,
            None => Ok(()),
        }
    }

    /// With an object store: goes on with a log where an earlier service left it, though nobody writes yet, so that others
    /// can read all of it.
    ///
    /// # Errors
    /// As [`Self::writer`].
    pub async fn take_over(&self, run: RunId) -> Result<(), LogError> {
        match &self.archive {
            Some(archive) => archive.open(&self.live(run), false).await,
            None => Ok(()),
        }
    }

    /// With an object store: removes what lies here of logs that this service began, and another has finished.
    ///
    /// # Errors
    /// The store does not answer, or a file could not be removed.
    pub async fn drop_finished_elsewhere(&self) -> Result<(), LogError> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let files = Arc::clone(&self.files);
        for run in blocking(move || files.live_runs()).await? {
            if self.live(run).visible().is_none() && archive.has(run).await? {
                self.finish(run).await?;
            }
        }
        Ok(())
    }

    /// Waits until a log that is not written to at the moment is safe from the loss of this machine, for half a minute at
    /// the most: with an object store, until it is there. `ended`: no more comes.
    pub async fn until_safe(&self, run: RunId, ended: bool) {
        let Some(archive) = &self.archive else { return };
        let safe = async {
            if ended {
                return archive.until_away(run).await;
            }
            let live = self.live(run);
            while !matches!(archive.mirror(&live).await, Ok(true)) && live.visible().is_some() {
                sleep(TICK).await;
            }
        };
        if timeout(KEPT, safe).await.is_err() {
            tracing::warn!(%run, "the log lies here alone: the object store does not take it, which is tried again");
        }
    }

    /// Puts what open logs have got into the object store, for others to read and to go on with. Never ends.
    pub async fn mirror(&self) {
        let Some(archive) = &self.archive else { return };
        loop {
            sleep(TICK).await;
            let live: Vec<Arc<Live>> = self.registry().live.values().cloned().collect();
            archive.mirror_due(live).await;
        }
    }

    /// Puts finished logs into the object store, whenever there are some, until the service ends.
    pub async fn put_away(&self, end: CancellationToken) {
        if let Some(archive) = &self.archive {
            archive.put_logs_away(end).await;
        }
    }

    /// A log that nobody writes here, where others may do so; `None` when all that is known of it lies here.
    pub(super) async fn elsewhere(
        &self,
        archive: &Archive,
        run: RunId,
        offset: u64,
        max: usize,
    ) -> Result<Option<Source>, LogError> {
        let files = Arc::clone(&self.files);
        // What waits here to be put there is whole. A live file may be an old one.
        if let Some(done) = blocking(move || files.done_source(run)).await? {
            return Ok(Some(done));
        }
        match archive.source(run, offset, max).await {
            // It is better than nothing.
            Err(_) if self.files.live(run).exists() => Ok(None),
            source => source,
        }
    }
}
