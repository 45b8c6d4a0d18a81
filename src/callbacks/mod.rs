//! Callbacks: telling those who asked for it that their run has ended.
//!
//! The database decides what is due; a [`Deliverer`] takes what is due, one service at a time, and tries it until the
//! receiver has it. It is woken by the ends of runs and by the time of the next try.

mod deliver;
mod payload;
mod target;

use std::{sync::Arc, time::Duration};

use tokio::{sync::broadcast::Receiver, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

pub(crate) use deliver::{http_client, in_words, signed};
pub use target::{TargetPolicy, shown};

use crate::{
    background::Background,
    domain::Clock,
    runner::{CachedRun, Hub, some_run_ended},
    store::{Store, StoreError},
    vault::ProjectKeys,
};
use deliver::Sender;

/// How many are tried at once.
const AT_ONCE: usize = 32;
/// How long one try is nobody else's: longer than it takes, and no longer than a receiver can wait for the next should
/// the service die of this one.
const HOLD: Duration = Duration::from_secs(45);
/// How often is looked for what other services made due.
const LOOK: Duration = Duration::from_secs(2);
/// The pause after the database has failed.
const TROUBLE: Duration = Duration::from_secs(5);
/// How long tries under way may take when the service ends; what is cut off is tried again.
const GOODBYE: Duration = Duration::from_secs(5);

/// Delivers callbacks for as long as it lives.
#[derive(Debug)]
pub struct Deliverer(Background);

impl Deliverer {
    /// Begins to deliver.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn start(
        store: Store,
        keys: ProjectKeys,
        hub: &Hub,
        clock: Arc<dyn Clock>,
        policy: TargetPolicy,
    ) -> anyhow::Result<Self> {
        let sender = Arc::new(Sender::new(store.clone(), keys, Arc::clone(&clock), policy)?);
        let worker = Worker { store, sender, clock, changes: hub.subscribe(), tries: JoinSet::new() };
        Ok(Self(Background::start(|stop| worker.run(stop))))
    }

    /// Stops; tries under way may end.
    pub async fn shutdown(self) {
        self.0.shutdown("the delivery of callbacks").await;
    }
}

struct Worker {
    store: Store,
    sender: Arc<Sender>,
    clock: Arc<dyn Clock>,
    changes: Receiver<Arc<CachedRun>>,
    tries: JoinSet<()>,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.begin_due().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "due callbacks cannot be read");
                    TROUBLE
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
                () = some_run_ended(&mut self.changes) => {}
                Some(_) = self.tries.join_next() => {}
            }
        }
        let rest = async { while self.tries.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, rest).await;
    }

    /// Begins with what is due; how long nothing else will be.
    async fn begin_due(&mut self) -> Result<Duration, StoreError> {
        let room = AT_ONCE.saturating_sub(self.tries.len());
        let now = self.clock.now();
        if room > 0 {
            for one in self.store.claim_callbacks(now, HOLD, u32::try_from(room).unwrap_or(u32::MAX)).await? {
                let sender = Arc::clone(&self.sender);
                self.tries.spawn(async move { sender.try_once(one).await });
            }
        }
        // With no room left, the end of a try is what is waited for.
        let next = match self.tries.len() < AT_ONCE {
            true => self.store.next_callback_at().await?.map(|next| next.since(now)),
            false => None,
        };
        let most = if self.store.is_shared() { LOOK } else { HOLD };
        Ok(next.map_or(most, |next| next.min(most)))
    }
}
