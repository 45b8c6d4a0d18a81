//! How long the history is kept. How long logs are is each job's own affair.

use std::time::Duration;

use super::{ConfigError, layers::Layers};
use crate::runner::HistoryLimits;

/// How long the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryConfig {
    /// How long.
    pub limits: HistoryLimits,
}

const MIN_DAYS: u64 = 7;
/// Who changed what is asked for later than how a run ended.
const MIN_AUDIT_DAYS: u64 = 30;
const MAX_DAYS: u64 = 3650;

impl HistoryConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let (file, default) = (&layers.file.history, HistoryLimits::default());
        let kept = |setting: &str, given: Option<u64>, least: u64, default: Option<Duration>| match given {
            None => Ok(default),
            Some(0) => Ok(None),
            Some(days) if (least..=MAX_DAYS).contains(&days) => Ok(Some(Duration::from_secs(days * 86_400))),
            Some(_) => {
                let problem = format!("give {least} to {MAX_DAYS} days, or 0 to keep it for ever");
                Err(ConfigError::invalid(format!("history.{setting}"), layers.file_origin(), problem))
            }
        };
        let runs = kept("keep_days", file.keep_days, MIN_DAYS, default.runs)?;
        let audit = kept("keep_audit_days", file.keep_audit_days, MIN_AUDIT_DAYS, default.audit)?;
        Ok(Self { limits: HistoryLimits { runs, audit } })
    }
}
