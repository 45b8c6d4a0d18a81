//! How long things take.

use std::time::Instant;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
};

const BUCKETS: [f64; 10] = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0];

/// How long the database takes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StoreTimings {
    pub(super) family: Family<Operation, Histogram>,
    reads: Histogram,
    writes: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Operation {
    operation: &'static str,
}

impl Default for StoreTimings {
    fn default() -> Self {
        let family: Family<Operation, Histogram> =
            Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let of = |operation| family.get_or_create_owned(&Operation { operation });
        Self { reads: of("read"), writes: of("write"), family }
    }
}

impl StoreTimings {
    /// Times a read, from here until it is dropped.
    #[must_use]
    pub fn read(&self) -> Timer {
        Timer { histogram: self.reads.clone(), start: Instant::now() }
    }

    /// Times a write, commit and the wait for it included.
    #[must_use]
    pub fn write(&self) -> Timer {
        Timer { histogram: self.writes.clone(), start: Instant::now() }
    }
}

/// Times something until it is dropped.
#[derive(Debug)]
pub struct Timer {
    histogram: Histogram,
    start: Instant,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.histogram.observe(self.start.elapsed().as_secs_f64());
    }
}
