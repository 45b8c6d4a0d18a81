//! Keeps every run's log: one sequence of JSON lines that only grows, at offsets that never change.

mod files;
mod live;
mod page;
mod seekable;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

pub use page::LogPage;

use self::{files::Files, live::Live, page::Source};
use super::{LogChannel, LogError, LogRecord, ResumePoint, error::blocking};
use crate::{
    domain::{AttemptId, InstallationId, RunId, Timestamp},
    engines::LogSource,
};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// The largest log of one run, as JSON lines, in bytes. What the script writes beyond is dropped behind a mark.
    pub max_bytes_per_run: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { max_bytes_per_run: 64 * 1024 * 1024 }
    }
}

/// What is known of a log's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Length of the JSON lines, in bytes.
    pub bytes: u64,
    /// Whether the limit cut it.
    pub truncated: bool,
    /// Records that were not kept, as far as this process saw.
    pub dropped: u64,
}

/// How far a log can be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogTail {
    /// Length of what is there, in bytes.
    pub bytes: u64,
    /// Nothing more comes.
    pub finished: bool,
}

/// The logs of all runs, in a directory of the local file system.
#[derive(Debug, Clone)]
pub struct LogStore {
    files: Arc<Files>,
    limits: LogLimits,
    registry: Arc<Mutex<Registry>>,
}

#[derive(Debug, Default)]
struct Registry {
    live: HashMap<RunId, Arc<Live>>,
    /// When as many are there, look for those that nobody needs.
    sweep_at: usize,
}

impl LogStore {
    /// Opens the store, making its directories where they are missing. Blocks for a moment.
    ///
    /// # Errors
    /// The directories cannot be made.
    pub fn open(dir: impl AsRef<Path>, limits: LogLimits) -> Result<Self, LogError> {
        Ok(Self { files: Arc::new(Files::open(dir.as_ref())?), limits, registry: Arc::default() })
    }

    /// Makes sure that no other installation keeps its logs there: it would take ours for those of runs that are gone.
    /// Services of one installation may share the directory. Blocks for a moment.
    ///
    /// # Errors
    /// Another has been there first, or the directory cannot be written to.
    pub fn claim(&self, owner: InstallationId) -> Result<(), LogError> {
        self.files.claim(&owner.to_string())
    }

    /// Forgets what is known of logs that are being written, for another service goes on with them. Nobody may write any
    /// more.
    pub async fn let_go(&self) {
        let live: Vec<Arc<Live>> = self.registry().live.values().cloned().collect();
        let let_go = blocking(move || live.iter().map(|log| log.let_go()).fold(Ok(()), Result::and)).await;
        if let Err(error) = let_go {
            tracing::error!(error = &error as &dyn std::error::Error, "the end of a log was not written");
        }
    }

    /// Writes to a run's log. All writers of a run share it; to a finished log they write nothing. A record that was half
    /// written when the service died is cut off.
    ///
    /// # Errors
    /// What is there already cannot be read.
    pub async fn writer(&self, run: RunId) -> Result<RunLogWriter, LogError> {
        let live = self.live(run);
        let opened = Arc::clone(&live);
        blocking(move || opened.open()).await?;
        Ok(RunLogWriter { live })
    }

    /// Completes a run's log: nothing is taken any more; it is compressed and safe on disk. May be called again.
    ///
    /// # Errors
    /// It could not be written; the log is as it was.
    pub async fn finish(&self, run: RunId) -> Result<LogStats, LogError> {
        let live = self.live(run);
        let stats = blocking(move || live.finish()).await?;
        self.registry().live.remove(&run);
        Ok(stats)
    }

    /// Reads whole records from `offset` on, about `max_bytes` of them, but one at least if there is one. An offset inside
    /// a record counts as the beginning of the next.
    ///
    /// # Errors
    /// The log is there and cannot be read.
    pub async fn read(&self, run: RunId, offset: u64, max_bytes: usize) -> Result<LogPage, LogError> {
        let open = self.registry().live.get(&run).and_then(|live| live.visible());
        let files = Arc::clone(&self.files);
        blocking(move || {
            let Some(mut source) = files.source(run)? else {
                return Ok(LogPage { bytes: Vec::new(), next_offset: 0, end: open.is_none() });
            };
            if let (Source::Live { length, .. }, Some(visible)) = (&mut source, open) {
                *length = visible.min(*length);
            }
            source.page(offset, max_bytes).map_err(LogError::io("read", &files.done(run)))
        })
        .await
    }

    /// Tells when a run's log grows or is finished. Subscribe first and read then, so that nothing falls in between.
    #[must_use]
    pub fn subscribe(&self, run: RunId) -> watch::Receiver<LogTail> {
        // Under the lock, so that it is not swept before anyone listens.
        let mut registry = self.registry();
        self.live_in(&mut registry, run).subscribe()
    }

    /// Deletes a run's log. Missing is success.
    ///
    /// # Errors
    /// A file could not be removed.
    pub async fn delete(&self, run: RunId) -> Result<(), LogError> {
        let live = self.live(run);
        blocking(move || live.delete()).await?;
        self.registry().live.remove(&run);
        Ok(())
    }

    /// The UTC days before that of a moment on which runs were made whose finished logs are here, the oldest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn days_before(&self, moment: Timestamp) -> Result<Vec<String>, LogError> {
        let files = Arc::clone(&self.files);
        blocking(move || files.days_before(moment)).await
    }

    /// The runs made on such a day whose finished logs are here.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn finished_on(&self, day: String) -> Result<Vec<RunId>, LogError> {
        let files = Arc::clone(&self.files);
        blocking(move || files.finished_on(&day)).await
    }

    /// The runs whose logs are not finished: at start-up, those to attach to again or to [finish](Self::finish).
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn leftovers(&self) -> Result<Vec<RunId>, LogError> {
        let files = Arc::clone(&self.files);
        blocking(move || files.live_runs()).await
    }

    fn live(&self, run: RunId) -> Arc<Live> {
        self.live_in(&mut self.registry(), run)
    }

    fn live_in(&self, registry: &mut Registry, run: RunId) -> Arc<Live> {
        if let Some(live) = registry.live.get(&run) {
            return Arc::clone(live);
        }
        if registry.live.len() >= registry.sweep_at {
            // Followers of logs that were finished before leave entries that no finish will remove.
            registry.live.retain(|_, live| Arc::strong_count(live) > 1 || live.is_needed());
            registry.sweep_at = (registry.live.len() * 2).max(1024);
        }
        let live = Arc::new(Live::new(run, Arc::clone(&self.files), self.limits));
        registry.live.insert(run, Arc::clone(&live));
        live
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes to one run's log.
#[derive(Debug, Clone)]
pub struct RunLogWriter {
    live: Arc<Live>,
}

impl RunLogWriter {
    /// Takes a record into memory, and returns how many bytes wait there to be [flushed](Self::flush). Beyond the size
    /// limit, and in a finished log, records are dropped.
    pub fn append(&self, record: &LogRecord) -> usize {
        self.live.append(record)
    }

    /// Hands all that waits in memory to the operating system, where readers see it.
    ///
    /// # Errors
    /// The disk refused it; it waits on, to be tried again with the next flush.
    pub async fn flush(&self) -> Result<(), LogError> {
        let live = Arc::clone(&self.live);
        blocking(move || live.flush()).await
    }

    /// Adds a line in Haulier's own name.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn note(
        &self,
        time: Timestamp,
        attempt: AttemptId,
        text: impl Into<String> + Send,
    ) -> Result<(), LogError> {
        let (stream, attempt) = (LogChannel::Haulier, attempt.number);
        self.append(&LogRecord { time, stream, attempt, text: text.into(), partial: false });
        self.flush().await
    }

    /// How much of what an attempt wrote there was taken already.
    #[must_use]
    pub fn resume_point(&self, attempt: u32, source: LogSource) -> ResumePoint {
        self.live.resume_point(attempt, source)
    }

    /// The log's size.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.live.stats()
    }
}
