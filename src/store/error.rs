//! What can go wrong with the database.

/// A failed database operation. That something does not exist is `Option`, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database schema could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A newer version has been at work on the database: its schema has this migration, which this version lacks.
    #[error(
        "the database has the schema of a newer version (migration {0}): use that version, or restore the backup from \
         before the upgrade"
    )]
    NewerSchema(i64),
    /// Something is stored that this version cannot read.
    #[error("what is stored as {0} cannot be read: was a newer version of the service at work here?")]
    Corrupt(String),
    /// The transaction could not be committed; nothing of it holds.
    #[error("the database could not commit: {0}")]
    Commit(String),
    /// The service is shutting down.
    #[error("the database is closed")]
    Closed,
    /// The address of the database cannot be used.
    #[error("{0}")]
    Address(String),
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => Self::NewerSchema(version),
            error => Self::Migrate(error),
        }
    }
}

impl StoreError {
    pub(super) fn corrupt(what: &str) -> Self {
        Self::Corrupt(what.to_owned())
    }

    /// Whether the same transaction may succeed when it is run again.
    pub(super) fn is_serialization_failure(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else { return false };
        // serialization_failure, deadlock_detected (PostgreSQL manual, appendix A)
        matches!(error.code().as_deref(), Some("40001" | "40P01"))
    }

    /// Whether a row with the same key exists.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}
