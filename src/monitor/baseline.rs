//! What is normal for a job, from its own history: pure statistics.
//!
//! Durations and row counts vary by factors, so all of it works on logarithms. A value is thought of as a level that
//! drifts, times an effect of the hour of the day and of the day of the week where there is one, times noise. Medians
//! stand for means and quantiles for variances: a few bad runs in the history change nothing.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::reach::{LEVEL, reach};
use crate::domain::Timestamp;

/// With fewer values nothing is said.
pub const LEAST: usize = 20;
/// How many values an hour or a day needs before it counts for itself.
const LEAST_IN_BIN: usize = 8;
/// How much of the noise an effect must explain to be believed.
const WORTH: f64 = 0.8;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A value, and when its run was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// When.
    pub at: Timestamp,
    /// How much; not negative.
    pub value: f64,
}

/// What is normal at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// Less is unusual.
    pub low: f64,
    /// The middle.
    pub typical: f64,
    /// More is unusual.
    pub high: f64,
    /// How many values it was made from.
    pub samples: u32,
}

/// What is normal for one quantity of one job.
#[derive(Debug, Clone)]
pub struct Baseline {
    level: f64,
    /// How far below and above the level is still normal.
    reach: (f64, f64),
    effects: Effects,
    zone: TimeZone,
    samples: u32,
}

/// What the hour of the day and the day of the week add.
#[derive(Debug, Clone, Default)]
struct Effects {
    hours: Option<[f64; 24]>,
    days: Option<[f64; 7]>,
}

impl Effects {
    fn at(&self, hour: usize, day: usize) -> f64 {
        self.hours.map_or(0.0, |hours| hours[hour]) + self.days.map_or(0.0, |days| days[day])
    }
}

/// The logarithm of a value and the bins that it falls into.
#[derive(Debug, Clone, Copy)]
struct Point {
    log: f64,
    hour: usize,
    day: usize,
}

impl Baseline {
    /// From the values of good runs, the oldest first; hours and days are those of `zone`. `None` when there are too
    /// few.
    #[must_use]
    pub fn of(values: &[Observed], zone: &TimeZone) -> Option<Self> {
        let (first, last) = (values.first()?, values.last()?);
        if values.len() < LEAST {
            return None;
        }
        let points: Vec<_> = values.iter().map(|observed| point(observed, zone)).collect();
        let effects = effects(&points);
        let rest: Vec<_> = points.iter().map(|point| point.log - effects.at(point.hour, point.day)).collect();
        let level = median(&mut rest[rest.len().saturating_sub(LEVEL)..].to_vec());
        let reach = reach(&rest, level, per_year(values.len(), last.at.since(first.at)));
        let samples = u32::try_from(values.len()).unwrap_or(u32::MAX);
        Some(Self { level, reach, effects, zone: zone.clone(), samples })
    }

    /// What is normal for a run that was made at this moment.
    #[must_use]
    pub fn band(&self, at: Timestamp) -> Band {
        let (hour, day) = bins(at, &self.zone);
        let middle = self.level + self.effects.at(hour, day);
        Band {
            low: unlog(middle - self.reach.0),
            typical: unlog(middle),
            high: unlog(middle + self.reach.1),
            samples: self.samples,
        }
    }
}

/// 0 stays 0.
fn to_log(value: f64) -> f64 {
    value.max(0.0).ln_1p()
}

fn unlog(log: f64) -> f64 {
    log.max(0.0).exp_m1()
}

fn point(observed: &Observed, zone: &TimeZone) -> Point {
    let (hour, day) = bins(observed.at, zone);
    Point { log: to_log(observed.value), hour, day }
}

/// The hour of the day and the day of the week.
pub(super) fn bins(at: Timestamp, zone: &TimeZone) -> (usize, usize) {
    let local = jiff::Timestamp::from_microsecond(at.as_micros()).map(|at| zone.to_datetime(at));
    local.map_or((0, 0), |local| {
        let day = local.weekday().to_monday_zero_offset();
        (usize::try_from(local.hour()).unwrap_or(0), usize::try_from(day).unwrap_or(0))
    })
}

/// The effects that explain enough to be believed; hours first, for they explain most where they explain anything.
fn effects(points: &[Point]) -> Effects {
    let mut effects = Effects::default();
    let mut noise = spread(points, &effects);
    let hours = Effects { hours: Some(medians(points, &effects, |point| point.hour)), days: None };
    let with_hours = spread(points, &hours);
    if with_hours < noise * WORTH {
        (effects, noise) = (hours, with_hours);
    }
    let days = Effects { days: Some(medians(points, &effects, |point| point.day)), ..effects.clone() };
    if spread(points, &days) < noise * WORTH {
        effects = days;
    }
    effects
}

/// The median of what is left of each bin's values, against the level at their time; 0 for bins with few.
fn medians<const BINS: usize>(points: &[Point], known: &Effects, bin: fn(&Point) -> usize) -> [f64; BINS] {
    let left: Vec<_> = points.iter().map(|point| point.log - known.at(point.hour, point.day)).collect();
    let levels = levels(&left, points.len() / 4);
    let mut bins: [Vec<f64>; BINS] = std::array::from_fn(|_| Vec::new());
    for ((point, left), level) in points.iter().zip(&left).zip(levels) {
        bins[bin(point)].push(left - level);
    }
    bins.map(|mut values| if values.len() < LEAST_IN_BIN { 0.0 } else { median(&mut values) })
}

/// The level at the time of each value: the median of its stretch of the history, which must be long enough to hold
/// all hours or days many times over.
fn levels(values: &[f64], stretch: usize) -> impl Iterator<Item = f64> {
    let stretch = stretch.max(LEVEL);
    let whole = values.len() / stretch.min(values.len());
    let length = values.len().div_ceil(whole.max(1));
    values.chunks(length).flat_map(|chunk| {
        let middle = median(&mut chunk.to_vec());
        std::iter::repeat_n(middle, chunk.len())
    })
}

/// How much is left unexplained.
fn spread(points: &[Point], effects: &Effects) -> f64 {
    let left: Vec<_> = points.iter().map(|point| point.log - effects.at(point.hour, point.day)).collect();
    let levels: Vec<_> = levels(&left, points.len() / 4).collect();
    let mut apart: Vec<_> = left.iter().zip(levels).map(|(left, level)| (left - level).abs()).collect();
    median(&mut apart)
}

fn per_year(count: usize, span: Duration) -> f64 {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    (count * YEAR.as_secs_f64() / span.as_secs_f64().max(1.0)).clamp(12.0, 525_600.0)
}

/// The median; 0 of nothing.
pub(super) fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if below.len() == middle && middle > 0 && values.len().is_multiple_of(2) {
        let lower = values[..middle].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        return f64::midpoint(lower, upper);
    }
    upper
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn hourly(count: u64, value: impl Fn(u64) -> f64) -> Vec<Observed> {
        let at = |n: u64| START.plus(Duration::from_secs(n * 3600));
        (0..count).map(|n| Observed { at: at(n), value: value(n) }).collect()
    }

    /// Some noise that needs no generator: ±10 %.
    fn wobble(n: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let phase = (n * 7919 % 101) as f64 / 101.0;
        0.9 + 0.2 * phase
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn little_history_says_nothing() {
        assert!(Baseline::of(&hourly(LEAST as u64 - 1, |_| 60.0), &TimeZone::UTC).is_none());
        assert!(Baseline::of(&hourly(LEAST as u64, |_| 60.0), &TimeZone::UTC).is_some());
    }

    #[test]
    fn the_band_holds_what_is_usual() {
        let baseline = Baseline::of(&hourly(300, |n| 600.0 * wobble(n)), &TimeZone::UTC).unwrap();
        let band = baseline.band(START);
        assert!((band.typical - 600.0).abs() < 30.0, "{band:?}");
        assert!(band.low > 200.0 && band.low < 530.0 && band.high > 670.0 && band.high < 1800.0, "{band:?}");
        assert_eq!(band.samples, 300);
    }

    #[test]
    fn hours_count_for_themselves_when_they_differ() {
        let night = |n: u64| if (n + 8) % 24 < 6 { 5.0 } else { 1.0 };
        let baseline = Baseline::of(&hourly(500, |n| 600.0 * wobble(n) * night(n)), &TimeZone::UTC).unwrap();
        let (noon, midnight) = (
            baseline.band(START.plus(Duration::from_secs(4 * 3600))),
            baseline.band(START.plus(Duration::from_secs(16 * 3600))),
        );
        assert!(noon.high < 2400.0, "{noon:?}");
        assert!(midnight.low > 1200.0 && midnight.typical > 2500.0, "{midnight:?}");
    }

    #[test]
    fn a_level_that_drifts_is_followed() {
        let growing = |n: u64| 600.0 * wobble(n) * 1.004_f64.powf(f64::from(u32::try_from(n).unwrap()));
        let band = Baseline::of(&hourly(500, growing), &TimeZone::UTC).unwrap().band(START);
        let now = growing(500) / wobble(500);
        assert!(band.low < now * 0.8 && band.high > now * 1.25 && band.high < now * 3.0, "{band:?} {now}");
    }

    #[test]
    fn bad_runs_in_the_history_change_little_and_habits_are_normal() {
        let usual = Baseline::of(&hourly(300, |n| 600.0 * wobble(n)), &TimeZone::UTC).unwrap().band(START);
        let few = |n: u64| if n.is_multiple_of(90) { 9000.0 } else { 600.0 * wobble(n) };
        let band = Baseline::of(&hourly(300, few), &TimeZone::UTC).unwrap().band(START);
        assert!((band.high / usual.high - 1.0).abs() < 0.1, "{band:?}");
        let often = |n: u64| if n.is_multiple_of(10) { 6.0 } else { 600.0 * wobble(n) };
        let band = Baseline::of(&hourly(300, often), &TimeZone::UTC).unwrap().band(START);
        assert!(band.low < 6.0, "{band:?}");
    }
}
