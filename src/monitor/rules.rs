//! When something is worth a notice. Pure: what is usual and what was seen go in, what is wrong comes out.

use std::{collections::BTreeMap, time::Duration};

use super::{Band, History};
use crate::domain::{NoticeKind, NotifySpec, Sample, Timestamp};

/// A run that differs by less is never slow or short, in seconds: starting a container takes a moment, or two.
const MARGIN: f64 = 10.0;
/// A run that waits less is never stuck, in seconds.
const PATIENCE: f64 = 300.0;
/// The same where the history says nothing.
const LONG_PATIENCE: f64 = 3600.0;

/// What a look at something came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    /// Something is wrong.
    Trouble {
        /// What it is.
        kind: NoticeKind,
        /// In words, with the figures and what is usual.
        summary: String,
        /// The figures.
        figures: BTreeMap<&'static str, f64>,
    },
    /// This is as it should be.
    Fine(NoticeKind),
}

impl Judged {
    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> NoticeKind {
        match self {
            Self::Trouble { kind, .. } | Self::Fine(kind) => *kind,
        }
    }
}

/// Looks at an ended run. `error` says why it failed.
#[must_use]
pub fn judge_end(history: &History, notify: &NotifySpec, run: &Sample, error: Option<&str>) -> Vec<Judged> {
    if !run.succeeded {
        let summary = error.map_or_else(|| "the run failed".to_owned(), |error| format!("the run failed: {error}"));
        return vec![Judged::Trouble { kind: NoticeKind::Failed, summary, figures: BTreeMap::new() }];
    }
    let mut judged = vec![Judged::Fine(NoticeKind::Failed), Judged::Fine(NoticeKind::Failing)];
    if let Some(seconds) = run.figures.seconds {
        judged.extend(slow(history, notify, run.made_at, seconds, "took"));
        judged.extend(short(history, notify, run.made_at, seconds));
    }
    if let Some(rows) = run.figures.rows {
        judged.extend(few_rows(history, notify, run.made_at, rows));
    }
    judged
}

/// Looks at a run that was made at `made_at` and runs for so long now. Nothing is told of one that is not slow yet.
#[must_use]
pub fn judge_running(history: &History, notify: &NotifySpec, made_at: Timestamp, runs_for: Duration) -> Option<Judged> {
    let judged = slow(history, notify, made_at, runs_for.as_secs_f64(), "runs for");
    judged.filter(|judged| matches!(judged, Judged::Trouble { .. }))
}

/// Looks at a run that waits in the queue for so long now.
#[must_use]
pub fn judge_waiting(
    history: &History,
    notify: &NotifySpec,
    made_at: Timestamp,
    waits_for: Duration,
) -> Option<Judged> {
    let seconds = waits_for.as_secs_f64();
    let band = history.queue.as_ref().map(|baseline| baseline.band(made_at));
    let most = notify
        .stuck_after_seconds
        .map_or_else(|| band.map_or(LONG_PATIENCE, |band| band.high.max(PATIENCE)), f64::from);
    let summary = || format!("waits in the queue for {}; {}", time(seconds), usual(band, most, Side::Above));
    (seconds > most).then(|| trouble(NoticeKind::Stuck, summary(), seconds, band, most))
}

/// By when the job's next run should be made, after one that was made at `last`.
#[must_use]
pub fn judge_overdue(history: &History, notify: &NotifySpec, last: Timestamp) -> Option<Timestamp> {
    match notify.overdue_after_seconds {
        _ if !notify.wants(NoticeKind::Overdue) => None,
        Some(seconds) => Some(last.plus(Duration::from_secs(u64::from(seconds)))),
        None => history.cadence.as_ref().map(|cadence| cadence.expected_by(last)),
    }
}

fn slow(history: &History, notify: &NotifySpec, at: Timestamp, seconds: f64, verb: &str) -> Option<Judged> {
    let band = history.duration.as_ref().map(|baseline| baseline.band(at));
    let most = match (notify.slow_after_seconds, band) {
        (Some(said), _) => Bound::said(f64::from(said)),
        (None, band) => band.map(|band| Bound::usual(band.typical, band.high.max(band.typical + MARGIN)))?,
    };
    judged(NoticeKind::Slow, notify, (seconds, Side::Above, most), band, || {
        format!("{verb} {}; {}", time(seconds), usual(band, most.told, Side::Above))
    })
}

fn short(history: &History, notify: &NotifySpec, at: Timestamp, seconds: f64) -> Option<Judged> {
    let band = history.duration.as_ref().map(|baseline| baseline.band(at));
    let least = match (notify.short_below_seconds, band) {
        (Some(said), _) => Bound::said(f64::from(said)),
        (None, band) => band.map(|band| Bound::usual(band.typical, band.low.min(band.typical - MARGIN)))?,
    };
    judged(NoticeKind::Short, notify, (seconds, Side::Below, least), band, || {
        format!("took only {}; {}", time(seconds), usual(band, least.told, Side::Below))
    })
}

fn few_rows(history: &History, notify: &NotifySpec, at: Timestamp, rows: f64) -> Option<Judged> {
    let band = history.rows.as_ref().map(|baseline| baseline.band(at));
    let empty = rows <= 0.0;
    let least = match (notify.min_rows, band) {
        (Some(said), _) => Bound::said(said),
        // Where runs without rows are usual, nothing is said of them.
        (None, Some(_)) if empty && history.often_empty => return Some(Judged::Fine(NoticeKind::FewRows)),
        (None, band) => {
            let least = if history.often_empty { 0.0 } else { 1.0 };
            band.map(|band| Bound::usual(band.typical, band.low.max(least)))?
        }
    };
    judged(NoticeKind::FewRows, notify, (rows, Side::Below, least), band, || {
        let few = if empty { "no rows".to_owned() } else { format!("only {rows} rows") };
        match (notify.min_rows, band) {
            (None, Some(band)) => {
                let (low, high) = (band.low, band.high);
                format!("reported {few}; usual are {low:.0} to {high:.0} (from {} runs)", band.samples)
            }
            _ => format!("reported {few}; the job says {} at the least", least.told),
        }
    })
}

/// Where trouble begins, and where it ends.
#[derive(Clone, Copy)]
struct Bound {
    /// Beyond it, a value is told.
    told: f64,
    /// Beyond it, a value does not end what was told.
    over: f64,
}

impl Bound {
    /// As the job says it.
    const fn said(value: f64) -> Self {
        Self { told: value, over: value }
    }

    /// What was told ends half-way back to what is typical: values that go to and fro about the bound, as after a
    /// lasting change that just reaches it, are told once.
    fn usual(typical: f64, told: f64) -> Self {
        let half_way = f64::midpoint(typical.max(0.0).ln_1p(), told.max(0.0).ln_1p()).exp_m1();
        Self { told, over: half_way }
    }
}

/// `None` when it is not wanted, or when the value neither tells nor ends anything.
fn judged(
    kind: NoticeKind,
    notify: &NotifySpec,
    (value, side, bound): (f64, Side, Bound),
    band: Option<Band>,
    summary: impl FnOnce() -> String,
) -> Option<Judged> {
    let beyond = |limit: f64| if side == Side::Above { value > limit } else { value < limit };
    match notify.wants(kind) {
        true if beyond(bound.told) => Some(trouble(kind, summary(), value, band, bound.told)),
        true if !beyond(bound.over) => Some(Judged::Fine(kind)),
        _ => None,
    }
}

fn trouble(kind: NoticeKind, summary: String, value: f64, band: Option<Band>, bound: f64) -> Judged {
    let mut figures = BTreeMap::from([("value", value), ("bound", bound)]);
    if let Some(band) = band {
        let samples = ("samples", f64::from(band.samples));
        figures.extend([("low", band.low), ("typical", band.typical), ("high", band.high), samples]);
    }
    Judged::Trouble { kind, summary, figures }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Above,
    Below,
}

fn usual(band: Option<Band>, bound: f64, side: Side) -> String {
    let band = band.filter(|band| if side == Side::Above { bound >= band.high } else { bound <= band.low });
    match (band, side) {
        (Some(band), _) => {
            let (low, high) = (time(band.low), time(band.high));
            format!("usual is {}, from {low} to {high} (from {} runs)", time(band.typical), band.samples)
        }
        (None, Side::Above) => format!("more than {} is too long", time(bound)),
        (None, Side::Below) => format!("less than {} is too short", time(bound)),
    }
}

/// A time as people say it.
pub(super) fn time(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and below a century")]
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..=9 => format!("{:.1} s", seconds.max(0.0)),
        10..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min", (whole + 30) / 60),
        7200..=172_799 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} days {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::domain::{RunId, SampleFigures};

    const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn sample(n: u32, seconds: f64, rows: f64) -> Sample {
        let figures = SampleFigures { seconds: Some(seconds), queue_seconds: Some(1.0), rows: Some(rows) };
        let made_at = START.plus(Duration::from_secs(3600) * n);
        Sample { run: RunId::generate(), made_at, succeeded: true, figures }
    }

    fn history(runs: u32) -> History {
        let wobble = |n: u32| 1.0 + 0.1 * f64::from(n % 7);
        let samples: Vec<_> = (0..runs).map(|n| sample(n, 600.0 * wobble(n), 1000.0 * wobble(n))).collect();
        History::of(&samples, &TimeZone::UTC)
    }

    fn troubles(history: &History, notify: &NotifySpec, run: &Sample) -> Vec<NoticeKind> {
        let judged = judge_end(history, notify, run, None);
        judged.iter().filter(|judged| matches!(judged, Judged::Trouble { .. })).map(Judged::kind).collect()
    }

    #[test]
    fn what_is_unusual_is_told_and_what_is_usual_is_fine() {
        let (history, notify) = (history(100), NotifySpec::default());
        assert_eq!(troubles(&history, &notify, &sample(100, 700.0, 1200.0)), []);
        assert_eq!(troubles(&history, &notify, &sample(100, 7000.0, 1200.0)), [NoticeKind::Slow]);
        assert_eq!(troubles(&history, &notify, &sample(100, 20.0, 0.0)), [NoticeKind::Short, NoticeKind::FewRows]);
        let fine = judge_end(&history, &notify, &sample(100, 700.0, 1200.0), None);
        assert_eq!(fine.len(), 5, "{fine:?}");
        let failed = Sample { succeeded: false, ..sample(100, 1.0, 0.0) };
        assert_eq!(troubles(&history, &notify, &failed), [NoticeKind::Failed]);
    }

    #[test]
    fn little_history_says_nothing_but_what_the_job_says() {
        let (history, run) = (history(10), sample(10, 7000.0, 0.0));
        assert_eq!(troubles(&history, &NotifySpec::default(), &run), []);
        let said = NotifySpec { slow_after_seconds: Some(900), min_rows: Some(1.0), ..NotifySpec::default() };
        assert_eq!(troubles(&history, &said, &run), [NoticeKind::Slow, NoticeKind::FewRows]);
        let muted = NotifySpec { mute: vec![NoticeKind::Slow], ..said };
        assert_eq!(troubles(&history, &muted, &run), [NoticeKind::FewRows]);
    }

    #[test]
    fn what_runs_and_what_waits_is_told_while_it_does() {
        let (history, notify) = (history(100), NotifySpec::default());
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(judge_running(&history, &notify, START, minutes(12)), None);
        let Some(Judged::Trouble { summary, figures, .. }) = judge_running(&history, &notify, START, minutes(200))
        else {
            panic!("it is slow")
        };
        assert!(summary.starts_with("runs for 3 h 20 min; usual is 13 min, from "), "{summary}");
        assert_eq!((figures["value"], figures["samples"]), (12_000.0, 100.0));
        assert_eq!(judge_waiting(&history, &notify, START, minutes(4)), None);
        assert!(judge_waiting(&history, &notify, START, minutes(6)).is_some());
    }
}
