//! How long a job's runs took: one mark a run, the normal band behind them.

use std::time::Duration;

use askama::{Template, filters::HtmlSafe};

use super::percent;
use crate::{
    domain::{RunId, RunState, Timestamp},
    web::format::{Badge, Span, exact},
};

/// A run that has ended, as far as plots care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub state: RunState,
    /// From the start of its first container to its end.
    pub duration: Duration,
    /// When it ended.
    pub at: Timestamp,
}

/// The durations that are normal for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// Shorter is unusual.
    pub low: Duration,
    /// In the middle.
    pub median: Duration,
    /// Longer is unusual.
    pub high: Duration,
}

/// One mark for each run, the newest at the right; a band where durations are normal.
#[derive(Debug, Clone, Template)]
#[template(path = "plots/durations.svg", escape = "html")]
pub struct DurationPlot {
    marks: Vec<Mark>,
    lines: Vec<Line>,
    band: Option<Area>,
    label: String,
}

impl HtmlSafe for DurationPlot {}

#[derive(Debug, Clone)]
struct Mark {
    x: String,
    y: String,
    state: RunState,
    run: RunId,
    title: String,
}

#[derive(Debug, Clone)]
struct Line {
    y: String,
    text: String,
}

#[derive(Debug, Clone)]
struct Area {
    y: String,
    height: String,
    median: String,
}

impl DurationPlot {
    /// Of runs that have ended, the newest first. `None` when there is none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "places of a few marks")]
    pub fn of(newest_first: &[Measured], band: Option<Band>) -> Option<Self> {
        let newest = newest_first.first()?;
        let longest = newest_first.iter().map(|run| run.duration).max()?;
        let highest = longest.max(band.map_or(Duration::ZERO, |band| band.high)).as_secs_f64().max(0.001);
        let step = step_for(highest);
        let top = (highest / step).ceil() * step;
        let y = |duration: Duration| percent(top - duration.as_secs_f64(), top);
        let places = newest_first.len().max(12) as f64;
        let marks = newest_first.iter().enumerate().map(|(index, run)| Mark {
            x: percent(places - index as f64 - 0.5, places),
            y: y(run.duration),
            state: run.state,
            run: run.run,
            title: format!("{}, {}, ended {} UTC", Badge(run.state).word(), Span(run.duration), exact(run.at)),
        });
        let lines = (0..).map(|line| f64::from(line) * step).take_while(|value| *value <= top * 1.001);
        let lines = lines.map(|value| Line {
            y: percent(top - value, top),
            text: if value == 0.0 { "0".to_owned() } else { Span(Duration::from_secs_f64(value)).to_string() },
        });
        let area = band.map(|band| Area {
            y: y(band.high),
            height: percent(band.high.saturating_sub(band.low).as_secs_f64(), top),
            median: y(band.median),
        });
        let normal = band.map_or_else(
            || "too few successful runs to say what is normal".to_owned(),
            |band| format!("normal is from {} to {}", Span(band.low), Span(band.high)),
        );
        let label = format!(
            "durations of the last {} runs: the newest took {}, the longest {}; {normal}",
            newest_first.len(),
            Span(newest.duration),
            Span(longest)
        );
        Some(Self { marks: marks.collect(), lines: lines.collect(), band: area, label })
    }
}

/// A distance between lines that people count in, for three to five lines.
fn step_for(highest: f64) -> f64 {
    const NICE: [f64; 24] = [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
        3600.0, 7200.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0,
    ];
    NICE.into_iter().find(|step| highest / step <= 4.0).unwrap_or(highest / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(seconds: u64, state: RunState) -> Measured {
        Measured {
            run: RunId::generate(),
            state,
            duration: Duration::from_secs(seconds),
            at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn marks_lie_where_their_figures_are() {
        let runs = [measured(30, RunState::Succeeded), measured(60, RunState::Failed)];
        let band =
            Band { low: Duration::from_secs(15), median: Duration::from_secs(30), high: Duration::from_secs(45) };
        let plot = DurationPlot::of(&runs, Some(band)).unwrap();
        assert_eq!(
            plot.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(),
            ["0", "15 s", "30 s", "45 s", "1m 00s"]
        );
        assert_eq!((plot.marks[0].y.as_str(), plot.marks[1].y.as_str()), ("50", "0"));
        assert_eq!(plot.band.as_ref().map(|area| (area.y.as_str(), area.height.as_str())), Some(("25", "50")));
        assert!(plot.marks[0].x.parse::<f64>().unwrap() > plot.marks[1].x.parse::<f64>().unwrap());
        assert!(DurationPlot::of(&[], None).is_none());
    }
}
