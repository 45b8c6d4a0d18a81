//! PostgreSQL: a pool, and transactions that are run again when they collide.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Session, StoreError, session::Work};

/// How often a transaction is run when it collides with others.
const TRIES: u32 = 8;

#[derive(Debug)]
pub(super) struct Postgres {
    pool: PgPool,
}

impl Postgres {
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| StoreError::Address("the address after postgres:// cannot be read".to_owned()))?
            .application_name("haulier")
            .options([("statement_timeout", "30s"), ("lock_timeout", "10s"), ("timezone", "UTC")])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await?;
        sqlx::migrate!("migrations/postgres").run(&pool).await?;
        Ok(Self { pool })
    }

    pub(super) async fn session(&self) -> Result<Session, StoreError> {
        Ok(Session::postgres(self.pool.acquire().await?))
    }

    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: for<'s> Fn(&'s mut Session) -> Work<'s, T>,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.write_once(&work).await {
                Err(error) if error.is_serialization_failure() && tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(u64::from(rand::random_range(1..=5 * tries)))).await;
                }
                result => return result,
            }
        }
    }

    async fn write_once<T, F>(&self, work: &F) -> Result<T, StoreError>
    where
        F: for<'s> Fn(&'s mut Session) -> Work<'s, T>,
    {
        // A transaction of sqlx's, so that a caller that goes away in the middle has it rolled back.
        let mut session = Session::postgres_transaction(self.pool.begin().await?);
        let value = work(&mut session).await?;
        session.commit().await?;
        Ok(value)
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
