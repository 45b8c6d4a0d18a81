//! What is known of a job from its last runs.

use jiff::tz::TimeZone;

use super::{Baseline, Cadence, Observed};
use crate::domain::{Sample, SampleFigures, Timestamp};

/// How many of a hundred runs without rows make that usual.
const USUALLY_EMPTY: usize = 3;

/// What is usual for a job.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// How long its good runs take, in seconds.
    pub duration: Option<Baseline>,
    /// How long its runs wait until they start, in seconds.
    pub queue: Option<Baseline>,
    /// How many rows its good runs report.
    pub rows: Option<Baseline>,
    /// Whether good runs without rows are usual.
    pub often_empty: bool,
    /// When it is run.
    pub cadence: Option<Cadence>,
    /// When its last run was made.
    pub last_made: Option<Timestamp>,
    /// How many runs are remembered.
    pub samples: usize,
}

impl History {
    /// From a job's last runs, the oldest first. Hours and days are those of `zone`.
    #[must_use]
    pub fn of(samples: &[Sample], zone: &TimeZone) -> Self {
        let figure = |good: bool, figure: fn(&SampleFigures) -> Option<f64>| {
            let chosen = samples.iter().filter(|sample| sample.succeeded || !good);
            let values: Vec<_> = chosen
                .filter_map(|sample| Some(Observed { at: sample.made_at, value: figure(&sample.figures)? }))
                .collect();
            values
        };
        let rows = figure(true, |figures| figures.rows);
        let empty = rows.iter().filter(|rows| rows.value <= 0.0).count();
        let made: Vec<_> = samples.iter().map(|sample| sample.made_at).collect();
        Self {
            duration: Baseline::of(&figure(true, |figures| figures.seconds), zone),
            queue: Baseline::of(&figure(false, |figures| figures.queue_seconds), zone),
            often_empty: empty * 100 > rows.len() * USUALLY_EMPTY,
            rows: Baseline::of(&rows, zone),
            cadence: Cadence::of(&made, zone),
            last_made: made.last().copied(),
            samples: samples.len(),
        }
    }
}
