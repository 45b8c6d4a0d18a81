//! What has changed from one look to the next: a swarm tells no events about tasks.

use std::{collections::HashMap, sync::Arc};

use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::sleep;

use super::snapshot::{Cluster, POLL, Snapshot};
use crate::{domain::AttemptId, engines::Change};

/// How each service stood at the last look.
type Stands = HashMap<AttemptId, (Option<String>, Option<String>)>;

/// Ends when the manager cannot be asked.
pub(super) fn watch(cluster: Arc<Cluster>) -> BoxStream<'static, Change> {
    stream::unfold((cluster, None::<Stands>), |(cluster, before)| async move {
        if before.is_some() {
            sleep(POLL).await;
        }
        let snapshot = cluster.snapshot(POLL / 2).await.ok()?;
        let now = stands(&snapshot);
        let changed: Vec<_> = before.as_ref().map(|before| differences(before, &now)).unwrap_or_default();
        Some((stream::iter(changed.into_iter().map(Change::Workload)), (cluster, Some(now))))
    })
    .flatten()
    .boxed()
}

fn stands(snapshot: &Snapshot) -> Stands {
    snapshot
        .workloads()
        .map(|workload| {
            let task = workload.task();
            // Each new state has a new time.
            let status = task.and_then(|task| task.status.as_ref()?.timestamp.clone());
            (workload.attempt, (task.and_then(|task| task.id.clone()), status))
        })
        .collect()
}

fn differences(before: &Stands, now: &Stands) -> Vec<AttemptId> {
    let gone = before.keys().filter(|attempt| !now.contains_key(attempt));
    let moved = now.iter().filter(|(attempt, stand)| before.get(attempt) != Some(stand)).map(|(attempt, _)| attempt);
    gone.chain(moved).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RunId;

    #[test]
    fn new_moved_and_gone_are_told_and_nothing_else() {
        let attempt = || AttemptId { run: RunId::generate(), number: 1 };
        let (same, moved, gone, new) = (attempt(), attempt(), attempt(), attempt());
        let stand = |time: &str| (Some("t".to_owned()), Some(time.to_owned()));
        let before = Stands::from([(same, stand("1")), (moved, stand("1")), (gone, stand("1"))]);
        let now = Stands::from([(same, stand("1")), (moved, stand("2")), (new, stand("1"))]);
        let mut told = differences(&before, &now);
        told.sort_unstable_by_key(ToString::to_string);
        let mut expected = vec![moved, gone, new];
        expected.sort_unstable_by_key(ToString::to_string);
        assert_eq!(told, expected);
    }
}
