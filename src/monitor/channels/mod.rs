//! Sending notices to channels: at least once, what comes at the same time as one message.
//!
//! The transaction that changes a notice leaves a message for each channel. The [`Courier`] takes channels for which
//! something is due, one service at a time, and tries until the receiver has it.

mod digest;
mod email;
mod forms;
mod send;

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

pub use send::Sender;

use crate::{
    background::Background,
    domain::Clock,
    store::{Store, StoreError},
};

/// How many channels are sent to at once.
const AT_ONCE: usize = 8;
/// How long one try is nobody else's. Longer than a try takes.
const HOLD: Duration = Duration::from_secs(180);
/// How often is looked for something to send. Messages wait some seconds for others anyway.
const LOOK: Duration = Duration::from_secs(2);
/// The pause after the database has failed.
const TROUBLE: Duration = Duration::from_secs(5);
/// How long tries under way may take when the service ends; what is cut off is tried again.
const GOODBYE: Duration = Duration::from_secs(5);

/// Sends notices for as long as it lives.
#[derive(Debug)]
pub struct Courier(Background);

impl Courier {
    /// Begins to send.
    #[must_use]
    pub fn start(store: Store, sender: Arc<Sender>, clock: Arc<dyn Clock>) -> Self {
        let worker = Worker { store, sender, clock, tries: JoinSet::new() };
        Self(Background::start(|stop| worker.run(stop)))
    }

    /// Stops; tries under way may end.
    pub async fn shutdown(self) {
        self.0.shutdown("the sending of notices").await;
    }
}

struct Worker {
    store: Store,
    sender: Arc<Sender>,
    clock: Arc<dyn Clock>,
    tries: JoinSet<()>,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.begin_due().await {
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "it cannot be read what is to be sent");
                    TROUBLE
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
                Some(_) = self.tries.join_next() => {}
            }
        }
        let rest = async { while self.tries.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, rest).await;
    }

    async fn begin_due(&mut self) -> Result<(), StoreError> {
        let room = AT_ONCE.saturating_sub(self.tries.len());
        if room == 0 {
            return Ok(());
        }
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        for one in self.store.claim_channels(self.clock.now(), HOLD, room).await? {
            let sender = Arc::clone(&self.sender);
            self.tries.spawn(async move { sender.try_once(one).await });
        }
        Ok(())
    }
}
