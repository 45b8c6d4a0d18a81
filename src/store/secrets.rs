//! Sealed secrets and registry logins of projects.

use super::{
    Store, StoreError,
    session::{Row, values},
};
use crate::domain::{Name, ProjectId, Registry, Timestamp};

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its name.
    pub name: Name,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// When it stops being valid where it comes from, as far as that was told.
    pub expires_at: Option<Timestamp>,
}

/// A registry with its password, sealed.
#[derive(Debug, Clone)]
pub struct StoredRegistry {
    /// All but the password.
    pub registry: Registry,
    /// The password, sealed.
    pub password: Vec<u8>,
}

impl Store {
    /// Sets a project's secret.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_secret(
        &self,
        project: ProjectId,
        name: &Name,
        sealed: Vec<u8>,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let name = name.to_string();
        self.write(move |session| {
            let (name, sealed) = (name.clone(), sealed.clone());
            Box::pin(async move {
                let sql = "INSERT INTO secrets (project_id, name, value, updated_at, expires_at) \
                           VALUES ($1, $2, $3, $4, $5) ON CONFLICT (project_id, name) DO UPDATE SET \
                           value = excluded.value, updated_at = excluded.updated_at, expires_at = excluded.expires_at";
                session.execute(sql, values![project, name, sealed, now, expires_at]).await.map(|_| ())
            })
        })
        .await
    }

    /// A project's secret, sealed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn secret(&self, project: ProjectId, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT value FROM secrets WHERE project_id = $1 AND name = $2";
        let row = self.read().await?.first(sql, values![project, name.as_str()]).await?;
        row.map(|row| row.get("value")).transpose()
    }

    /// A project's secrets, by name; those after `after`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn secrets(
        &self,
        project: ProjectId,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<StoredSecret>, StoreError> {
        let sql = "SELECT name, updated_at, expires_at FROM secrets WHERE project_id = $1 AND name > $2 \
                   ORDER BY name LIMIT $3";
        let after = after.map_or("", |name| name.as_str());
        let rows = self.read().await?.all(sql, values![project, after, limit]).await?;
        rows.iter().map(secret_from).collect()
    }

    /// Secrets of all projects that stop being valid before a moment, or have.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expiring_secrets(&self, before: Timestamp) -> Result<Vec<(ProjectId, StoredSecret)>, StoreError> {
        let sql = "SELECT project_id, name, updated_at, expires_at FROM secrets WHERE expires_at < $1 \
                   ORDER BY expires_at LIMIT 1000";
        let rows = self.read().await?.all(sql, values![before]).await?;
        rows.iter().map(|row| Ok((ProjectId(row.get("project_id")?), secret_from(row)?))).collect()
    }

    /// Removes a project's secret; `false` when there was none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove_secret(&self, project: ProjectId, name: &Name) -> Result<bool, StoreError> {
        self.remove_named("DELETE FROM secrets WHERE project_id = $1 AND name = $2", project, name).await
    }

    /// Sets a project's registry.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_registry(&self, project: ProjectId, stored: StoredRegistry) -> Result<(), StoreError> {
        self.write(move |session| {
            let stored = stored.clone();
            Box::pin(async move {
                let registry = stored.registry;
                let sql = "INSERT INTO registries (project_id, name, server, username, password, updated_at) \
                           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (project_id, name) DO UPDATE SET \
                           server = excluded.server, username = excluded.username, password = excluded.password, \
                           updated_at = excluded.updated_at";
                session
                    .execute(
                        sql,
                        values![
                            project,
                            registry.name.as_str(),
                            registry.server,
                            registry.username,
                            stored.password,
                            registry.updated_at
                        ],
                    )
                    .await
                    .map(|_| ())
            })
        })
        .await
    }

    /// All registries of a project, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn registries(&self, project: ProjectId) -> Result<Vec<StoredRegistry>, StoreError> {
        let sql = "SELECT name, server, username, password, updated_at FROM registries WHERE project_id = $1 \
                   ORDER BY name LIMIT 1000";
        let rows = self.read().await?.all(sql, values![project]).await?;
        rows.iter()
            .map(|row| {
                Ok(StoredRegistry {
                    registry: Registry {
                        name: row.word("name", |text| text.parse().ok())?,
                        server: row.get("server")?,
                        username: row.get("username")?,
                        updated_at: row.time("updated_at")?,
                    },
                    password: row.get("password")?,
                })
            })
            .collect()
    }

    /// Removes a project's registry; `false` when there was none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove_registry(&self, project: ProjectId, name: &Name) -> Result<bool, StoreError> {
        self.remove_named("DELETE FROM registries WHERE project_id = $1 AND name = $2", project, name).await
    }

    async fn remove_named(&self, sql: &'static str, project: ProjectId, name: &Name) -> Result<bool, StoreError> {
        let name = name.to_string();
        self.write(move |session| {
            let name = name.clone();
            Box::pin(async move { Ok(session.execute(sql, values![project, name]).await? > 0) })
        })
        .await
    }
}

fn secret_from(row: &Row) -> Result<StoredSecret, StoreError> {
    Ok(StoredSecret {
        name: row.word("name", |text| text.parse().ok())?,
        updated_at: row.time("updated_at")?,
        expires_at: row.time_opt("expires_at")?,
    })
}
