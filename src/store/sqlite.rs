//! SQLite: one writer that commits in groups, many readers.

use std::{path::Path, str::FromStr, time::Duration};

use futures::future::BoxFuture;
use sqlx::{
    ConnectOptions, Connection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{Session, StoreError, session::Work};

/// How many writes may wait; callers beyond that wait themselves.
const QUEUE: usize = 1024;
/// How many writes share one commit at the most.
const GROUP: usize = 256;
const READERS: u32 = 4;

#[derive(Debug)]
pub(super) struct Sqlite {
    readers: SqlitePool,
    writes: Mutex<Option<mpsc::Sender<Box<dyn Write>>>>,
    sender: mpsc::WeakSender<Box<dyn Write>>,
    /// Answered when the writer has ended.
    writer: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Sqlite {
    pub(super) async fn open(path: &str) -> Result<Self, StoreError> {
        if let Some(folder) = Path::new(path).parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                StoreError::Address(format!("the folder {} cannot be made: {error}", folder.display()))
            })?;
        }
        let options = SqliteConnectOptions::from_str("sqlite:")?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An answer means that it is on disk, also after a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .pragma("journal_size_limit", "67108864")
            // Pages that change again and again are put in their place less often.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("temp_store", "memory")
            .disable_statement_logging();
        let mut connection = options.connect().await?;
        sqlx::migrate!("migrations/sqlite").run(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            // A file does not go away like a server does.
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(10))
            .idle_timeout(Duration::from_secs(60))
            // Pages that are not in its own cache are in the system's.
            .connect_lazy_with(options.read_only(true).create_if_missing(false).pragma("cache_size", "-512"));
        let (sender, receiver) = mpsc::channel(QUEUE);
        let weak = sender.downgrade();
        let writer = start_writer(Session::sqlite_writer(connection), receiver)?;
        Ok(Self { readers, writes: Mutex::new(Some(sender)), sender: weak, writer: Mutex::new(Some(writer)) })
    }

    pub(super) async fn read(&self) -> Result<Session, StoreError> {
        Ok(Session::sqlite_reader(Box::pin(self.readers.acquire()).await?))
    }

    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'s> Fn(&'s mut Session) -> Work<'s, T> + Send + Sync + 'static,
    {
        let sender = self.sender.upgrade().ok_or(StoreError::Closed)?;
        let (answer, result) = oneshot::channel();
        sender.send(Box::new(Pending { work, value: None, answer })).await.map_err(|_| StoreError::Closed)?;
        drop(sender);
        result.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn close(&self) {
        // The writer ends when the last sender is gone, after what was queued.
        drop(self.writes.lock().await.take());
        if let Some(writer) = self.writer.lock().await.take() {
            let _ = writer.await;
        }
        self.readers.close().await;
    }
}

/// A write that waits for the writer, whatever the type of its answer.
trait Write: Send {
    /// Does the work and keeps its answer in place of any before; whether it succeeded.
    fn run<'s>(&'s mut self, session: &'s mut Session) -> BoxFuture<'s, bool>;
    /// Tells the caller, once it is known whether the commit held.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Pending<T, F> {
    work: F,
    value: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Write for Pending<T, F>
where
    T: Send + 'static,
    F: for<'s> Fn(&'s mut Session) -> Work<'s, T> + Send + Sync + 'static,
{
    fn run<'s>(&'s mut self, session: &'s mut Session) -> BoxFuture<'s, bool> {
        Box::pin(async move {
            let value = (self.work)(session).await;
            let succeeded = value.is_ok();
            self.value = Some(value);
            succeeded
        })
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let value = self.value.unwrap_or(Err(StoreError::Closed));
        let _ = self.answer.send(value.and_then(|value| committed.map(|()| value)));
    }
}

/// Starts the writer on a thread of its own: each statement goes to SQLite's thread and back, which a thread that does
/// nothing else follows much faster than one that serves requests too.
fn start_writer(session: Session, writes: mpsc::Receiver<Box<dyn Write>>) -> Result<oneshot::Receiver<()>, StoreError> {
    let (ended, end) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(sqlx::Error::Io)?;
    let run = move || {
        runtime.block_on(run_writer(session, writes));
        let _ = ended.send(());
    };
    std::thread::Builder::new().name("sqlite-writer".to_owned()).spawn(run).map_err(sqlx::Error::Io)?;
    Ok(end)
}

async fn run_writer(mut session: Session, mut writes: mpsc::Receiver<Box<dyn Write>>) {
    let mut group = Vec::with_capacity(GROUP);
    while writes.recv_many(&mut group, GROUP).await > 0 {
        let failure = run_group(&mut session, &mut group, &mut writes).await.err().map(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, writes = group.len(), "a commit failed");
            crate::with_causes(&error)
        });
        for write in group.drain(..) {
            write.finish(failure.clone().map_or(Ok(()), |reason| Err(StoreError::Commit(reason))));
        }
    }
    if let Some(connection) = session.into_sqlite_writer() {
        let _ = connection.close().await;
    }
}

/// Runs the waiting writes in one transaction, and takes in those that come meanwhile.
///
/// Writes seldom fail, so they go without savepoints at first, and their statements may wait for each other. When
/// anything fails, all is undone and done again with a savepoint for each write, so that it undoes only its own.
async fn run_group(
    session: &mut Session,
    group: &mut Vec<Box<dyn Write>>,
    writes: &mut mpsc::Receiver<Box<dyn Write>>,
) -> Result<(), StoreError> {
    session.let_wait(true);
    let together = run_together(session, group, writes).await;
    session.let_wait(false);
    if together {
        return Ok(());
    }
    // There may be none to undo.
    let _ = session.control("ROLLBACK").await;
    run_apart(session, group).await
}

/// Whether all of it is committed.
async fn run_together(
    session: &mut Session,
    group: &mut Vec<Box<dyn Write>>,
    writes: &mut mpsc::Receiver<Box<dyn Write>>,
) -> bool {
    if session.execute_all(vec![("BEGIN IMMEDIATE", Vec::new())]).await.is_err() {
        return false;
    }
    let mut next = 0;
    while next < group.len() {
        if !group[next].run(session).await {
            return false;
        }
        next += 1;
        while group.len() < GROUP
            && let Ok(write) = writes.try_recv()
        {
            group.push(write);
        }
    }
    session.control("COMMIT").await.is_ok()
}

async fn run_apart(session: &mut Session, group: &mut [Box<dyn Write>]) -> Result<(), StoreError> {
    session.control("BEGIN IMMEDIATE").await?;
    for write in group {
        if let Err(error) = run_one(session, write).await {
            let _ = session.control("ROLLBACK").await;
            return Err(error);
        }
    }
    let committed = session.control("COMMIT").await;
    if committed.is_err() {
        let _ = session.control("ROLLBACK").await;
    }
    committed
}

async fn run_one(session: &mut Session, write: &mut Box<dyn Write>) -> Result<(), StoreError> {
    session.control("SAVEPOINT one").await?;
    if !write.run(session).await {
        session.control("ROLLBACK TO one").await?;
    }
    session.control("RELEASE one").await
}
