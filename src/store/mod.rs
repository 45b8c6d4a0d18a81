//! The database: every SQL statement is here, written once for SQLite and PostgreSQL.
//!
//! [`Store`] has one `impl` block an aggregate. What decides is in `domain`; a method here loads what a decision
//! needs, has it made, and stores what follows, in one transaction.
//!
//! **Architecture Invariant:** a run changes only through a transition of its `Lifecycle`, and the UPDATE is fenced by
//! the phase and attempt it was computed from.

mod activity;
mod admission;
mod attempts;
mod audit;
mod callbacks;
mod capacities;
mod channels;
#[doc(hidden)]
pub mod contract;
mod error;
mod figures;
mod jobs;
mod lead;
mod limits;
mod notices;
mod postgres;
mod projects;
mod retention;
mod run_list;
mod runs;
mod samples;
mod schedules;
mod secrets;
mod session;
mod sign_ins;
mod sqlite;
mod states;
mod stops;
mod timeline;
mod tokens;
mod trigger;
mod watched;

use std::sync::Arc;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

pub use activity::RunGlance;
pub use admission::Admitted;
pub use attempts::{Concluded, LaunchPlan, LiveAttempt};
pub use audit::AuditEntry;
pub use callbacks::NewCallback;
pub use capacities::EngineLoad;
pub use channels::{ChannelTry, Message, Sent, StoredChannel};
pub use error::StoreError;
pub use figures::{Figures, LimitFigures};
pub use jobs::{Applied, JobPage, NewRevision};
pub use lead::Leadership;
pub use limits::{Blocker, Bound, LimitUsage, Removal};
pub use notices::{JudgedRun, NoticeFilter, Over};
pub use run_list::{RunFilter, RunPage};
pub use samples::Expectation;
pub use schedules::{DueSchedule, SCHEDULER, ScheduleState, Served};
pub use secrets::{StoredRegistry, StoredSecret};
pub use session::Session;
pub use sign_ins::PersonSession;
pub use states::StateVersion;
pub use stops::Stopped;
pub use trigger::{NewRun, TriggerOutcome};
pub use watched::{ExpiringToken, LiveRun, LongHolder};

use crate::{domain::InstallationId, metrics::StoreTimings};

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Backend,
    installation: InstallationId,
    timings: StoreTimings,
}

#[derive(Debug, Clone)]
enum Backend {
    Sqlite(Arc<sqlite::Sqlite>),
    Postgres(Arc<postgres::Postgres>),
}

impl Store {
    /// Opens the database at `sqlite:PATH` or `postgres://…`, makes it when it is not there (SQLite), and brings its
    /// schema up to date.
    ///
    /// # Errors
    /// The address is of neither kind, the database cannot be reached, or its schema is newer than this program.
    pub async fn open(url: &SecretString) -> Result<Self, StoreError> {
        let text = url.expose_secret();
        let backend = if let Some(path) = text.strip_prefix("sqlite:") {
            Backend::Sqlite(Arc::new(sqlite::Sqlite::open(path.trim_start_matches("//")).await?))
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Backend::Postgres(Arc::new(postgres::Postgres::open(text).await?))
        } else {
            let advice =
                "the database address begins with neither 'sqlite:' nor 'postgres://': see HAULIER_DATABASE_URL";
            return Err(StoreError::Address(advice.to_owned()));
        };
        let mut store = Self { backend, installation: InstallationId::generate(), timings: StoreTimings::default() };
        store.installation = store.installation_id().await?;
        Ok(store)
    }

    /// Which installation this database belongs to.
    #[must_use]
    pub const fn installation(&self) -> InstallationId {
        self.installation
    }

    /// `sqlite` or `postgres`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.backend {
            Backend::Sqlite(_) => "sqlite",
            Backend::Postgres(_) => "postgres",
        }
    }

    /// How long its work takes.
    #[must_use]
    pub const fn timings(&self) -> &StoreTimings {
        &self.timings
    }

    /// A connection for reading.
    async fn read(&self) -> Result<Session, StoreError> {
        let timer = self.timings.read();
        let session = match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.read().await,
            Backend::Postgres(postgres) => postgres.session().await,
        };
        Ok(session?.timed(timer))
    }

    /// Runs `work` in a transaction that is on disk when this returns. An error undoes all of it.
    ///
    /// `work` may be run more than once (PostgreSQL asks for it when transactions collide), so it must do nothing but
    /// database work.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'s> Fn(&'s mut Session) -> BoxFuture<'s, Result<T, StoreError>> + Send + Sync + 'static,
    {
        let _timer = self.timings.write();
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.write(work).await,
            Backend::Postgres(postgres) => Box::pin(postgres.write(work)).await,
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read().await?.count("SELECT CAST(1 AS BIGINT) AS n", Vec::new()).await.map(|_| ())
    }

    /// Waits for writes under way and closes the database.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(postgres) => postgres.close().await,
        }
    }

    async fn installation_id(&self) -> Result<InstallationId, StoreError> {
        let fresh = InstallationId::generate();
        let stored = self.setting_or("installation", fresh.to_string()).await?;
        stored.parse().map_err(|_| StoreError::corrupt("installation"))
    }

    /// The setting of this name; `otherwise` is stored, and is the answer, when there is none yet.
    ///
    /// # Errors
    /// The database failed.
    pub async fn setting_or(&self, name: &str, otherwise: String) -> Result<String, StoreError> {
        let name = name.to_owned();
        self.write(move |session| {
            let (name, otherwise) = (name.clone(), otherwise.clone());
            Box::pin(async move {
                session
                    .execute(
                        "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                        session::values![name.as_str(), otherwise],
                    )
                    .await?;
                let row = session
                    .first("SELECT value FROM settings WHERE name = $1", session::values![name.as_str()])
                    .await?;
                row.ok_or_else(|| StoreError::corrupt("settings"))?.get("value")
            })
        })
        .await
    }
}
