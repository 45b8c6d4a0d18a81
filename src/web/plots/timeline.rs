//! Where a run's time went.

use std::time::Duration;

use askama::{Template, filters::HtmlSafe};

use super::percent;
use crate::{
    domain::{Run, RunEvent, RunEventKind, Timestamp},
    web::format::Span,
};

/// What a run did for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseKind {
    /// It waited for its turn.
    Queued,
    /// Its container was brought up.
    Starting,
    /// Its container ran.
    Running,
    /// Its end was stored.
    Finishing,
}

impl PhaseKind {
    /// The phase in a word, which is its class too.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Finishing => "finishing",
        }
    }
}

/// A stretch of a run's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// What it did.
    pub kind: PhaseKind,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// In which attempt, if in any.
    pub attempt: Option<u32>,
}

/// A bar from the trigger to the end, or to now.
#[derive(Debug, Clone, Template)]
#[template(path = "plots/timeline.html")]
pub struct TimelinePlot {
    parts: Vec<Part>,
    sums: Vec<(PhaseKind, Span)>,
    whole: Span,
    live: bool,
    label: String,
}

impl HtmlSafe for TimelinePlot {}

#[derive(Debug, Clone)]
struct Part {
    kind: PhaseKind,
    x: String,
    width: String,
    title: String,
}

impl TimelinePlot {
    /// Of a run and what happened to it, in order.
    #[must_use]
    pub fn of(run: &Run, events: &[RunEvent], now: Timestamp) -> Self {
        let segments = segments(run, events, now);
        let (begin, end) = (run.created_at, run.finished_at.unwrap_or(now));
        let whole = end.since(begin);
        let part = |segment: &Segment| Part {
            kind: segment.kind,
            x: percent(segment.from.since(begin).as_secs_f64(), whole.as_secs_f64()),
            width: percent(segment.to.since(segment.from).as_secs_f64(), whole.as_secs_f64()),
            title: match segment.attempt {
                None => format!("{}: {}", segment.kind.as_str(), Span(segment.to.since(segment.from))),
                Some(attempt) => {
                    let span = Span(segment.to.since(segment.from));
                    format!("{} (attempt {attempt}): {span}", segment.kind.as_str())
                }
            },
        };
        let kinds = [PhaseKind::Queued, PhaseKind::Starting, PhaseKind::Running, PhaseKind::Finishing];
        let sums = kinds.map(|kind| {
            let of_kind = segments.iter().filter(|segment| segment.kind == kind);
            (kind, of_kind.map(|segment| segment.to.since(segment.from)).sum::<Duration>())
        });
        let sums: Vec<_> = sums.into_iter().filter(|(_, sum)| !sum.is_zero()).map(|(k, sum)| (k, Span(sum))).collect();
        let told: Vec<_> = sums.iter().map(|(kind, sum)| format!("{} {sum}", kind.as_str())).collect();
        Self {
            parts: segments.iter().map(part).collect(),
            label: format!("timeline: {}", told.join(", ")),
            sums,
            whole: Span(whole),
            live: run.finished_at.is_none(),
        }
    }
}

/// What follows from a run's events: each says what begins with it.
fn segments(run: &Run, events: &[RunEvent], now: Timestamp) -> Vec<Segment> {
    let end = run.finished_at.unwrap_or(now);
    let mut segments: Vec<Segment> = Vec::new();
    let mut present = (PhaseKind::Queued, run.created_at, None);
    let mut close = |(kind, from, attempt): (PhaseKind, Timestamp, Option<u32>), to: Timestamp| {
        if to > from {
            segments.push(Segment { kind, from, to, attempt });
        }
    };
    for event in events {
        let next = match event.kind {
            RunEventKind::Admitted => PhaseKind::Starting,
            RunEventKind::Started => PhaseKind::Running,
            RunEventKind::AttemptEnded => PhaseKind::Finishing,
            RunEventKind::Retrying | RunEventKind::Continued => PhaseKind::Queued,
            RunEventKind::Triggered | RunEventKind::StopRequested | RunEventKind::Finished | RunEventKind::Warning => {
                continue;
            }
        };
        close(present, event.at);
        let attempt = if next == PhaseKind::Queued { None } else { event.attempt };
        present = (next, event.at, attempt);
    }
    close(present, end);
    segments
}
