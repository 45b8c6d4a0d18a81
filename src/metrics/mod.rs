//! What is counted and timed while the service works. Each part has its instruments and uses them; [`registry()`] gathers
//! them under their names, and [`exposition`] writes them for Prometheus.
//!
//! Labels have few values, or are bounded: nobody can make the service keep series without end.

pub mod exposition;
mod http;
mod jobs;
mod logs;
pub mod names;
mod registry;
mod runs;
mod timings;

pub use http::{HttpMetrics, known_method};
pub use jobs::{LastRun, LastRuns};
pub use logs::LogMetrics;
pub use registry::{Catalogue, Counts, Described, Instruments, Labels, LiveGauges, Measures, registry};
pub use runs::{Launching, RunMetrics};
pub use timings::{StoreTimings, Timer};
