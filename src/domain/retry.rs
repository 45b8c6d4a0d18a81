//! When a failed attempt is made again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ErrorCode, Problems, validate::check_range};

/// How often a run is attempted, and after which failures of its own.
///
/// Failures of the infrastructure (`evicted`, `engine_lost`, `engine_interrupted`) are apart: they are made again up to
/// [`RetryPolicy::INFRASTRUCTURE_ATTEMPTS`] times whatever stands here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts in all, 1 to 20. 1 = never again.
    #[schema(minimum = 1, maximum = 20)]
    pub max_attempts: u32,
    /// Time between attempts.
    pub backoff: Backoff,
    /// After which failures; empty = after each that can be retried.
    pub on: Vec<ErrorCode>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 1, backoff: Backoff::default(), on: Vec::new() }
    }
}

impl RetryPolicy {
    /// How many failures of the infrastructure one run survives.
    pub const INFRASTRUCTURE_ATTEMPTS: u32 = 3;

    /// Whether the policy makes an attempt again after this failure, the `failures`-th of the script's own.
    #[must_use]
    pub fn retries(&self, code: ErrorCode, failures: u32) -> bool {
        let named = if self.on.is_empty() { code.may_be_retried_by_policy() } else { self.on.contains(&code) };
        named && failures < self.max_attempts
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        check_range("/retry/max_attempts", Some(self.max_attempts), 1, 20, problems);
        check_range("/retry/backoff/seconds", Some(self.backoff.seconds), 0, 86_400, problems);
        check_range("/retry/backoff/max_seconds", Some(self.backoff.max_seconds), 0, 86_400, problems);
        let factor = self.backoff.factor;
        problems.require(
            (1.0..=10.0).contains(&factor),
            "/retry/backoff/factor",
            format!("from 1 to 10, not {factor}"),
        );
        for (index, code) in self.on.iter().enumerate() {
            problems.require(
                code.may_be_retried_by_policy(),
                format!("/retry/on/{index}"),
                "a retry cannot follow this: use exit_code, script_error, out_of_memory, image_pull_failed, \
                 start_timeout, state_conflict or run_timeout",
            );
        }
    }
}

/// Time between attempts: `seconds`, then `factor` times as long each time, never longer than `max_seconds`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// Before the second attempt, in seconds.
    pub seconds: u32,
    /// Growth from one to the next, 1 to 10.
    pub factor: f64,
    /// The longest, in seconds.
    pub max_seconds: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { seconds: 10, factor: 2.0, max_seconds: 600 }
    }
}

impl Backoff {
    /// Time before the attempt that follows the `failures`-th failure (from 1).
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1).min(64)).unwrap_or(64);
        let seconds = f64::from(self.seconds) * self.factor.max(1.0).powi(exponent);
        Duration::from_secs_f64(seconds.min(f64::from(self.max_seconds)))
    }

    /// The pause after failures of the infrastructure: 1 s, 4 s, 16 s.
    #[must_use]
    pub fn infrastructure() -> Self {
        Self { seconds: 1, factor: 4.0, max_seconds: 60 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_bound() {
        let backoff = Backoff { seconds: 10, factor: 2.0, max_seconds: 60 };
        let seconds: Vec<_> = (1..=5).map(|n| backoff.delay(n).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 60, 60]);
        assert_eq!(backoff.delay(u32::MAX).as_secs(), 60);
    }

    #[test]
    fn policy_counts_attempts_and_reads_codes() {
        let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
        assert!(policy.retries(ErrorCode::ExitCode, 2));
        assert!(!policy.retries(ErrorCode::ExitCode, 3));
        assert!(!policy.retries(ErrorCode::CommandNotFound, 1));
        let only_memory = RetryPolicy { on: vec![ErrorCode::OutOfMemory], ..policy };
        assert!(!only_memory.retries(ErrorCode::ExitCode, 1));
        assert!(only_memory.retries(ErrorCode::OutOfMemory, 1));
    }
}
