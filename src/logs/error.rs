//! What can go wrong with stored logs.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::objects::Fault;

/// A log could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refused.
    #[error("cannot {operation} {path}: check free space and permissions of the data directory", path = path.display())]
    Io {
        /// What was being done, like `append to`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The object store refused, or does not answer.
    #[error("cannot {operation} {place} ({detail}): {}", fault.advice())]
    Objects {
        /// What was being done, like `put`.
        operation: &'static str,
        /// The object.
        place: String,
        /// What kind of failure it is.
        fault: Fault,
        /// What is known of it.
        detail: String,
    },
    /// Logs of others lie there.
    #[error("{place} holds the logs of another installation ({owner}): choose another place")]
    Foreign {
        /// The directory, or the prefix in the object store.
        place: String,
        /// Whose they are, as it is written there.
        owner: String,
    },
    /// The service is shutting down.
    #[error("the service is shutting down: the log can be read again when it is back")]
    ShuttingDown,
}

impl LogError {
    /// For `map_err`.
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_owned(), source }
    }

    /// For `map_err` where what is read may be an object, too.
    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| error.downcast().unwrap_or_else(Self::io("read", path))
    }

    /// Whether it may be otherwise in a moment: what was asked for lies in an object store that does not answer.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Objects { fault: Fault::Away, .. })
    }
}

/// Runs blocking file work off the async threads. It runs to its end even if the caller goes away.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(LogError::ShuttingDown),
    }
}
