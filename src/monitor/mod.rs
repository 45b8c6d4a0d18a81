//! Telling how the service and its jobs are.
//!
//! - `scrape` reads what is told to Prometheus when it asks.

mod baseline;
mod cadence;
mod history;
mod rules;
mod scrape;

pub use baseline::{Band, Baseline, Observed};
pub use cadence::Cadence;
pub use history::History;
pub use rules::{Judged, judge_end, judge_overdue, judge_running, judge_waiting};
pub use scrape::Scraper;
