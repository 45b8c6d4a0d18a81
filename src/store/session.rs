//! One connection to either database, and values that both understand.
//!
//! Every query is written once, in the SQL that SQLite and PostgreSQL share (`$1` placeholders work on both).

use futures::{TryStreamExt as _, future::BoxFuture};
use sqlx::{
    AssertSqlSafe, Decode, Postgres, Row as _, SqlSafeStr as _, SqlStr, Sqlite, SqliteConnection, Transaction, Type,
    pool::PoolConnection, postgres::PgRow, sqlite::SqliteRow,
};
use uuid::Uuid;

use super::StoreError;
use crate::{
    domain::{ChannelId, JobId, LimitId, NoticeId, ProjectId, RunId, Timestamp, TokenId},
    metrics::Timer,
};

/// A connection, perhaps inside a transaction.
#[derive(Debug)]
pub struct Session(Inner, #[expect(dead_code, reason = "times the session until it is dropped")] Option<Timer>);

#[derive(Debug)]
enum Inner {
    SqliteWriter(SqliteWriter),
    SqliteReader(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    PostgresTransaction(Transaction<'static, Postgres>),
}

#[derive(Debug)]
struct SqliteWriter {
    connection: SqliteConnection,
    /// Whether statements may wait for the next one to go along with. Then a failure shows up later, perhaps in the
    /// work of somebody else: whoever lets them wait must be ready to do all of it again.
    may_wait: bool,
    waiting: Vec<Statement>,
}

/// Which of the two it is, for the few statements that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// A value to bind. `None` is NULL of that type.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Id(Option<Uuid>),
    Bool(bool),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident, $convert:expr;)*) => {
        $(
            impl From<$from> for Value {
                fn from(value: $from) -> Self {
                    Self::$variant(Some(value).map($convert))
                }
            }
            impl From<Option<$from>> for Value {
                fn from(value: Option<$from>) -> Self {
                    Self::$variant(value.map($convert))
                }
            }
        )*
    };
}

value_from! {
    i64 => Int, |v| v;
    i32 => Int, i64::from;
    u32 => Int, i64::from;
    Timestamp => Int, Timestamp::as_micros;
    String => Text, |v| v;
    &str => Text, str::to_owned;
    Vec<u8> => Bytes, |v| v;
    &[u8] => Bytes, <[u8]>::to_vec;
    Uuid => Id, |v| v;
    ProjectId => Id, |v| v.0;
    JobId => Id, |v| v.0;
    RunId => Id, |v| v.0;
    LimitId => Id, |v| v.0;
    TokenId => Id, |v| v.0;
    NoticeId => Id, |v| v.0;
    ChannelId => Id, |v| v.0;
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// Values for a statement's `$1`, `$2`, …
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::session::Value::from($value)),*] };
}
pub(super) use values;

/// A row of either database.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A column's value.
    pub(super) fn get<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A moment.
    pub(super) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.get(column).map(Timestamp::from_micros)
    }

    /// A moment or NULL.
    pub(super) fn time_opt(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }

    /// A number that is never negative.
    pub(super) fn number(&self, column: &str) -> Result<u32, StoreError> {
        u32::try_from(self.get::<i64>(column)?).map_err(|_| StoreError::corrupt(column))
    }

    /// Such a number or NULL.
    pub(super) fn number_opt(&self, column: &str) -> Result<Option<u32>, StoreError> {
        let value: Option<i64> = self.get(column)?;
        value.map(|value| u32::try_from(value).map_err(|_| StoreError::corrupt(column))).transpose()
    }

    /// An exit code or NULL.
    pub(super) fn exit_code(&self, column: &str) -> Result<Option<i32>, StoreError> {
        let value: Option<i64> = self.get(column)?;
        value.map(|value| i32::try_from(value).map_err(|_| StoreError::corrupt(column))).transpose()
    }

    /// A JSON document.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_str(&self.get::<String>(column)?).map_err(|_| StoreError::corrupt(column))
    }

    /// A JSON document or NULL.
    pub(super) fn json_opt<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| StoreError::corrupt(column))).transpose()
    }

    /// A value that is stored as one of a few words.
    pub(super) fn word<T>(&self, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, StoreError> {
        parse(&self.get::<String>(column)?).ok_or_else(|| StoreError::corrupt(column))
    }

    /// Such a value or NULL.
    pub(super) fn word_opt<T>(&self, column: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| parse(&text).ok_or_else(|| StoreError::corrupt(column))).transpose()
    }
}

/// JSON text of a value that always can be written as JSON.
pub(super) fn json_text<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::corrupt("value to store"))
}

/// Runs `$body` with `$query` built for, and `$connection` borrowed from, whichever database the session is on.
///
/// Futures of queries are large: they are boxed, so that a request that has asked and now waits does not carry room for
/// one all the while.
macro_rules! on_either {
    ($session:expr, $sql:expr, $values:expr, |$query:ident, $connection:ident, $wrap:ident| $body:expr) => {
        match &mut $session.0 {
            Inner::SqliteWriter(connection) => {
                let connection = &mut connection.connection;
                let ($query, $connection, $wrap) = (bound::<Sqlite>($sql, $values), connection, Row::Sqlite);
                $body
            }
            Inner::SqliteReader(connection) => {
                let ($query, $connection, $wrap) = (bound::<Sqlite>($sql, $values), &mut **connection, Row::Sqlite);
                $body
            }
            Inner::Postgres(connection) => {
                let ($query, $connection, $wrap) = (bound::<Postgres>($sql, $values), &mut **connection, Row::Postgres);
                $body
            }
            Inner::PostgresTransaction(connection) => {
                let ($query, $connection, $wrap) = (bound::<Postgres>($sql, $values), &mut **connection, Row::Postgres);
                $body
            }
        }
    };
}

impl Session {
    pub(super) const fn sqlite_writer(connection: SqliteConnection) -> Self {
        Self(Inner::SqliteWriter(SqliteWriter { connection, may_wait: false, waiting: Vec::new() }), None)
    }

    pub(super) const fn sqlite_reader(connection: PoolConnection<Sqlite>) -> Self {
        Self(Inner::SqliteReader(connection), None)
    }

    pub(super) const fn postgres(connection: PoolConnection<Postgres>) -> Self {
        Self(Inner::Postgres(connection), None)
    }

    pub(super) const fn postgres_transaction(transaction: Transaction<'static, Postgres>) -> Self {
        Self(Inner::PostgresTransaction(transaction), None)
    }

    /// The same, timed until it is dropped.
    pub(super) fn timed(self, timer: Timer) -> Self {
        Self(self.0, Some(timer))
    }

    /// Commits, where the session is a transaction.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self.0 {
            Inner::PostgresTransaction(transaction) => Ok(transaction.commit().await?),
            Inner::SqliteWriter(_) | Inner::SqliteReader(_) | Inner::Postgres(_) => Ok(()),
        }
    }

    /// The writer's connection, to close it.
    pub(super) fn into_sqlite_writer(self) -> Option<SqliteConnection> {
        match self.0 {
            Inner::SqliteWriter(writer) => Some(writer.connection),
            _ => None,
        }
    }

    pub(super) const fn dialect(&self) -> Dialect {
        match self.0 {
            Inner::SqliteWriter(_) | Inner::SqliteReader(_) => Dialect::Sqlite,
            Inner::Postgres(_) | Inner::PostgresTransaction(_) => Dialect::Postgres,
        }
    }

    /// Lets statements wait for the next one from now on, or no more. Those that wait already are forgotten.
    pub(super) fn let_wait(&mut self, may_wait: bool) {
        if let Inner::SqliteWriter(writer) = &mut self.0 {
            writer.may_wait = may_wait;
            writer.waiting.clear();
        }
    }

    /// Runs a statement; the number of rows it changed.
    pub(super) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        let waiting = self.take_waiting();
        if !waiting.is_empty() {
            self.execute_joined(waiting).await?;
        }
        on_either!(self, sql, values, |query, connection, _row| Ok(Box::pin(query?.execute(connection))
            .await?
            .rows_affected()))
    }

    /// Runs statements one after the other that nobody waits for. On SQLite each way there and back counts, so they go
    /// in one, and if they may, along with the next statement.
    pub(super) async fn execute_all(&mut self, statements: Vec<Statement>) -> Result<(), StoreError> {
        match &mut self.0 {
            Inner::SqliteWriter(writer) if writer.may_wait => {
                writer.waiting.extend(statements);
                Ok(())
            }
            Inner::SqliteWriter(_) | Inner::SqliteReader(_) => self.execute_joined(statements).await,
            Inner::Postgres(_) | Inner::PostgresTransaction(_) => {
                for (sql, values) in statements {
                    self.execute(sql, values).await?;
                }
                Ok(())
            }
        }
    }

    async fn execute_joined(&mut self, statements: Vec<Statement>) -> Result<(), StoreError> {
        let (sql, values) = joined(statements);
        on_either!(self, AssertSqlSafe(sql), values, |query, connection, _row| {
            Box::pin(query?.execute(connection)).await?;
            Ok(())
        })
    }

    fn take_waiting(&mut self) -> Vec<Statement> {
        match &mut self.0 {
            Inner::SqliteWriter(writer) => std::mem::take(&mut writer.waiting),
            _ => Vec::new(),
        }
    }

    /// The query, with the statements before it that wait for it.
    fn with_waiting(&mut self, sql: &'static str, values: Vec<Value>) -> (SqlStr, Vec<Value>) {
        let mut statements = self.take_waiting();
        if statements.is_empty() {
            return (SqlStr::from_static(sql), values);
        }
        statements.push((sql, values));
        let (sql, values) = joined(statements);
        (AssertSqlSafe(sql).into_sql_str(), values)
    }

    /// All rows.
    pub(super) async fn all(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let (sql, values) = self.with_waiting(sql, values);
        on_either!(self, sql, values, |query, connection, row| {
            Ok(Box::pin(query?.fetch_all(connection)).await?.into_iter().map(row).collect())
        })
    }

    /// What `take` makes of each row, where it makes anything. Rows are taken one by one: many of them take no more
    /// memory than their results.
    pub(super) async fn each<T>(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
        take: impl Fn(&Row) -> Result<Option<T>, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let (sql, values) = self.with_waiting(sql, values);
        on_either!(self, sql, values, |query, connection, wrap| {
            let mut rows = query?.fetch(connection);
            let mut taken = Vec::new();
            while let Some(row) = rows.try_next().await? {
                taken.extend(take(&wrap(row))?);
            }
            Ok(taken)
        })
    }

    /// All rows of a statement that was put together from fixed parts (never from what a user wrote).
    pub(super) async fn all_built(&mut self, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let waiting = self.take_waiting();
        if !waiting.is_empty() {
            self.execute_joined(waiting).await?;
        }
        let sql = AssertSqlSafe(sql);
        on_either!(self, sql, values, |query, connection, row| {
            Ok(Box::pin(query?.fetch_all(connection)).await?.into_iter().map(row).collect())
        })
    }

    /// The first row, if there is one.
    pub(super) async fn first(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        let (sql, values) = self.with_waiting(sql, values);
        on_either!(self, sql, values, |query, connection, row| Ok(Box::pin(query?.fetch_optional(connection))
            .await?
            .map(row)))
    }

    /// The one number that the statement gives; 0 for NULL.
    pub(super) async fn count(&mut self, sql: &'static str, values: Vec<Value>) -> Result<i64, StoreError> {
        let row = self.first(sql, values).await?.ok_or_else(|| StoreError::corrupt("count"))?;
        Ok(row.get::<Option<i64>>("n")?.unwrap_or(0))
    }

    /// Transaction control on the SQLite writer.
    pub(super) async fn control(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let mut statements = self.take_waiting();
        statements.push((sql, Vec::new()));
        self.execute_joined(statements).await
    }

    /// On PostgreSQL, makes transactions that decide about the same things go one after the other. SQLite has one
    /// writer anyway.
    pub(super) async fn serialize(&mut self, lock: i64) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Postgres {
            self.first("SELECT pg_advisory_xact_lock($1)::text AS locked", values![lock]).await?;
        }
        Ok(())
    }
}

/// Statements as one text, their values numbered through.
fn joined(statements: Vec<Statement>) -> (String, Vec<Value>) {
    let (mut text, mut all) = (String::new(), Vec::new());
    for (sql, values) in statements {
        let mut parts = sql.split('$');
        text += parts.next().unwrap_or_default();
        for part in parts {
            let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number = part[..digits].parse().unwrap_or(0) + all.len();
            text += &format!("${number}{}", &part[digits..]);
        }
        text += ";";
        all.extend(values);
    }
    (text, all)
}

fn bound<'q, DB>(
    sql: impl sqlx::SqlSafeStr,
    values: Vec<Value>,
) -> Result<sqlx::query::Query<'q, DB, <DB as sqlx::Database>::Arguments>, StoreError>
where
    DB: sqlx::Database,
    <DB as sqlx::Database>::Arguments: sqlx::IntoArguments<DB>,
    Option<i64>: for<'v> sqlx::Encode<'v, DB> + Type<DB>,
    Option<String>: for<'v> sqlx::Encode<'v, DB> + Type<DB>,
    Option<Vec<u8>>: for<'v> sqlx::Encode<'v, DB> + Type<DB>,
    Option<Uuid>: for<'v> sqlx::Encode<'v, DB> + Type<DB>,
    bool: for<'v> sqlx::Encode<'v, DB> + Type<DB>,
{
    use sqlx::Arguments as _;
    let mut arguments = <DB as sqlx::Database>::Arguments::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Id(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(sqlx::query_with(sql, arguments))
}

/// A statement and the values for its `$1`, `$2`, …
pub(super) type Statement = (&'static str, Vec<Value>);

/// What a piece of database work is, when it is handed around.
pub(super) type Work<'s, T> = BoxFuture<'s, Result<T, StoreError>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_statements_keep_their_values_apart() {
        let first = ("INSERT INTO a VALUES ($1, $2)", values![1_i64, "x"]);
        let second = ("UPDATE b SET c = $2 WHERE d = $1 AND e = $12", values![2_i64]);
        let (sql, values) = joined(vec![first, second]);
        assert_eq!(sql, "INSERT INTO a VALUES ($1, $2);UPDATE b SET c = $4 WHERE d = $3 AND e = $14;");
        assert_eq!(values.len(), 3);
    }
}
