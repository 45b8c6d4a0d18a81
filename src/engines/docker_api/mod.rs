//! What the engines behind Docker's API share: the connection, the meaning of its errors, the form of its output.

pub(super) mod client;
pub(super) mod errors;
pub(super) mod output;

use crate::domain::Timestamp;

/// A point in time as the daemon writes it; `None` for its zero, which means never.
pub(super) fn moment(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| Timestamp::parse(text).ok()).filter(|moment| moment.as_micros() > 0)
}
