//! Deletes what is kept no longer: logs, as each job says, and then what is older than the history is kept.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};

use super::{Shared, history};
use crate::{domain::RunId, store::StoreError};

/// How often it is looked.
const ROUND: Duration = Duration::from_secs(3600);
/// How many runs of a job are looked at, at once; between batches others get the disk.
const BATCH: u32 = 500;
/// How many logs are deleted at once: each may be a request.
pub(super) const AT_A_TIME: usize = 8;

pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        if let Err(error) = round(&shared).await {
            tracing::error!(error = &error as &dyn std::error::Error, "old logs could not be looked for");
        }
        if let Err(error) = history::round(&shared).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the old history could not be deleted");
        }
        tokio::time::sleep(ROUND).await;
    }
}

async fn round(shared: &Shared) -> Result<(), StoreError> {
    for (job, days, mut deleted_to) in shared.store.log_retentions().await? {
        let end = shared.clock.now().minus(Duration::from_secs(u64::from(days) * 86_400));
        loop {
            let runs = shared.store.ended_before(job, deleted_to, end, BATCH).await?;
            let delete = async |run: &RunId| {
                if let Err(error) = shared.logs.delete(*run).await {
                    tracing::warn!(%run, error = &error as &dyn std::error::Error, "an old log could not be deleted");
                }
            };
            stream::iter(&runs).for_each_concurrent(AT_A_TIME, delete).await;
            let Some(last) = runs.last() else { break };
            // Stored, so that the next service does not begin with the oldest run again.
            shared.store.logs_deleted_to(job, *last).await?;
            deleted_to = Some(*last);
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
        round(shared).await.unwrap();
        assert!(length().await > 0);
        fixture.clock.advance(day * 2);
        round(shared).await.unwrap();
        assert_eq!(length().await, 0);
        assert_eq!(shared.store.log_retentions().await.unwrap()[0].2, Some(run));
    }
}
