//! Which service leads, when several share one database.

use super::{Backend, Store, StoreError, postgres};

/// The right to launch and watch runs. One service has it at a time.
#[derive(Debug)]
pub struct Leadership(Option<postgres::Leadership>);

impl Store {
    /// Leads, if nobody else does. A SQLite database has one service, which always leads.
    ///
    /// # Errors
    /// The database failed.
    pub async fn try_lead(&self) -> Result<Option<Leadership>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Some(Leadership(None))),
            Backend::Postgres(postgres) => Ok(postgres.try_lead().await?.map(|held| Leadership(Some(held)))),
        }
    }

    /// Whether other services may change the same database at the same time.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }
}

impl Leadership {
    /// Returns when somebody else may lead.
    pub async fn lost(&mut self) {
        match &mut self.0 {
            Some(held) => held.lost().await,
            None => std::future::pending().await,
        }
    }
}
