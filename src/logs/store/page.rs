//! Reading a log by pages of whole records.

use std::{fs::File, io};

use super::{files::read_file_at, seekable::Reader};

/// The largest page, in bytes, whatever the caller asks for.
const MAX_PAGE: usize = 4 * 1024 * 1024;
/// No record is longer than this, in bytes.
const MAX_RECORD: usize = 64 * 1024 * 1024;

/// Part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Whole records, one JSON object a line.
    pub bytes: Vec<u8>,
    /// Where to go on reading. Greater than the offset asked for whenever there are bytes.
    pub next_offset: u64,
    /// Nothing follows: the log is finished, or there is none and nobody writes one. A run that was not launched yet, or
    /// waits for its next attempt, may still write: ask the run.
    pub end: bool,
}

/// An open log.
#[derive(Debug)]
pub(super) enum Source {
    /// It grows; `length` is what may be read.
    Live { file: File, length: u64 },
    /// It grows, and another service writes it: what is known of it from `begin` on, where a record begins.
    Part { begin: u64, bytes: Vec<u8> },
    /// It is finished.
    Done(Reader),
}

impl Source {
    pub(super) const fn length(&self) -> u64 {
        match self {
            Self::Live { length, .. } => *length,
            Self::Part { begin, bytes } => *begin + bytes.len() as u64,
            Self::Done(reader) => reader.length(),
        }
    }

    fn read_at(&mut self, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Live { file, length } => {
                let left = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
                read_file_at(file, offset, max.min(left))
            }
            Self::Part { begin, bytes } => {
                let from = offset.checked_sub(*begin).and_then(|from| usize::try_from(from).ok());
                let rest = from.and_then(|from| bytes.get(from..)).unwrap_or_default();
                Ok(rest[..rest.len().min(max)].to_vec())
            }
            Self::Done(reader) => reader.read_at(offset, max),
        }
    }

    /// The whole records from `offset` on, about `max` bytes of them, but one at least if there is one. An offset inside a
    /// record counts as the beginning of the next, one behind the end as the end.
    pub(super) fn page(&mut self, offset: u64, max: usize) -> io::Result<LogPage> {
        let max = max.clamp(1, MAX_PAGE);
        // A service that lags behind the one that writes may be asked for what it has not yet.
        let most = if matches!(self, Self::Part { .. }) { offset } else { self.length() };
        let offset = offset.min(most);
        let Some(from) = self.record_start(offset)? else { return Ok(self.empty(offset)) };
        let mut window = max;
        loop {
            let mut bytes = self.read_at(from, window)?;
            if let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') {
                bytes.truncate(last + 1);
                let next_offset = from + bytes.len() as u64;
                let end = self.ends_at(next_offset);
                return Ok(LogPage { bytes, next_offset, end });
            }
            if bytes.len() < window || window >= MAX_RECORD {
                return Ok(self.empty(from));
            }
            window *= 2;
        }
    }

    fn empty(&self, offset: u64) -> LogPage {
        LogPage { bytes: Vec::new(), next_offset: offset, end: self.ends_at(offset) }
    }

    fn ends_at(&self, offset: u64) -> bool {
        matches!(self, Self::Done(_)) && offset >= self.length()
    }

    /// The first record that begins at `offset` or behind it.
    fn record_start(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let begin = if let Self::Part { begin, .. } = self { *begin } else { 0 };
        let Some(mut at) = offset.checked_sub(1).filter(|at| *at >= begin) else { return Ok(Some(begin)) };
        let mut window = 1;
        loop {
            let bytes = self.read_at(at, window)?;
            if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(at + end as u64 + 1));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            at += bytes.len() as u64;
            window = 64 * 1024;
        }
    }
}
