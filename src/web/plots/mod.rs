//! Plots as SVG, drawn on the server. What depends on the width is given in percent, so that a plot fills whatever
//! place it has without its text or marks being stretched.

mod activity;
mod durations;
mod sparkline;
mod timeline;

pub use activity::{ActivityPlot, Hour};
pub use durations::{Band, DurationPlot, Measured};
pub use sparkline::Sparkline;
pub use timeline::TimelinePlot;

/// A part of a whole, in percent with two digits.
fn percent(part: f64, whole: f64) -> String {
    let value = if whole > 0.0 { (part / whole * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}
