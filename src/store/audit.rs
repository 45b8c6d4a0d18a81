//! Who changed what.

use super::{Store, StoreError, session::values};
use crate::domain::{ProjectId, Timestamp};

/// One change that somebody made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Grows with time.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: the token's name.
    pub actor: String,
    /// What, like `job.apply`.
    pub action: String,
    /// To what.
    pub target: String,
}

impl Store {
    /// Keeps a change.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit(
        &self,
        project: Option<ProjectId>,
        actor: &str,
        action: &'static str,
        target: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (actor, target) = (actor.to_owned(), target.to_owned());
        self.write(move |session| {
            let (actor, target) = (actor.clone(), target.clone());
            Box::pin(async move {
                let sql = "INSERT INTO audit (at, project_id, actor, action, target) VALUES ($1, $2, $3, $4, $5)";
                session.execute(sql, values![now, project, actor, action, target]).await.map(|_| ())
            })
        })
        .await
    }

    /// A project's changes, or without one those of the whole installation, the newest first, those before `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit_log(
        &self,
        project: Option<ProjectId>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        // Each by its index: a comparison that holds for NULL too would walk all.
        let (sql, values) = match project {
            Some(project) => (
                "SELECT id, at, actor, action, target FROM audit WHERE project_id = $1 AND id < $2 \
                 ORDER BY id DESC LIMIT $3",
                values![project, before, limit],
            ),
            None => (
                "SELECT id, at, actor, action, target FROM audit WHERE project_id IS NULL AND id < $1 \
                 ORDER BY id DESC LIMIT $2",
                values![before, limit],
            ),
        };
        let rows = self.read().await?.all(sql, values).await?;
        rows.iter()
            .map(|row| {
                Ok(AuditEntry {
                    id: row.get("id")?,
                    at: row.time("at")?,
                    actor: row.get("actor")?,
                    action: row.get("action")?,
                    target: row.get("target")?,
                })
            })
            .collect()
    }
}
