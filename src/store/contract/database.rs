//! Databases that tests have to themselves.

use std::{env, path::PathBuf};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::engines::contract::skipped;

/// Names the server on which tests make their databases.
const SERVER: &str = "HAULIER_TEST_POSTGRES_URL";

/// A fresh database, removed when it is dropped, also by a panic.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    remains: Option<Remains>,
}

#[derive(Debug)]
enum Remains {
    Folder(PathBuf),
    Database { server: String, name: String },
}

impl TestDatabase {
    /// A database file in a folder of its own.
    ///
    /// # Panics
    /// The folder cannot be made.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = env::temp_dir().join(format!("haulier-store-{}", Uuid::now_v7().simple()));
        std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let url = format!("sqlite:{}", folder.join("haulier.db").display());
        Self { url, remains: Some(Remains::Folder(folder)) }
    }

    /// A database of its own on the server for tests. `None`, said aloud, where there is no server.
    ///
    /// # Panics
    /// The server that is named does not make one.
    pub async fn postgres() -> Option<Self> {
        let Ok(server) = env::var(SERVER) else {
            let thread = std::thread::current();
            let why = format!("{SERVER} is not set: eval \"$(tests/support/infra)\"");
            skipped(thread.name().unwrap_or("PostgreSQL"), &why);
            return None;
        };
        let name = format!("haulier_test_{}", Uuid::now_v7().simple());
        command(&server, format!("CREATE DATABASE {name}")).await.expect("the PostgreSQL for tests makes a database");
        let (base, options) = server.split_once('?').map_or((server.as_str(), ""), |(base, options)| (base, options));
        let (address, _) = base.rsplit_once('/').expect("the address names a database");
        let url = format!("{address}/{name}?{options}").trim_end_matches('?').to_owned();
        Some(Self { url, remains: Some(Remains::Database { server, name }) })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Removes it.
    ///
    /// # Panics
    /// It cannot be removed.
    pub async fn drop(mut self) {
        if let Some(remains) = self.remains.take() {
            remains.remove().await.expect("the database can be removed");
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(remains) = self.remains.take() else { return };
        // On a thread of its own, for this one may be in the midst of another runtime.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(remains.remove()).ok()
        });
        let _ = removal.join();
    }
}

impl Remains {
    async fn remove(self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Folder(folder) => Ok(std::fs::remove_dir_all(folder)?),
            Self::Database { server, name } => {
                Ok(command(&server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?)
            }
        }
    }
}

async fn command(server: &str, sql: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(server).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}
