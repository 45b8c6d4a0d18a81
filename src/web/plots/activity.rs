//! What ended in the last 24 hours: good upwards, bad downwards.

use askama::{Template, filters::HtmlSafe};

use super::percent;
use crate::{domain::Timestamp, web::format::count};

/// What ended within one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hour {
    /// How many runs succeeded.
    pub succeeded: u64,
    /// How many failed or timed out.
    pub failed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// Whether there are more than were counted.
    pub capped: bool,
}

impl Hour {
    const fn good(&self) -> u64 {
        self.succeeded + self.cancelled
    }
}

/// Bars, one an hour, the present one at the right.
#[derive(Debug, Clone, Template)]
#[template(path = "plots/activity.svg", escape = "html")]
pub struct ActivityPlot {
    bars: Vec<Bar>,
    zero: String,
    label: String,
}

impl HtmlSafe for ActivityPlot {}

#[derive(Debug, Clone)]
struct Bar {
    x: String,
    good: (String, String),
    bad: (String, String),
    title: String,
    /// The hour of the day, where it is written below.
    tick: Option<String>,
}

impl ActivityPlot {
    /// Of hours in order, the last of which contains `now`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "heights of bars")]
    pub fn of(hours: &[Hour], now: Timestamp) -> Self {
        let most_good = hours.iter().map(Hour::good).max().unwrap_or(0);
        let most_bad = hours.iter().map(|hour| hour.failed).max().unwrap_or(0);
        let whole = (most_good + most_bad).max(1) as f64;
        let zero = if most_good + most_bad == 0 { whole } else { most_good as f64 };
        let present = now.as_micros().div_euclid(3_600_000_000);
        let bars = hours.iter().enumerate().map(|(index, hour)| {
            let ago = i64::try_from(hours.len() - 1 - index).unwrap_or(0);
            let of_day = (present - ago).rem_euclid(24);
            let more = if hour.capped { " or more" } else { "" };
            Bar {
                x: percent(index as f64 + 0.12, hours.len() as f64),
                good: (percent(zero - hour.good() as f64, whole), percent(hour.good() as f64, whole)),
                bad: (percent(zero, whole), percent(hour.failed as f64, whole)),
                title: format!(
                    "{of_day:02}:00 to {:02}:00 UTC: {}{more} succeeded, {} failed, {} cancelled",
                    (of_day + 1) % 24,
                    count(hour.succeeded),
                    count(hour.failed),
                    count(hour.cancelled)
                ),
                // There is no room for one below the last bars.
                tick: (of_day % 6 == 0 && ago > 1).then(|| format!("{of_day:02}:00")),
            }
        });
        let sum = |of: fn(&Hour) -> u64| count(hours.iter().map(of).sum());
        let label = format!(
            "runs that ended in the last {} hours, by the hour: {} succeeded, {} failed",
            hours.len(),
            sum(|hour| hour.succeeded),
            sum(|hour| hour.failed)
        );
        Self { bars: bars.collect(), zero: percent(zero, whole), label }
    }
}
