//! A pod's log, taken apart into entries. Pure.
//!
//! Each entry begins with its time. A kubelet may write the time again inside a line, wherever its container runtime
//! has split it: after so many full blocks of bytes.

use bytes::{Bytes, BytesMut};

use crate::domain::Timestamp;

/// Runtimes split lines after a multiple of this many bytes.
const BLOCK: usize = 4096;
/// Where a line without any end is cut, so that it need not be kept whole.
const LONGEST: usize = 4 * BLOCK;
/// The longest a time can be, with the space behind it.
const TIME: usize = 40;

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// Written then.
    Output(Timestamp, Bytes),
    /// Not from the container: the kubelet says why it cannot go on.
    Complaint(String),
}

/// Takes a log apart, however its bytes arrive.
#[derive(Debug, Default)]
pub(super) struct Entries {
    buffer: BytesMut,
    /// The present entry's time, once read.
    time: Option<Timestamp>,
    /// How many bytes of the present entry were looked through for its end.
    seen: usize,
    /// How many of its blocks do not end with a split.
    blocks: usize,
}

impl Entries {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next entry that is whole. `ended`: no more bytes will come, and what is there is whole.
    pub(super) fn next(&mut self, ended: bool) -> Option<Entry> {
        let time = match self.time {
            Some(time) => time,
            None => match leading_time(&self.buffer) {
                Some((time, length)) => {
                    let _ = self.buffer.split_to(length);
                    self.time = Some(time);
                    time
                }
                None if self.buffer.len() < TIME && !ended && !self.has_line() => return None,
                None => return self.complaint(),
            },
        };
        loop {
            let block = (self.blocks + 1) * BLOCK;
            let until = block.min(self.buffer.len());
            if let Some(end) = self.buffer[self.seen..until].iter().position(|byte| *byte == b'\n') {
                return Some(self.take(time, self.seen + end + 1, false));
            }
            self.seen = until;
            let behind = self.buffer.get(block..).unwrap_or_default();
            if behind.len() < TIME && !ended && !behind.contains(&b'\n') {
                return None;
            }
            if self.buffer.len() < block {
                break;
            }
            if leading_time(behind).is_some() {
                return Some(self.take(time, block, false));
            }
            if block >= LONGEST {
                return Some(self.take(time, block, true));
            }
            self.blocks += 1;
        }
        (!self.buffer.is_empty()).then(|| self.take(time, self.buffer.len(), false))
    }

    /// `goes_on`: what follows belongs to the same entry.
    fn take(&mut self, time: Timestamp, length: usize, goes_on: bool) -> Entry {
        (self.time, self.seen, self.blocks) = (goes_on.then_some(time), 0, 0);
        Entry::Output(time, self.buffer.split_to(length).freeze())
    }

    fn has_line(&self) -> bool {
        self.buffer.contains(&b'\n')
    }

    /// Nothing comes after it.
    fn complaint(&mut self) -> Option<Entry> {
        let text = String::from_utf8_lossy(&self.buffer.split()).trim().to_owned();
        (!text.is_empty()).then_some(Entry::Complaint(text))
    }
}

/// The time that this begins with, and how many bytes that and the space behind it take.
fn leading_time(bytes: &[u8]) -> Option<(Timestamp, usize)> {
    if !bytes.first()?.is_ascii_digit() {
        return None;
    }
    let space = bytes.iter().take(TIME).position(|byte| *byte == b' ')?;
    let time = Timestamp::parse(std::str::from_utf8(&bytes[..space]).ok()?).ok()?;
    Some((time, space + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME_TEXT: &str = "2026-01-31T07:00:00.123456789Z ";

    fn all(log: &[u8], pieces: usize) -> Vec<Entry> {
        let mut entries = Entries::default();
        let mut all = Vec::new();
        for piece in log.chunks(pieces.max(1)) {
            entries.push(piece);
            all.extend(std::iter::from_fn(|| entries.next(false)));
        }
        all.extend(std::iter::from_fn(|| entries.next(true)));
        all
    }

    fn output(entries: &[Entry]) -> Vec<u8> {
        let pieces = entries.iter().map(|entry| match entry {
            Entry::Output(_, bytes) => bytes.to_vec(),
            Entry::Complaint(text) => panic!("a complaint: {text}"),
        });
        pieces.flatten().collect()
    }

    #[test]
    fn lines_are_told_from_times_and_from_complaints() {
        let log = format!("{TIME_TEXT}one\n{TIME_TEXT}\n{TIME_TEXT}2026 was fine\nrpc error: no such container");
        let entries = all(log.as_bytes(), 7);
        assert_eq!(output(&entries[..3]), b"one\n\n2026 was fine\n");
        assert_eq!(entries[3], Entry::Complaint("rpc error: no such container".to_owned()));
        let Entry::Output(time, _) = &entries[0] else { panic!("no output") };
        assert_eq!(time.to_string(), "2026-01-31T07:00:00.123456Z");
    }

    #[test]
    fn a_last_line_may_have_no_end() {
        assert_eq!(output(&all(format!("{TIME_TEXT}a\n{TIME_TEXT}no end").as_bytes(), 3)), b"a\nno end");
    }

    proptest! {
        /// Lines come out as they went in, whether or not the kubelet splits them, and however the bytes arrive.
        #[test]
        fn lines_come_through_whole(
            lengths in prop::collection::vec(prop_oneof![0usize..40, 4000usize..4200, 16_300usize..16_500, 0usize..50_000], 1..5),
            split in prop_oneof![Just(4096usize), Just(8192), Just(16_384), Just(usize::MAX)],
            pieces in 1usize..40_000,
        ) {
            let mut log = Vec::new();
            let mut expected = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                let line = vec![b'a' + u8::try_from(number).unwrap(); *length];
                expected.extend_from_slice(&line);
                expected.push(b'\n');
                let whole = [&line[..], b"\n"].concat();
                for chunk in whole.chunks(split) {
                    log.extend_from_slice(TIME_TEXT.as_bytes());
                    log.extend_from_slice(chunk);
                }
            }
            let entries = all(&log, pieces);
            prop_assert!(output(&entries) == expected);
            prop_assert_eq!(entries, all(&log, usize::MAX));
        }
    }
}
