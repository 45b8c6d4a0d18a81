//! The names of objects.

use super::{super::files, RunId};

/// Whose logs these are.
pub(super) const OWNER: &str = "installation";
/// Where the segments lie.
pub(super) const LIVE: &str = "live";
/// Where the finished logs lie.
pub(super) const DONE: &str = "done";

/// The folder of a run's segments.
pub(super) fn live(run: RunId) -> String {
    format!("{LIVE}/{run}")
}

/// A segment's name: sorted, they are in order.
pub(super) fn name(begin: u64) -> String {
    format!("{begin:020}.zst")
}

/// Where the segment of this name begins.
pub(super) fn offset(name: &str) -> Option<u64> {
    name.strip_suffix(".zst")?.parse().ok()
}

/// A segment.
pub(super) fn segment(run: RunId, begin: u64) -> String {
    format!("{}/{}", live(run), name(begin))
}

/// The folder of a day's finished logs.
pub(super) fn day(day: &str) -> String {
    format!("{DONE}/{day}")
}

/// A finished log.
pub(super) fn done(run: RunId) -> String {
    format!("{}/{run}.log.zst", day(&files::day(run)))
}
