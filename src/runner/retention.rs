//! Deletes logs whose job keeps them no longer. Runs themselves stay.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::Shared;
use crate::{
    domain::{JobId, RunId},
    store::StoreError,
};

/// How often it is looked.
const ROUND: Duration = Duration::from_secs(3600);
/// How many runs of a job are looked at, at once; between batches others get the disk.
const BATCH: u32 = 500;

pub(super) async fn run(shared: Arc<Shared>) {
    // How far each job's logs have been deleted. Forgotten with the service: deleting twice is no harm.
    let mut done = HashMap::new();
    loop {
        if let Err(error) = round(&shared, &mut done).await {
            tracing::error!(error = &error as &dyn std::error::Error, "old logs could not be looked for");
        }
        tokio::time::sleep(ROUND).await;
    }
}

async fn round(shared: &Shared, done: &mut HashMap<JobId, RunId>) -> Result<(), StoreError> {
    for (job, days) in shared.store.log_retentions().await? {
        let end = shared.clock.now().minus(Duration::from_secs(u64::from(days) * 86_400));
        loop {
            let runs = shared.store.ended_before(job, done.get(&job).copied(), end, BATCH).await?;
            for run in &runs {
                if let Err(error) = shared.logs.delete(*run).await {
                    tracing::warn!(%run, error = &error as &dyn std::error::Error, "an old log could not be deleted");
                }
            }
            let Some(last) = runs.last() else { break };
            done.insert(job, *last);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::fixture::Fixture;

    #[tokio::test]
    async fn logs_go_when_their_time_is_over() {
        let fixture = Fixture::new().await;
        let run = fixture.trigger(|_| {}).await;
        fixture.end(run).await;
        let shared = fixture.shared();
        let writer = shared.logs.writer(run).await.unwrap();
        let attempt = crate::domain::AttemptId { run, number: 1 };
        writer.note(shared.clock.now(), attempt, "kept for a while").await.unwrap();
        shared.logs.finish(run).await.unwrap();
        let length = async || shared.logs.read(run, 0, 1000).await.unwrap().bytes.len();
        let day = Duration::from_secs(86_400);
        fixture.clock.advance(day * 29);
        round(shared, &mut HashMap::new()).await.unwrap();
        assert!(length().await > 0);
        fixture.clock.advance(day * 2);
        round(shared, &mut HashMap::new()).await.unwrap();
        assert_eq!(length().await, 0);
    }
}
