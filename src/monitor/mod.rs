//! Telling how the service and its jobs are.
//!
//! - `scrape` reads what is told to Prometheus when it asks.

mod baseline;
mod cadence;
mod channels;
mod history;
mod rules;
mod scrape;
mod watch;

pub use baseline::{Band, Baseline, Observed};
pub use cadence::Cadence;
pub use channels::{Courier, Sender};
pub use history::History;
pub use rules::{Judged, judge_end, judge_overdue, judge_running, judge_waiting};
pub use scrape::Scraper;
pub use watch::Watcher;
