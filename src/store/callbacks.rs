//! Callbacks: made with their run, due from the transaction that ends it, tried until delivered.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Session, Store, StoreError,
    session::{Row, Statement, values},
};
use crate::domain::{
    Callback, CallbackKind, CallbackOutcome, CallbackState, CallbackTry, ProjectId, Run, RunId, Timestamp,
};

/// A callback to be stored with its run.
#[derive(Debug, Clone)]
pub struct NewCallback {
    /// Names the delivery; what the address is sealed to.
    pub delivery: Uuid,
    /// In which form it is sent.
    pub kind: CallbackKind,
    /// The sealed address.
    pub url: Vec<u8>,
    /// What of the address may be shown.
    pub target: String,
}

impl Store {
    /// Takes callbacks whose time has come, at most `limit`: nobody else tries them for `hold`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim_callbacks(
        &self,
        now: Timestamp,
        hold: Duration,
        limit: u32,
    ) -> Result<Vec<CallbackTry>, StoreError> {
        const SQL: &str = "SELECT run_id, project_id, delivery_id, kind, url, tries, due_at, ended_at FROM callbacks \
                           WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at LIMIT $2";
        // There is mostly nothing to do, and a write is dear.
        if self.read().await?.first(SQL, values![now, 1]).await?.is_none() {
            return Ok(Vec::new());
        }
        self.write(move |session| {
            Box::pin(async move {
                let mut claimed = Vec::new();
                for row in session.all(SQL, values![now, limit]).await? {
                    claimed.extend(claim(session, &row, now.plus(hold)).await?);
                }
                Ok(claimed)
            })
        })
        .await
    }

    /// When the next callback is due.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_callback_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT MIN(due_at) AS due_at FROM callbacks WHERE due_at IS NOT NULL";
        let row = self.read().await?.first(sql, Vec::new()).await?;
        row.map_or(Ok(None), |row| row.time_opt("due_at"))
    }

    /// Stores what a try came to, and when the next one is due. Does nothing when somebody else has tried it since.
    ///
    /// # Errors
    /// The database failed.
    pub async fn callback_tried(
        &self,
        tried: &CallbackTry,
        outcome: CallbackOutcome,
        next: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (run, number) = (tried.run, tried.number);
        let (status, error, next) = match outcome {
            CallbackOutcome::Delivered { status } => (Some(status), None, None),
            CallbackOutcome::Failed { status, error } => (status, Some(error), next),
            CallbackOutcome::Refused { status, error } => (status, Some(error), None),
        };
        let delivered = error.is_none().then_some(now);
        let given_up = (error.is_some() && next.is_none()).then_some(now);
        self.write(move |session| {
            let error = error.clone();
            Box::pin(async move {
                let sql = "UPDATE callbacks SET due_at = $1, last_status = $2, last_error = $3, delivered_at = $4, \
                           given_up_at = $5 WHERE run_id = $6 AND tries = $7";
                let status = status.map(u32::from);
                session.execute(sql, values![next, status, error, delivered, given_up, run, number]).await.map(|_| ())
            })
        })
        .await
    }

    /// A run's callback, if one was asked for.
    ///
    /// # Errors
    /// The database failed.
    pub async fn callback(&self, run: RunId) -> Result<Option<Callback>, StoreError> {
        let sql = "SELECT delivery_id, kind, target, tries, due_at, last_status, last_error, delivered_at, \
                   given_up_at FROM callbacks WHERE run_id = $1";
        self.read().await?.first(sql, values![run]).await?.as_ref().map(shown).transpose()
    }
}

async fn claim(session: &mut Session, row: &Row, until: Timestamp) -> Result<Option<CallbackTry>, StoreError> {
    let (run, due_at) = (RunId(row.get("run_id")?), row.time("due_at")?);
    let sql = "UPDATE callbacks SET due_at = $1, tries = tries + 1 WHERE run_id = $2 AND due_at = $3 RETURNING tries";
    let Some(claimed) = session.first(sql, values![until, run, due_at]).await? else { return Ok(None) };
    Ok(Some(CallbackTry {
        run,
        project: ProjectId(row.get("project_id")?),
        delivery_id: row.get("delivery_id")?,
        kind: kind_of(row)?,
        url: row.get("url")?,
        number: claimed.number("tries")?,
        ended_at: row.time("ended_at")?,
    }))
}

fn kind_of(row: &Row) -> Result<CallbackKind, StoreError> {
    CallbackKind::parse(&row.get::<String>("kind")?).ok_or_else(|| StoreError::corrupt("callback kind"))
}

fn shown(row: &Row) -> Result<Callback, StoreError> {
    let (due, delivered_at) = (row.time_opt("due_at")?, row.time_opt("delivered_at")?);
    let state = match (delivered_at, row.time_opt("given_up_at")?, due) {
        (Some(_), ..) => CallbackState::Delivered,
        (None, Some(_), _) => CallbackState::GivenUp,
        (None, None, Some(_)) => CallbackState::Due,
        (None, None, None) => CallbackState::Waiting,
    };
    Ok(Callback {
        delivery_id: row.get("delivery_id")?,
        kind: kind_of(row)?,
        target: row.get("target")?,
        state,
        tries: row.number("tries")?,
        next_try_at: due,
        last_status: row.number_opt("last_status")?.and_then(|status| u16::try_from(status).ok()),
        last_error: row.get("last_error")?,
        delivered_at,
    })
}

/// Keeps a callback for a run. Where one was asked for before, by a request that is repeated now, this one takes its
/// place: the earlier receiver waits no longer.
pub(super) fn keeping(new: &NewCallback, run: &Run) -> Statement {
    (
        "INSERT INTO callbacks (run_id, project_id, delivery_id, kind, url, target, due_at, ended_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (run_id) DO UPDATE SET \
         delivery_id = excluded.delivery_id, kind = excluded.kind, url = excluded.url, target = excluded.target, \
         due_at = excluded.due_at, ended_at = excluded.ended_at, tries = 0, last_status = NULL, last_error = NULL, \
         delivered_at = NULL, given_up_at = NULL",
        values![
            run.id,
            run.project,
            new.delivery,
            new.kind.as_str(),
            new.url.clone(),
            new.target.as_str(),
            run.finished_at
        ],
    )
}

/// The run has ended: who waits for it is told, at once.
pub(super) fn due_now(run: RunId, ended_at: Timestamp) -> Statement {
    ("UPDATE callbacks SET due_at = $1, ended_at = $1 WHERE run_id = $2 AND ended_at IS NULL", values![ended_at, run])
}
