//! One record of a log: a line of JSON.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{domain::Timestamp, engines::LogSource};

/// Where a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogChannel {
    /// The script's standard output.
    Stdout,
    /// The script's standard error.
    Stderr,
    /// Haulier itself.
    Haulier,
}

impl From<LogSource> for LogChannel {
    fn from(source: LogSource) -> Self {
        match source {
            LogSource::Stdout => Self::Stdout,
            LogSource::Stderr => Self::Stderr,
        }
    }
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogRecord {
    /// When it was written, by the engine's clock.
    pub time: Timestamp,
    /// Where it came from.
    pub stream: LogChannel,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// The line without its end.
    pub text: String,
    /// Whether the line goes on in the next record of the same stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl LogRecord {
    /// The record as a line of JSON, with its end.
    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        // Writing to memory cannot fail, and neither can a record's fields.
        let _ = serde_json::to_writer(&mut *into, self);
        into.push(b'\n');
    }
}

/// How much of what an attempt wrote to stdout, or to stderr, is in the log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResumePoint {
    /// Records of it.
    pub lines: u64,
    /// The latest time among them.
    pub last_time: Option<Timestamp>,
}

impl ResumePoint {
    fn add(&mut self, time: Timestamp) {
        self.lines += 1;
        self.last_time = self.last_time.max(Some(time));
    }
}

/// Leaves out what is in the log already when an attempt's output comes again from its first line. One for stdout and
/// one for stderr: engines keep the order of each, and some not the order between them.
#[derive(Debug)]
pub struct ReplaySkip(ResumePoint);

impl ReplaySkip {
    /// Skips what this point says is there.
    #[must_use]
    pub const fn new(point: ResumePoint) -> Self {
        Self(point)
    }

    /// Whether the next record of the replay is in the log already.
    ///
    /// One that is newer than all that is stored is not, whatever the count says: an engine that threw away the
    /// beginning of the output replays fewer lines than were stored. From there on nothing is skipped.
    pub fn skips(&mut self, time: Timestamp) -> bool {
        if self.0.lines == 0 {
            return false;
        }
        if self.0.last_time.is_some_and(|last| time > last) {
            self.0.lines = 0;
            return false;
        }
        self.0.lines -= 1;
        true
    }
}

/// What is known of a log's content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// For each attempt, and what it wrote to.
    written: HashMap<(u32, LogSource), ResumePoint>,
    /// Whether the mark of the size limit is there.
    pub(super) truncated: bool,
}

/// Records that are in the log already, should they come again.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<(u32, LogSource), ReplaySkip>);

impl Known {
    /// Whether the next record is one of them.
    pub(super) fn has(&mut self, record: &LogRecord) -> bool {
        let source = match record.stream {
            LogChannel::Stdout => LogSource::Stdout,
            LogChannel::Stderr => LogSource::Stderr,
            LogChannel::Haulier => return false,
        };
        self.0.get_mut(&(record.attempt, source)).is_some_and(|skip| skip.skips(record.time))
    }
}

/// How the mark of the size limit begins.
pub(super) const TRUNCATED: &str = "log truncated:";

impl Tally {
    /// Counts a record.
    pub(super) fn add(&mut self, record: &LogRecord) {
        match record.stream {
            LogChannel::Haulier => self.truncated |= record.text.starts_with(TRUNCATED),
            LogChannel::Stdout => self.count(record, LogSource::Stdout),
            LogChannel::Stderr => self.count(record, LogSource::Stderr),
        }
    }

    fn count(&mut self, record: &LogRecord, source: LogSource) {
        self.written.entry((record.attempt, source)).or_default().add(record.time);
    }

    /// What scripts wrote of it beyond what is in another log of the run.
    pub(super) fn beyond(&self, other: &Self) -> Known {
        let more = self.written.iter().filter_map(|(of, point)| {
            let known = other.written.get(of).map_or(0, |point| point.lines);
            let lines = point.lines.checked_sub(known).filter(|lines| *lines > 0)?;
            Some((*of, ReplaySkip::new(ResumePoint { lines, ..*point })))
        });
        Known(more.collect())
    }

    /// What was counted before `later` was.
    pub(super) fn without(&self, later: &Self) -> Self {
        let before = self.written.iter().map(|(of, point)| {
            let since = later.written.get(of).map_or(0, |point| point.lines);
            (*of, ResumePoint { lines: point.lines.saturating_sub(since), ..*point })
        });
        Self { written: before.collect(), truncated: self.truncated }
    }

    /// What there is of what an attempt wrote there.
    pub(super) fn written(&self, attempt: u32, source: LogSource) -> ResumePoint {
        self.written.get(&(attempt, source)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn the_form_is_stable() {
        let record =
            LogRecord { time: at(1), stream: LogChannel::Stdout, attempt: 2, text: "a\n\"b\"".into(), partial: false };
        let mut line = Vec::new();
        record.encode(&mut line);
        LogRecord { stream: LogChannel::Haulier, partial: true, ..record.clone() }.encode(&mut line);
        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            "{\"time\":\"1970-01-01T00:00:00.000001Z\",\"stream\":\"stdout\",\"attempt\":2,\"text\":\"a\\n\\\"b\\\"\"}\n\
             {\"time\":\"1970-01-01T00:00:00.000001Z\",\"stream\":\"haulier\",\"attempt\":2,\"text\":\"a\\n\\\"b\\\"\",\"partial\":true}\n"
        );
        assert_eq!(serde_json::from_slice::<LogRecord>(line.split(|c| *c == b'\n').next().unwrap()).unwrap(), record);
    }

    #[test]
    fn a_replay_begins_after_what_is_stored() {
        let mut skip = ReplaySkip::new(ResumePoint { lines: 3, last_time: Some(at(20)) });
        let replay = [10, 20, 20, 20, 30].map(|time| skip.skips(at(time)));
        assert_eq!(replay, [true, true, true, false, false]);
    }

    #[test]
    fn a_replay_that_lost_its_beginning_skips_no_new_line() {
        let mut skip = ReplaySkip::new(ResumePoint { lines: 3, last_time: Some(at(20)) });
        assert_eq!([20, 30, 20, 40].map(|time| skip.skips(at(time))), [true, false, false, false]);
    }

    #[test]
    fn nothing_stored_skips_nothing() {
        assert!(!ReplaySkip::new(ResumePoint::default()).skips(at(0)));
    }
}
