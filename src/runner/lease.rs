//! Cancels runs that nobody asks for any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::Shared;
use crate::{
    domain::{RunId, StopCause, Timestamp},
    store::StoreError,
};

/// How often leases are looked at. They last 30 s at the least.
const ROUND: Duration = Duration::from_secs(5);

/// When each leased run was last asked for. Lost with the service: then all leases begin anew.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<RunId, Timestamp>>);

impl Leases {
    pub(super) fn renew(&self, run: RunId, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(run, now);
    }

    /// When a run was last asked for; from now on, if it is not known.
    fn last_seen(&self, run: RunId, now: Timestamp) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(run).or_insert(now)
    }

    fn keep(&self, live: &[RunId]) {
        let live: std::collections::HashSet<_> = live.iter().collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|run, _| live.contains(run));
    }
}

pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(ROUND).await;
        if let Err(error) = round(&shared).await {
            tracing::error!(error = &error as &dyn std::error::Error, "leases could not be looked at");
        }
    }
}

async fn round(shared: &Shared) -> Result<(), StoreError> {
    let leased = shared.store.leased_runs().await?;
    let now = shared.clock.now();
    for (run, seconds, _) in &leased {
        let seen = shared.leases.last_seen(*run, now);
        if now.since(seen) > Duration::from_secs(u64::from(*seconds)) {
            let stopped = shared.store.stop(*run, StopCause::Abandoned, "haulier", now).await?;
            shared.stopped(stopped.as_slice());
        }
    }
    shared.leases.keep(&leased.iter().map(|(run, ..)| *run).collect::<Vec<_>>());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Phase, runner::fixture::Fixture};

    #[tokio::test]
    async fn a_run_that_nobody_asks_for_is_cancelled() {
        let fixture = Fixture::new().await;
        let asked = fixture.trigger(|run| run.abandon_after_seconds = Some(60)).await;
        let forgotten = fixture.trigger(|run| run.abandon_after_seconds = Some(60)).await;
        let unleased = fixture.trigger(|_| {}).await;
        let shared = fixture.shared();
        round(shared).await.unwrap();
        for _ in 0..3 {
            fixture.clock.advance(Duration::from_secs(40));
            shared.leases.renew(asked, shared.clock.now());
            round(shared).await.unwrap();
        }
        for (run, stop) in [(asked, None), (forgotten, Some(StopCause::Abandoned)), (unleased, None)] {
            let run = fixture.run(run).await;
            assert_eq!((run.life.stop, run.life.phase), (stop, Phase::Starting));
        }
    }
}
