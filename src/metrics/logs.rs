//! Logs on their way to an object store.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// What is counted of logs. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LogMetrics {
    pub(super) waiting: Gauge,
    pub(super) failures: Counter,
}

impl LogMetrics {
    /// So many finished logs lie here and not yet in the object store.
    pub fn waiting(&self, logs: usize) {
        self.waiting.set(i64::try_from(logs).unwrap_or(i64::MAX));
    }

    /// The object store did not do what it was asked to.
    pub fn failed(&self) {
        self.failures.inc();
    }
}
