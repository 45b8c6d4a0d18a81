//! How often a job is run, and by when it should have been run again.

use std::{collections::HashMap, time::Duration};

use jiff::tz::TimeZone;

use super::baseline::{bins, median};
use crate::domain::Timestamp;

/// With fewer gaps nothing is said.
const LEAST: usize = 20;
/// How many gaps after the same hour of the same day count for themselves.
const LEAST_IN_CELL: usize = 4;
/// How many of the longest gaps do not count: one in so many may have been trouble.
const ODD: usize = 33;
/// Two weekends lie in it.
const FORTNIGHT: Duration = Duration::from_secs(15 * 86_400);
/// From then on, hours of the week are known by themselves, and a gap that came once in a while is trouble.
const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// A job with so many runs in less than a fortnight runs all the time.
const MANY: usize = 450;
/// Gaps whose logarithms are spread further have no rhythm.
const WILD: f64 = 0.7;

/// When a job is usually run.
#[derive(Debug, Clone)]
pub struct Cadence {
    /// The longest usual gap after a run in this hour of the week, where enough of them are known.
    cells: HashMap<usize, Duration>,
    /// The longest usual gap of all.
    longest: Duration,
    typical: Duration,
    zone: TimeZone,
}

impl Cadence {
    /// From the moments at which runs were made, the oldest first. `None` when there are too few, or there is no
    /// rhythm in them.
    #[must_use]
    pub fn of(made: &[Timestamp], zone: &TimeZone) -> Option<Self> {
        // Retries and repetitions by hand come at once; they are no rhythm.
        let gaps: Vec<(Timestamp, Duration)> =
            made.windows(2).map(|pair| (pair[0], pair[1].since(pair[0]))).filter(|(_, gap)| !gap.is_zero()).collect();
        if gaps.len() < LEAST {
            return None;
        }
        let mut logs: Vec<_> = gaps.iter().map(|(_, gap)| gap.as_secs_f64().max(1.0).ln()).collect();
        let middle = median(&mut logs);
        let spread = median(&mut logs.iter().map(|log| (log - middle).abs()).collect::<Vec<_>>());
        if 1.4826 * spread > WILD {
            return None;
        }
        let mut cells = vec![Vec::new(); 24 * 7];
        for (at, gap) in &gaps {
            cells[cell(*at, zone)].push(*gap);
        }
        let known = cells.into_iter().enumerate().filter(|(_, gaps)| gaps.len() >= LEAST_IN_CELL);
        let cells = known.map(|(cell, gaps)| (cell, longest(gaps, 1))).collect();
        let span = made.last()?.since(*made.first()?);
        let odd = match gaps.len() {
            _ if span >= MONTH => gaps.len() / ODD,
            MANY.. => gaps.len() / ODD,
            _ if span >= FORTNIGHT => 1,
            _ => return None,
        };
        let longest = longest(gaps.into_iter().map(|(_, gap)| gap).collect(), odd);
        Some(Self { cells, longest, typical: Duration::from_secs_f64(middle.exp()), zone: zone.clone() })
    }

    /// By when another run should have been made after the last one.
    #[must_use]
    pub fn expected_by(&self, last: Timestamp) -> Timestamp {
        let usual = self.cells.get(&cell(last, &self.zone)).copied().unwrap_or(self.longest);
        last.plus(usual + (usual / 4).max(Duration::from_secs(600)))
    }

    /// The usual gap.
    #[must_use]
    pub const fn typical(&self) -> Duration {
        self.typical
    }
}

fn cell(at: Timestamp, zone: &TimeZone) -> usize {
    let (hour, day) = bins(at, zone);
    day * 24 + hour
}

/// The longest but for so many.
fn longest(mut gaps: Vec<Duration>, but: usize) -> Duration {
    gaps.sort();
    gaps.iter().rev().nth(but).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday, 06:00.
    const MONDAY: Timestamp = Timestamp::from_micros(1_799_647_200_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn on_workdays(weeks: u32) -> Vec<Timestamp> {
        (0..weeks * 7).filter(|day| day % 7 < 5).map(|day| MONDAY.plus(24 * HOUR * day)).collect()
    }

    #[test]
    fn the_week_has_its_own_rhythm() {
        assert_eq!(MONDAY.to_string(), "2027-01-11T06:00:00.000000Z");
        let made = on_workdays(8);
        let cadence = Cadence::of(&made, &TimeZone::UTC).unwrap();
        let (monday, friday) = (made[35], made[39]);
        assert_eq!(cadence.expected_by(monday).since(monday), 30 * HOUR);
        assert_eq!(cadence.expected_by(friday).since(friday), 90 * HOUR);
        assert_eq!(cadence.typical(), 24 * HOUR);
    }

    #[test]
    fn little_history_or_no_rhythm_says_nothing() {
        assert!(Cadence::of(&on_workdays(4), &TimeZone::UTC).is_none());
        let wild: Vec<_> = (0..100_u32).map(|n| MONDAY.plus(HOUR * n + HOUR * (n * n * 7919 % 97))).collect();
        let mut wild = wild;
        wild.sort();
        assert!(Cadence::of(&wild, &TimeZone::UTC).is_none());
    }

    #[test]
    fn a_run_that_was_missed_does_not_make_the_gap_usual() {
        let mut made: Vec<_> = (0..60_u32).map(|day| MONDAY.plus(24 * HOUR * day)).collect();
        made.remove(30);
        let last = made[made.len() - 1];
        assert_eq!(Cadence::of(&made, &TimeZone::UTC).unwrap().expected_by(last).since(last), 30 * HOUR);
    }
}
