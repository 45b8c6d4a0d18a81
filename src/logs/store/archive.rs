//! The logs in the object store.
//!
//! The keys are the names that the files have: `done/<day>/<run>.log.zst`. Of a log that is being written there are
//! segments, `live/<run>/<offset>.zst`, each of them one zstd frame of whole records: they begin where the one before
//! ended, and never change. Nothing that writes a log waits for the store. A finished file that lies here is to be put
//! there; nothing else says so, so whatever breaks off, and whenever, it is done again.

mod away;
mod keys;
mod mirror;
mod reading;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use quick_cache::sync::Cache;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{
    super::{
        LogError,
        error::blocking,
        objects::{Fault, Objects, Put},
    },
    files::{self, Files},
    live::Live,
    page::Source,
};
use crate::{
    domain::{RunId, Timestamp},
    metrics::LogMetrics,
};

/// How long the beginning of a log may wait for what others have put there. Meanwhile nothing of it is read.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How long the service's start may wait for the store.
const START: Duration = Duration::from_secs(10);
/// How many objects are read or written at once.
const AT_A_TIME: usize = 8;
/// For how many runs is remembered how far others' segments were read.
const TAILS: usize = 1024;

/// The object store, and what is known of it.
#[derive(Debug)]
pub(super) struct Archive {
    objects: Objects,
    files: Arc<Files>,
    metrics: LogMetrics,
    /// Whose logs these are, and whether the store knows it.
    owner: OnceLock<String>,
    claimed: AtomicBool,
    /// The logs that are open here, or wait to be put away. Held during work on one.
    progress: Mutex<HashMap<RunId, Arc<tokio::sync::Mutex<Progress>>>>,
    /// Begin and end of the last segment that was read of logs that others write.
    tails: Cache<RunId, (u64, u64)>,
    /// A log was finished.
    finished: Notify,
    /// Counts logs that were put away.
    put_away: watch::Sender<u64>,
    /// The store failed last.
    failing: AtomicBool,
}

/// How far a log is in the store.
#[derive(Debug)]
struct Progress {
    /// What is here begins with what is there.
    verified: bool,
    /// So much of it is there, in bytes.
    put: u64,
    segments: u32,
    /// When more of it may be put there.
    due: Instant,
}

/// What others have put there of a log, as a file.
struct Base {
    path: PathBuf,
    length: u64,
    segments: u32,
}

impl Archive {
    pub(super) fn new(objects: Objects, files: Arc<Files>) -> Self {
        Self {
            objects,
            files,
            metrics: LogMetrics::default(),
            owner: OnceLock::new(),
            claimed: AtomicBool::new(false),
            progress: Mutex::default(),
            tails: Cache::new(TAILS),
            finished: Notify::new(),
            put_away: watch::Sender::new(0),
            failing: AtomicBool::new(false),
        }
    }

    pub(super) const fn metrics(&self) -> &LogMetrics {
        &self.metrics
    }

    /// Makes sure that no other installation keeps its logs there. A store that does not answer is asked again before
    /// anything is put there.
    pub(super) async fn claim(&self, owner: &str) -> Result<(), LogError> {
        self.owner.get_or_init(|| owner.to_owned());
        match timeout(START, self.ensure_claimed()).await {
            Ok(Err(error @ LogError::Objects { fault: Fault::Away, .. })) => self.failed(&error),
            Ok(claimed) => return claimed,
            Err(_) => tracing::warn!("the object store is slow: whether it can be used shows later"),
        }
        Ok(())
    }

    async fn ensure_claimed(&self) -> Result<(), LogError> {
        let Some(owner) = self.owner.get().filter(|_| !self.claimed.load(Ordering::Relaxed)) else { return Ok(()) };
        if self.objects.put_new(keys::OWNER, owner.clone().into()).await? == Put::Exists
            && let Some(found) = self.objects.get(keys::OWNER).await?
            && found != owner.as_bytes()
        {
            let owner = String::from_utf8_lossy(&found).trim().to_owned();
            return Err(LogError::Foreign { place: self.objects.place().to_owned(), owner });
        }
        self.claimed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Opens a log for writing. `new`: nobody can have written to it. Where the store does not answer soon, the log goes on
    /// with what lies here, and what others have written is put before it later.
    pub(super) async fn open(&self, live: &Arc<Live>, new: bool) -> Result<(), LogError> {
        if !live.is_unopened() {
            return Ok(());
        }
        let progress = self.progress(live.run());
        let mut progress = progress.lock().await;
        if !live.is_unopened() {
            return Ok(());
        }
        if new {
            progress.verified = true;
        } else {
            match timeout(AT_ONCE, self.take_over(live, &mut progress)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => self.failed(&error),
                Err(_) => {
                    tracing::warn!(run = %live.run(), "the object store is slow: the log goes on with what lies here");
                }
            }
        }
        let live = Arc::clone(live);
        blocking(move || live.open(None)).await
    }

    /// Before a log is finished: it has what others wrote.
    pub(super) async fn settle(&self, live: &Arc<Live>) -> Result<(), LogError> {
        let progress = self.progress(live.run());
        let mut progress = progress.lock().await;
        if progress.verified { Ok(()) } else { self.take_over(live, &mut progress).await }
    }

    /// Goes on with a log where others may have left it.
    async fn take_over(&self, live: &Arc<Live>, progress: &mut Progress) -> Result<(), LogError> {
        let (run, opened) = (live.run(), Arc::clone(live));
        let done = self.files.done(run);
        let lies_here = blocking(move || done.try_exists().map_err(LogError::io("read", &done))).await?;
        if !lies_here && let Some(done) = self.done(run).await? {
            blocking(move || opened.finished_elsewhere(done)).await?;
            return self.clear(run).await;
        }
        let base = if lies_here { None } else { self.base(run).await? };
        let (length, segments) = base.as_ref().map_or((0, 0), |base| (base.length, base.segments));
        let path = base.map(|base| base.path);
        blocking(move || match &path {
            Some(path) if !opened.is_unopened() => opened.adopt(path),
            path => opened.open(path.as_deref()),
        })
        .await?;
        *progress = Progress { verified: !lies_here, put: length, segments, due: Instant::now() };
        Ok(())
    }

    /// Fetches what there is of a log that is not finished.
    async fn base(&self, run: RunId) -> Result<Option<Base>, LogError> {
        let names = self.objects.names(&keys::live(run), None).await?;
        let begins: Vec<u64> = names.iter().filter_map(|name| keys::offset(name)).collect();
        if begins.is_empty() {
            return Ok(None);
        }
        let path = self.files.base(run);
        let create = path.clone();
        let mut file = blocking(move || File::create(&create).map_err(LogError::io("write", &create))).await?;
        let (mut length, mut segments) = (0, 0);
        let mut contents = stream::iter(begins.clone()).map(|begin| self.segment(run, begin)).buffered(AT_A_TIME);
        while let Some(content) = contents.next().await {
            let Some(content) = content?.filter(|_| begins[segments] == length) else { break };
            length += content.len() as u64;
            segments += 1;
            let path = path.clone();
            file = blocking(move || {
                file.write_all(&content).map_err(LogError::io("write", &path))?;
                Ok(file)
            })
            .await?;
        }
        drop(contents);
        // What lies behind a gap is nothing that anyone can read, and in the way of what comes there.
        let unread = begins[segments..].iter().map(|begin| keys::segment(run, *begin)).collect();
        self.delete_all(unread).await?;
        Ok(Some(Base { path, length, segments: u32::try_from(segments).unwrap_or(u32::MAX) }))
    }

    /// Whether a log was finished and lies there.
    pub(super) async fn has(&self, run: RunId) -> Result<bool, LogError> {
        Ok(self.objects.size(&keys::done(run)).await?.is_some())
    }

    /// The runs of which there are segments.
    pub(super) async fn live_runs(&self) -> Result<Vec<RunId>, LogError> {
        let folders = self.objects.folders(keys::LIVE).await?;
        Ok(folders.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// As [`Files::days_before`].
    pub(super) async fn days_before(&self, moment: Timestamp) -> Result<Vec<String>, LogError> {
        let mut days = self.objects.folders(keys::DONE).await?;
        days.retain(|day| *day < files::day_of(moment));
        Ok(days)
    }

    /// As [`Files::finished_on`].
    pub(super) async fn finished_on(&self, day: &str) -> Result<Vec<RunId>, LogError> {
        let names = self.objects.names(&keys::day(day), None).await?;
        Ok(names.iter().filter_map(|name| files::finished(name)).collect())
    }

    /// Deletes a finished log. Of a run whose log is finished there are no segments.
    pub(super) async fn delete(&self, run: RunId) -> Result<(), LogError> {
        let progress = self.progress(run);
        let _nobody_puts_it = progress.lock().await;
        self.objects.delete(vec![keys::done(run)]).await?;
        self.forget(run);
        Ok(())
    }

    /// Deletes the segments of a finished log.
    async fn clear(&self, run: RunId) -> Result<(), LogError> {
        let names = self.objects.names(&keys::live(run), None).await?;
        self.delete_all(names.iter().map(|name| format!("{}/{name}", keys::live(run))).collect()).await
    }

    async fn delete_all(&self, keys: Vec<String>) -> Result<(), LogError> {
        if keys.is_empty() { Ok(()) } else { self.objects.delete(keys).await }
    }

    fn progress(&self, run: RunId) -> Arc<tokio::sync::Mutex<Progress>> {
        let new = || Arc::new(tokio::sync::Mutex::new(Progress::default()));
        Arc::clone(self.lock().entry(run).or_insert_with(new))
    }

    fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    /// Others go on with all logs.
    pub(super) fn forget_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Arc<tokio::sync::Mutex<Progress>>>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure, and tells of the first in a row.
    fn failed(&self, error: &LogError) {
        self.metrics.failed();
        if !self.failing.swap(true, Ordering::Relaxed) {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "logs wait here for the object store; it is tried again");
        }
    }

    fn succeeded(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the object store takes logs again");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self { verified: false, put: 0, segments: 0, due: Instant::now() + mirror::PAUSE }
    }
}
