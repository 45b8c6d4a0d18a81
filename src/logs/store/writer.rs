//! Writes to one run's log.

use std::sync::Arc;

use super::{LogStats, blocking, live::Live};
use crate::{
    domain::{AttemptId, Timestamp},
    engines::LogSource,
    logs::{LogChannel, LogError, LogRecord, ResumePoint},
};

/// Writes to one run's log.
#[derive(Debug, Clone)]
pub struct RunLogWriter {
    pub(super) live: Arc<Live>,
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
