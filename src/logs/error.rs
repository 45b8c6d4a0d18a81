//! What can go wrong with stored logs.

use std::{
    io,
    path::{Path, PathBuf},
};

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
    /// Logs of others lie there.
    #[error(
        "{path} holds the logs of another installation ({owner}): choose another directory", path = path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
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
