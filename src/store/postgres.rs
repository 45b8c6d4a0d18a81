//! PostgreSQL: a pool, and transactions that are run again when they collide.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Session, StoreError, session::Work};

/// How often a transaction is run when it collides with others.
const TRIES: u32 = 8;

/// The advisory lock of the service that leads.
const LEADER_LOCK: i64 = 0x6861_756c_6965_7202;
/// How often a leader looks whether it still leads, and how long the answer may take.
const CHECK: Duration = Duration::from_secs(2);

/// The lock of the service that leads. It is held by a connection: when that ends, so does the lock.
#[derive(Debug)]
pub(super) struct Leadership(PgConnection);

impl Leadership {
    /// Returns when it can no longer be taken for granted.
    pub(super) async fn lost(&mut self) {
        loop {
            tokio::time::sleep(CHECK).await;
            let check = sqlx::query("SELECT 1").execute(&mut self.0);
            if !matches!(tokio::time::timeout(CHECK, check).await, Ok(Ok(_))) {
                return;
            }
        }
    }
}

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
        Ok(Session::postgres(Box::pin(self.pool.acquire()).await?))
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

    /// Takes the lock by which one service among several leads, if it is free.
    pub(super) async fn try_lead(&self) -> Result<Option<Leadership>, StoreError> {
        let mut connection = self.pool.acquire().await?.detach();
        // The server must notice a leader that is gone, but later than the leader itself: see `Leadership::lost`.
        for setting in
            ["SET tcp_keepalives_idle = 6", "SET tcp_keepalives_interval = 3", "SET tcp_keepalives_count = 3"]
        {
            sqlx::query(setting).execute(&mut connection).await?;
        }
        let led: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LEADER_LOCK).fetch_one(&mut connection).await?;
        if led {
            return Ok(Some(Leadership(connection)));
        }
        connection.close().await?;
        Ok(None)
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
