//! Who hears of a workload's end, and from whom.
//!
//! Shims that this process has started say so on their stdout, at once. Those of others are known by the end of their
//! process. Each workload is watched once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream::BoxStream};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use super::rundir::Shim;
use crate::{domain::AttemptId, engines::Change};

/// How many changes a slow listener may be behind before it is told to look at everything.
const BEHIND: usize = 1024;

/// Tells all listeners of this process.
#[derive(Debug, Clone)]
pub(super) struct Watch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    changes: broadcast::Sender<AttemptId>,
    watched: Mutex<HashSet<AttemptId>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self(Arc::new(Inner { changes: broadcast::channel(BEHIND).0, watched: Mutex::default() }))
    }
}

impl Watch {
    fn watched(&self) -> MutexGuard<'_, HashSet<AttemptId>> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller tells of this workload from now on; `false`: someone does already.
    pub(super) fn claim(&self, attempt: AttemptId) -> bool {
        self.watched().insert(attempt)
    }

    /// Something may have changed with it.
    pub(super) fn tell(&self, attempt: AttemptId) {
        // Nobody listening is no error.
        let _ = self.0.changes.send(attempt);
    }

    /// The last that is told of it.
    pub(super) fn release(&self, attempt: AttemptId) {
        self.watched().remove(&attempt);
        self.tell(attempt);
    }

    /// Watches a shim that was started by another process, or by an earlier one.
    pub(super) fn adopt(&self, attempt: AttemptId, shim: Shim) {
        if !self.claim(attempt) {
            return;
        }
        let watch = self.clone();
        tokio::spawn(async move {
            // A watch that fails is an end too early told: whoever looks sees that it is none.
            let _ = shim.gone().await;
            watch.release(attempt);
        });
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<AttemptId> {
        self.0.changes.subscribe()
    }

    pub(super) fn changes(&self) -> BoxStream<'static, Change> {
        BroadcastStream::new(self.listen()).map(|change| change.map_or(Change::Everything, Change::Workload)).boxed()
    }
}
