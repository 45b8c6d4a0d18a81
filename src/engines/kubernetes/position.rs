//! How far a pod's log was read, and what of it is new when it is opened again. Pure.
//!
//! A log is opened at a second, not at an entry: entries of that second come again. A node gives out only the latest of
//! the files that it has rotated, so they may also not come again.

use std::cmp::Ordering;

use crate::domain::Timestamp;

/// How far a log was read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    latest: Option<Latest>,
    again: Again,
}

/// The latest second in which something was written.
#[derive(Debug, Clone, Copy)]
struct Latest {
    second: i64,
    /// The first entry of it that was read.
    first: Timestamp,
    /// The latest entry of it that was read.
    last: Timestamp,
    /// How many entries of it were read.
    entries: usize,
}

/// What comes after the log was opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Again {
    /// All is new.
    #[default]
    Nothing,
    /// It begins with that second; nothing has come yet.
    Expected,
    /// So many entries that were read already, from the first on.
    Same(usize),
    /// The log was rotated in that second: entries of it that were read already, up to the last.
    Rest,
}

/// What an entry is to who has read that far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    New,
    Known,
    /// New, and what lay between it and the last one may be gone.
    BehindGap,
}

impl Position {
    /// Where to open the log again: the second since the epoch in which the last entry was written.
    pub(super) fn second(&self) -> Option<i64> {
        self.latest.map(|latest| latest.second)
    }

    /// Takes the next entry.
    pub(super) fn see(&mut self, time: Timestamp) -> Sight {
        let second = time.as_micros().div_euclid(1_000_000);
        let Some(latest) = &mut self.latest else {
            self.latest = Some(Latest { second, first: time, last: time, entries: 1 });
            return Sight::New;
        };
        if self.again == Again::Expected {
            self.again = match time {
                time if time == latest.first => Again::Same(latest.entries),
                time if time <= latest.last => Again::Rest,
                _ => return Sight::BehindGap,
            };
        }
        match self.again {
            Again::Same(left) if second == latest.second && left > 0 => {
                self.again = Again::Same(left - 1);
                return Sight::Known;
            }
            Again::Rest if time <= latest.last => return Sight::Known,
            _ => {}
        }
        match second.cmp(&latest.second) {
            Ordering::Less => {}
            Ordering::Equal => (latest.entries, latest.last) = (latest.entries + 1, latest.last.max(time)),
            Ordering::Greater => {
                *latest = Latest { second, first: time, last: time, entries: 1 };
                self.again = Again::Nothing;
            }
        }
        Sight::New
    }

    /// The log is opened again, at the second of the last entry.
    pub(super) fn open_again(&mut self) {
        self.again = if self.latest.is_some() { Again::Expected } else { Again::Nothing };
    }

    /// Whether what was read is not there any more, nor what came behind it.
    pub(super) fn is_gone(&self) -> bool {
        self.again == Again::Expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, part: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000 + part)
    }

    /// Who has read these, and opens the log again.
    fn after<const N: usize>(read: [(i64, i64); N]) -> Position {
        let mut position = Position::default();
        assert!(read.into_iter().all(|(seconds, part)| position.see(at(seconds, part)) == Sight::New));
        position.open_again();
        position
    }

    fn see<const N: usize>(position: &mut Position, entries: [(i64, i64); N]) -> [Sight; N] {
        entries.map(|(seconds, part)| position.see(at(seconds, part)))
    }

    #[test]
    fn what_comes_again_is_skipped() {
        use Sight::{Known, New};
        let mut position = after([(5, 1), (6, 1), (6, 2), (5, 9)]);
        assert_eq!(see(&mut position, [(6, 1), (6, 2), (6, 3)]), [Known, Known, New]);
        position.open_again();
        let again = [(6, 1), (6, 2), (6, 3), (6, 4), (7, 0)];
        assert_eq!(see(&mut position, again), [Known, Known, Known, New, New]);
        assert_eq!(see(&mut after([]), [(6, 1)]), [New]);
    }

    #[test]
    fn what_a_rotation_has_left_is_told_from_what_is_new() {
        use Sight::{BehindGap, Known, New};
        let read = || after([(6, 1), (6, 2), (6, 3)]);
        assert_eq!(see(&mut read(), [(6, 2), (6, 3), (6, 4), (7, 0)]), [Known, Known, New, New]);
        // As many entries of that second as were read, and all of them new.
        assert_eq!(see(&mut read(), [(6, 4)]), [BehindGap]);
        assert_eq!(see(&mut read(), [(9, 0)]), [BehindGap]);
        assert!(read().is_gone() && !after([]).is_gone());
    }
}
