//! Telling how the service and its jobs are.
//!
//! - `scrape` reads what is told to Prometheus when it asks; `artefacts` makes files for it and for Grafana;
//! - `baseline` (with `reach`), `cadence` and `history` are what is usual for a job, from its last runs: pure statistics;
//! - `rules` says when something is worth a notice; `watch` looks, and keeps what was found;
//! - `channels` sends notices to people.

pub mod artefacts;
mod baseline;
mod cadence;
mod channels;
mod history;
mod push;
mod reach;
mod rules;
mod scrape;
mod watch;

pub use baseline::{Band, Baseline, Observed};
pub use cadence::Cadence;
pub use channels::{Courier, Sender};
pub use history::History;
pub use push::MetricsPush;
pub use rules::{Judged, judge_end, judge_overdue, judge_running, judge_waiting};
pub use scrape::Scraper;
pub use watch::Watcher;
