//! Starts runs whose time has come.

use std::{sync::Arc, time::Duration};

use super::Shared;
use crate::store::{DueSchedule, StoreError, TriggerOutcome};

/// The longest between two rounds: a clock may be set.
const LONGEST: Duration = Duration::from_secs(10);
/// The same where other services may store schedules.
const LOOK: Duration = Duration::from_secs(1);
/// How many are served in one round.
const BATCH: u32 = 100;

pub(super) async fn run(shared: Arc<Shared>) {
    let longest = if shared.store.is_shared() { LOOK } else { LONGEST };
    loop {
        let pause = match round(&shared).await {
            Ok(pause) => pause,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "schedules could not be looked at; it is tried again");
                LOOK
            }
        };
        tokio::select! {
            () = shared.schedules_changed.notified() => {}
            () = tokio::time::sleep(pause.min(longest)) => {}
        }
    }
}

/// One round; how long nothing is due after it.
async fn round(shared: &Arc<Shared>) -> Result<Duration, StoreError> {
    loop {
        let due = shared.store.due_schedules(shared.clock.now(), BATCH).await?;
        if due.is_empty() {
            break;
        }
        for one in due {
            serve(shared, one).await?;
        }
    }
    let (now, next) = (shared.clock.now(), shared.store.next_schedule_at().await?);
    shared.metrics.round_done("schedules", now);
    Ok(next.map_or(LONGEST, |next| next.since(now)))
}

async fn serve(shared: &Arc<Shared>, due: DueSchedule) -> Result<(), StoreError> {
    let now = shared.clock.now();
    let Some(served) = shared.store.serve_schedule(due, shared.engines.default_name(), now).await? else {
        return Ok(());
    };
    let job = served.job.as_str();
    match (served.time, served.outcome) {
        (Some(time), Some(TriggerOutcome::Created { run, admitted, stopped })) => {
            tracing::info!(job, run = %run.id, %time, "started by its schedule");
            shared.metrics.triggered(true);
            shared.hub.publish(*run);
            shared.launch(admitted);
            shared.stopped(&stopped);
        }
        (Some(time), _) => tracing::warn!(job, %time, "the job was full, so its schedule started nothing"),
        (None, _) => tracing::warn!(job, time = %due.time, "it is too late for the schedule's time: see catch_up"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{domain::RunState, runner::fixture::Fixture};

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn each_time_is_served_once() {
        let fixture = Fixture::new().await;
        let job = fixture.job(json!({"schedule": {"cron": "* * * * *"}, "max_parallel": 1})).await;
        let shared = fixture.shared();
        assert!(round(shared).await.unwrap() <= MINUTE);
        assert_eq!(fixture.runs(job).await.len(), 0);
        for minute in 1..=3 {
            fixture.clock.advance(MINUTE);
            round(shared).await.unwrap();
            round(shared).await.unwrap();
            assert_eq!(fixture.runs(job).await.len(), minute);
        }
        let runs = fixture.runs(job).await;
        // The newest first; overlapping runs wait, as the job's own rule says.
        assert_eq!(runs[2].life.state(), RunState::Starting);
        assert_eq!(runs[0].life.state(), RunState::Queued);
        assert_eq!((runs[0].source["kind"].as_str(), runs[0].created_by.as_str()), ("schedule", "haulier"));
        let times: std::collections::HashSet<_> = runs.iter().map(|run| run.source["time"].clone()).collect();
        assert_eq!(times.len(), 3);
    }

    #[tokio::test]
    async fn what_is_full_or_too_late_is_told() {
        let fixture = Fixture::new().await;
        let full = json!({"schedule": {"cron": "* * * * *"}, "max_parallel": 1, "when_full": "reject"});
        let full = fixture.job(full).await;
        let late = fixture.job(json!({"schedule": {"cron": "0 0 1 1 *", "catch_up": "none"}})).await;
        let shared = fixture.shared();
        fixture.clock.advance(MINUTE);
        round(shared).await.unwrap();
        fixture.clock.advance(400 * 24 * 60 * MINUTE);
        round(shared).await.unwrap();
        assert_eq!((fixture.runs(full).await.len(), fixture.runs(late).await.len()), (1, 0));
        let state = shared.store.schedule(full).await.unwrap().unwrap();
        assert!(state.last_run.is_none() && state.last_problem.is_some());
        let state = shared.store.schedule(late).await.unwrap().unwrap();
        assert!(state.last_time.is_none() && state.next_time > Some(shared.clock.now()));
    }
}
