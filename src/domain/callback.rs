//! Telling a caller that its run has ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ProjectId, RunId, Timestamp};

/// For how long after the run's end a callback is tried.
const PATIENCE: Duration = Duration::from_secs(72 * 3600);
/// The first pause between tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(900));

/// In which form a callback is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallbackKind {
    /// Haulier's own JSON, signed.
    Signed,
    /// What Azure Data Factory's WebHook activity waits for.
    Adf,
}

impl CallbackKind {
    /// The kind as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Adf => "adf",
        }
    }

    /// Reads a stored kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Signed, Self::Adf].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where a callback stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallbackState {
    /// The run has not ended.
    Waiting,
    /// It is being tried.
    Due,
    /// The receiver has it.
    Delivered,
    /// It was tried for three days, or the receiver does not want it.
    GivenUp,
}

/// A callback as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Callback {
    /// Names the delivery to its receiver, the same in every try: deduplicate by it.
    pub delivery_id: Uuid,
    /// In which form it is sent.
    pub kind: CallbackKind,
    /// Scheme, host and port of the receiver; the rest of the address is secret.
    pub target: String,
    /// Where it stands.
    pub state: CallbackState,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried next.
    pub next_try_at: Option<Timestamp>,
    /// The HTTP status of the last answer.
    pub last_status: Option<u16>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it was delivered.
    pub delivered_at: Option<Timestamp>,
}

/// One try of a callback, held by one service until its time is up.
#[derive(Debug, Clone)]
pub struct CallbackTry {
    /// The run.
    pub run: RunId,
    /// Its project.
    pub project: ProjectId,
    /// Names the delivery.
    pub delivery_id: Uuid,
    /// In which form it is sent.
    pub kind: CallbackKind,
    /// The sealed address.
    pub url: Vec<u8>,
    /// Which try this is, from 1.
    pub number: u32,
    /// When the run ended.
    pub ended_at: Timestamp,
}

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbackOutcome {
    /// The receiver has it.
    Delivered {
        /// The HTTP status.
        status: u16,
    },
    /// Perhaps later.
    Failed {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// Why, for people. Never the whole address.
        error: String,
    },
    /// It does not want it, ever.
    Refused {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// Why, for people.
        error: String,
    },
}

impl CallbackTry {
    /// When the next try is due after this one has failed; `None`: never.
    ///
    /// The pause doubles from a second to a quarter of an hour. Up to a quarter of it is taken off by `jitter` (0 to
    /// 1), so that many callbacks to one receiver do not come at once.
    #[must_use]
    pub fn next(&self, now: Timestamp, jitter: f64) -> Option<Timestamp> {
        next_try(self.number, self.ended_at, now, jitter)
    }
}

/// When something that could not be delivered is tried again, after so many tries since a moment; `None`: never.
#[must_use]
pub fn next_try(tries: u32, since: Timestamp, now: Timestamp, jitter: f64) -> Option<Timestamp> {
    let pause = PAUSES.0.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(PAUSES.1);
    let next = now.plus(pause.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0)));
    (next.since(since) <= PATIENCE).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let end = Timestamp::from_micros(1_000_000_000);
        let attempt = |number| CallbackTry {
            run: RunId::generate(),
            project: ProjectId::generate(),
            delivery_id: Uuid::nil(),
            kind: CallbackKind::Adf,
            url: Vec::new(),
            number,
            ended_at: end,
        };
        let pause = |number, jitter| attempt(number).next(end, jitter).map(|next| next.since(end).as_millis());
        assert_eq!(pause(1, 0.0), Some(1000));
        assert_eq!(pause(1, 1.0), Some(750));
        assert_eq!(pause(4, 0.0), Some(8000));
        assert_eq!(pause(60, 0.0), Some(900_000));
        assert_eq!(attempt(300).next(end.plus(PATIENCE), 0.0), None);
    }
}
