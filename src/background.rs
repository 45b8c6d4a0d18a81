//! One task that works until it is told to stop.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A task in the background. Dropped without [`shutdown`](Self::shutdown), the task goes on.
#[derive(Debug)]
pub struct Background {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Background {
    /// Starts the work, which ends soon after the token it is given is cancelled.
    pub fn start<W>(work: impl FnOnce(CancellationToken) -> W) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(work(stop.clone())), stop }
    }

    /// Stops it and waits for its end. `what` names the work in the log, should it have ended badly.
    pub async fn shutdown(self, what: &str) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(error = &error as &dyn std::error::Error, "{what} ended badly");
        }
    }
}
