//! Removes what is left on the engines, asks them how they are, and takes up what has no task.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{EngineStatus, Shared, engines::EngineEntry};
use crate::{domain::AttemptId, engines::EngineError};

/// How often engines are asked how they are.
const PROBE: Duration = Duration::from_secs(10);
/// How many probes make one sweep.
const SWEEP_EVERY: u32 = 6;
/// A workload younger than this may belong to an attempt whose intent was stored after the list of live ones was read.
const YOUNG: Duration = Duration::from_secs(60);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut rounds: u32 = 0;
    loop {
        for (name, entry) in shared.engines.iter() {
            let health = entry.engine.probe().await;
            entry.set_status(EngineStatus { health, at: shared.clock.now() });
            if rounds % SWEEP_EVERY == 1
                && let Err(error) = sweep(&shared, name, entry).await
            {
                tracing::debug!(engine = name, error = &*error, "the engine could not be swept");
            }
        }
        if rounds.is_multiple_of(SWEEP_EVERY)
            && let Err(error) = shared.take_up().await
        {
            tracing::error!(error = &error as &dyn std::error::Error, "live attempts could not be read");
        }
        rounds = rounds.wrapping_add(1);
        tokio::time::sleep(PROBE).await;
    }
}

/// Removes workloads of ours whose attempt has its result, or never was.
async fn sweep(
    shared: &Shared,
    name: &str,
    entry: &EngineEntry,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // First what is on the engine, then what is wanted: the other way round would take a new one for a left one.
    let mut left = entry.engine.list().await.map_err(Box::new)?;
    let now = shared.clock.now();
    left.retain(|found| !shared.is_driven(found.handle.attempt) && now.since(found.created_at) >= YOUNG);
    if left.is_empty() {
        return Ok(());
    }
    let wanted = shared.store.live_attempts(|_| true).await?;
    let wanted: HashSet<AttemptId> = wanted.into_iter().map(|live| live.id).collect();
    for left in left {
        let attempt = left.handle.attempt;
        // It may have got its task meanwhile.
        if wanted.contains(&attempt) || shared.is_driven(attempt) {
            continue;
        }
        tracing::info!(engine = name, workload = %attempt.workload_name(), "a workload that nobody needs is removed");
        let removed: Result<(), EngineError> = entry.engine.remove(&left.handle).await;
        removed.map_err(Box::new)?;
    }
    Ok(())
}
