//! Hands out slots whenever something may have changed.

use std::{sync::Arc, time::Duration};

use super::Shared;
use crate::store::StoreError;

/// The longest between two rounds.
const LONGEST: Duration = Duration::from_secs(5);
/// The shortest: many wake-ups in a moment make one round.
const SHORTEST: Duration = Duration::from_millis(5);

pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let pause = match round(&shared).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the queue could not be served; it is tried again"
                );
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = shared.queue_changed.notified() => tokio::time::sleep(SHORTEST).await,
            () = tokio::time::sleep(pause.clamp(SHORTEST, LONGEST)) => {}
        }
    }
}

/// One round; how long nothing is due after it.
async fn round(shared: &Arc<Shared>) -> Result<Duration, StoreError> {
    loop {
        let stopped = shared.store.stop_overdue_in_queue(shared.clock.now()).await?;
        shared.stopped(&stopped);
        let admitted = shared.store.admit(shared.clock.now()).await?;
        let done = admitted.is_empty() && stopped.is_empty();
        shared.launch(admitted);
        if done {
            let now = shared.clock.now();
            shared.metrics.round_done("queue", now);
            let next = shared.store.next_queue_event().await?;
            return Ok(next.map_or(LONGEST, |next| next.since(now)));
        }
    }
}
