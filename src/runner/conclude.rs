//! The end of an attempt: judged, stored, told.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::Shared;
use crate::{
    domain::{AttemptEnd, AttemptId, AttemptResult, LogSummary, Reports, Run, Timestamp},
    store::StoreError,
};

/// Judges the end of an attempt that began then, stores what follows, tells the world. Whether the run has ended with it.
pub(super) async fn conclude(
    shared: &Arc<Shared>,
    (id, began): (AttemptId, Timestamp),
    end: &AttemptEnd,
    reports: &Reports,
    log: LogSummary,
) -> bool {
    let result = AttemptResult::judge(end, reports);
    let now = shared.clock.now();
    let concluded = persist(|| shared.store.conclude(id, result.clone(), reports.clone(), log, now)).await;
    let Some(concluded) = concluded else { return false };
    shared.launch(concluded.admitted);
    tell_end(&concluded.run, &result);
    let error = result.verdict.as_ref().err();
    shared.tracer.attempt_ended(&concluded.run, id, began, result.exit_code, error);
    let (run, finished) = (concluded.run, log);
    let terminal = run.life.phase.is_terminal();
    let id = run.id;
    if terminal {
        shared.metrics.ended(&run);
    }
    shared.hub.publish(run);
    if terminal {
        let logs = shared.logs.clone();
        shared.tasks.spawn(async move {
            if let Err(error) = logs.finish(id).await {
                tracing::error!(run = %id, bytes = finished.bytes, error = &error as &dyn std::error::Error, "the log could not be put away; it stays readable");
            }
        });
    }
    terminal
}

fn tell_end(run: &Run, result: &AttemptResult) {
    let state = run.life.state().as_str();
    match &result.verdict {
        Ok(_) => tracing::info!(state, "the attempt ended well"),
        Err(error) => {
            tracing::info!(state, code = error.code.as_str(), exit_code = result.exit_code, "{}", error.message);
        }
    }
}

/// Does a piece of database work until it succeeds: what happened must be stored, however long the database is away.
pub(super) async fn persist<T, F>(work: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = Duration::from_millis(100);
    loop {
        match work().await {
            Ok(value) => return value,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the database failed; it is tried again");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
        }
    }
}
