//! Keeps every run's log: one sequence of JSON lines that only grows, at offsets that never change.

mod archive;
mod files;
mod live;
mod merge;
mod objects;
mod page;
mod seekable;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

pub use page::LogPage;
pub use writer::RunLogWriter;

use self::{archive::Archive, files::Files, live::Live, page::Source};
use super::{LogError, error::blocking};
use crate::domain::{InstallationId, RunId, Timestamp};

/// How long letting go of logs may take.
const LET_GO: Duration = Duration::from_secs(4);

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

/// The logs of all runs: in a directory of the local file system or, with one, in an object store, of which the directory
/// holds what is being written and what is not there yet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogStore {
    files: Arc<Files>,
    archive: Option<Arc<Archive>>,
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
        Ok(Self { files: Arc::new(Files::open(dir.as_ref())?), archive: None, limits, registry: Arc::default() })
    }

    /// Makes sure that no other installation keeps its logs in the directory: it would take ours for those of runs that are
    /// gone. Services of one installation may share it. Blocks for a moment.
    ///
    /// # Errors
    /// Another has been there first, or the directory cannot be written to.
    pub fn claim_directory(&self, owner: InstallationId) -> Result<(), LogError> {
        self.files.claim(&owner.to_string())
    }

    /// Forgets what is known of logs that are being written, for another service goes on with them. Nobody may write any
    /// more. Takes a few seconds at the most.
    pub async fn let_go(&self) {
        let live: Vec<Arc<Live>> = self.registry().live.values().cloned().collect();
        if let Some(archive) = &self.archive {
            let flushed = live.clone();
            let _ = blocking(move || flushed.iter().try_for_each(|log| log.flush())).await;
            archive.mirror_all(live.clone(), LET_GO).await;
            archive.forget_all();
        }
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
        self.opened(run, false).await
    }

    /// As [`Self::writer`], for a run of which nothing was written yet: no store is asked.
    ///
    /// # Errors
    /// As there.
    pub async fn new_writer(&self, run: RunId) -> Result<RunLogWriter, LogError> {
        self.opened(run, true).await
    }

    async fn opened(&self, run: RunId, new: bool) -> Result<RunLogWriter, LogError> {
        let live = self.live(run);
        match &self.archive {
            Some(archive) => archive.open(&live, new).await?,
            None => {
                let opened = Arc::clone(&live);
                blocking(move || opened.open(None)).await?;
            }
        }
        Ok(RunLogWriter { live })
    }

    /// Completes a run's log: nothing is taken any more; it is compressed and safe on disk. May be called again.
    ///
    /// # Errors
    /// It could not be written; the log is as it was.
    pub async fn finish(&self, run: RunId) -> Result<LogStats, LogError> {
        let live = self.live(run);
        if let Some(archive) = &self.archive {
            archive.settle(&live).await?;
        }
        let stats = blocking(move || live.finish()).await?;
        self.registry().live.remove(&run);
        if let Some(archive) = &self.archive {
            archive.was_finished(run).await;
        }
        Ok(stats)
    }

    /// Reads whole records from `offset` on, about `max_bytes` of them, but one at least if there is one. An offset inside
    /// a record counts as the beginning of the next.
    ///
    /// # Errors
    /// The log is there and cannot be read.
    pub async fn read(&self, run: RunId, offset: u64, max_bytes: usize) -> Result<LogPage, LogError> {
        let open = self.registry().live.get(&run).and_then(|live| live.visible());
        let elsewhere = match &self.archive {
            Some(archive) if open.is_none() => self.elsewhere(archive, run, offset, max_bytes).await?,
            _ => None,
        };
        let (files, in_objects) = (Arc::clone(&self.files), self.archive.is_some());
        blocking(move || {
            let source = match elsewhere {
                None => files.source(run)?,
                elsewhere => elsewhere,
            };
            let Some(mut source) = source else {
                let next_offset = if in_objects { offset } else { 0 };
                return Ok(LogPage { bytes: Vec::new(), next_offset, end: open.is_none() });
            };
            if let (Source::Live { length, .. }, Some(visible)) = (&mut source, open) {
                *length = visible.min(*length);
            }
            source.page(offset, max_bytes).map_err(LogError::reading(&files.done(run)))
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
        if let Some(archive) = &self.archive {
            archive.delete(run).await?;
        }
        Ok(())
    }

    /// The UTC days before that of a moment on which runs were made whose finished logs are here, the oldest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn days_before(&self, moment: Timestamp) -> Result<Vec<String>, LogError> {
        let files = Arc::clone(&self.files);
        let mut days = blocking(move || files.days_before(moment)).await?;
        if let Some(archive) = &self.archive {
            days.extend(archive.days_before(moment).await?);
            days.sort_unstable();
            days.dedup();
        }
        Ok(days)
    }

    /// The runs made on such a day whose finished logs are here.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn finished_on(&self, day: String) -> Result<Vec<RunId>, LogError> {
        let files = Arc::clone(&self.files);
        let there = match &self.archive {
            Some(archive) => archive.finished_on(&day).await?,
            None => Vec::new(),
        };
        let mut runs = blocking(move || files.finished_on(&day)).await?;
        runs.extend(there);
        Ok(runs)
    }

    /// The runs whose logs are not finished: at start-up, those to attach to again or to [finish](Self::finish).
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn leftovers(&self) -> Result<Vec<RunId>, LogError> {
        let files = Arc::clone(&self.files);
        let mut runs = blocking(move || files.live_runs()).await?;
        if let Some(archive) = &self.archive {
            runs.extend(archive.live_runs().await?);
            runs.sort_unstable();
            runs.dedup();
        }
        Ok(runs)
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
