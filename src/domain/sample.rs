//! What is remembered of an ended run, to know what is usual.

use serde::{Deserialize, Serialize};

use super::{Run, RunId, RunState, Timestamp};

/// What is remembered of an ended run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The run.
    pub run: RunId,
    /// When it was made.
    pub made_at: Timestamp,
    /// Whether it ended well.
    pub succeeded: bool,
    /// Its figures.
    pub figures: SampleFigures,
}

/// The figures of an ended run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleFigures {
    /// From its first container to its end.
    pub seconds: Option<f64>,
    /// From being made until its first container ran.
    pub queue_seconds: Option<f64>,
    /// How many rows its script reported.
    pub rows: Option<f64>,
}

impl Sample {
    /// Of a run that has ended; `None` for one that says nothing about the job: it was cancelled.
    #[must_use]
    pub fn of(run: &Run, rows_metric: &str) -> Option<Self> {
        let succeeded = match run.life.state() {
            RunState::Succeeded => true,
            RunState::Failed | RunState::TimedOut => false,
            _ => return None,
        };
        let earliest = run.not_before.unwrap_or(run.created_at).max(run.created_at);
        let figures = SampleFigures {
            seconds: run.started_at.zip(run.finished_at).map(|(start, end)| end.since(start).as_secs_f64()),
            queue_seconds: run.started_at.map(|start| start.since(earliest).as_secs_f64()),
            rows: run.metrics.get(rows_metric).copied(),
        };
        Some(Self { run: run.id, made_at: run.created_at, succeeded, figures })
    }
}
