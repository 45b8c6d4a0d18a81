//! A run's timeline: what its rows say of themselves, and the entries that stand nowhere else.

use super::{Store, StoreError, session::values};
use crate::domain::{Attempt, AttemptPhase, Run, RunEvent, RunEventKind};

impl Store {
    /// Everything that happened to a run, in order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn timeline(&self, run: &Run) -> Result<Vec<RunEvent>, StoreError> {
        let sql = "SELECT at, kind, attempt, detail FROM events WHERE run_id = $1 ORDER BY id LIMIT 10000";
        let rows = self.read().await?.all(sql, values![run.id]).await?;
        let mut stored: Vec<RunEvent> = rows
            .iter()
            .map(|row| {
                Ok(RunEvent {
                    at: row.time("at")?,
                    kind: row.word("kind", RunEventKind::parse)?,
                    attempt: row.number_opt("attempt")?,
                    detail: row.get("detail")?,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        // First in the order in which one follows from another: several may carry the same time.
        let mut events = vec![RunEvent {
            at: run.created_at,
            kind: RunEventKind::Triggered,
            attempt: None,
            detail: format!("by {}", run.created_by),
        }];
        for attempt in self.attempts(run.id).await? {
            events.extend(of_attempt(&attempt));
            events.extend(stored.extract_if(.., |event| event.attempt == Some(attempt.id.number)));
        }
        events.extend(stored);
        if let Some(at) = run.finished_at {
            let detail = match &run.error {
                None => run.life.phase.as_str().to_owned(),
                Some(error) => format!("{}: {}", run.life.phase.as_str(), error.message),
            };
            events.push(RunEvent { at, kind: RunEventKind::Finished, attempt: None, detail });
        }
        events.sort_by_key(|event| event.at);
        Ok(events)
    }
}

fn of_attempt(attempt: &Attempt) -> impl Iterator<Item = RunEvent> {
    let entry = |at, kind, detail: String| RunEvent { at, kind, attempt: Some(attempt.id.number), detail };
    let admitted = entry(attempt.created_at, RunEventKind::Admitted, format!("to engine {}", attempt.engine));
    let started = attempt.started_at.map(|at| entry(at, RunEventKind::Started, attempt.id.workload_name().to_string()));
    let ended = attempt.ended_at.filter(|_| attempt.phase == AttemptPhase::Ended).map(|at| {
        let detail = match (&attempt.error, attempt.exit_code) {
            (Some(error), _) => error.message.clone(),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => String::new(),
        };
        entry(at, RunEventKind::AttemptEnded, detail)
    });
    [Some(admitted), started, ended].into_iter().flatten().collect::<Vec<_>>().into_iter()
}
