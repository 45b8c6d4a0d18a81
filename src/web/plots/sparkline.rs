//! A job's last durations, small enough for a row of a table.

use std::fmt::Write as _;

use askama::{Template, filters::HtmlSafe};

use super::Measured;
use crate::{domain::RunState, web::format::Span};

/// Width of a bar with the gap behind it, and its own.
const STEP: usize = 5;
const BAR: usize = 3;
/// Height of the highest bar; failures carry a cap above.
const HIGHEST: f64 = 20.0;
/// Bars at the most.
const MOST: usize = 24;

/// Bars, one a run, the newest at the right.
#[derive(Debug, Clone, Template)]
#[template(path = "plots/sparkline.svg", escape = "html")]
pub struct Sparkline {
    good: String,
    bad: String,
    label: String,
}

impl HtmlSafe for Sparkline {}

impl Sparkline {
    /// Of runs that have ended, the newest first. `None` when there is none.
    #[must_use]
    pub fn of(newest_first: &[Measured]) -> Option<Self> {
        let shown = &newest_first[..newest_first.len().min(MOST)];
        let longest = shown.iter().map(|run| run.duration.as_secs_f64()).fold(0.0, f64::max);
        let (mut good, mut bad) = (String::new(), String::new());
        for (index, run) in shown.iter().rev().enumerate() {
            let part = if longest > 0.0 { run.duration.as_secs_f64() / longest } else { 1.0 };
            let height = (part * HIGHEST).max(2.0).round();
            let x = index * STEP + (MOST - shown.len()) * STEP;
            let top = 26.0 - height;
            if run.state == RunState::Succeeded {
                let _ = write!(good, "M{x} {top}h{BAR}V26h-{BAR}z");
            } else {
                let _ = write!(bad, "M{x} {top}h{BAR}V26h-{BAR}zM{x} {}h{BAR}v3h-{BAR}z", top - 5.0);
            }
        }
        let newest = shown.first()?;
        let failures = shown.iter().filter(|run| run.state != RunState::Succeeded).count();
        let label = format!(
            "durations of the last {} runs: the newest {}, the longest {}, {failures} not successful",
            shown.len(),
            Span(newest.duration),
            Span(std::time::Duration::from_secs_f64(longest)),
        );
        Some(Self { good, bad, label })
    }
}
