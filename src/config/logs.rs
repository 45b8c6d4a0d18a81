//! How much of the runs' logs is kept. How long is each job's own affair.

use super::{ConfigError, layers::Layers};
use crate::logs::LogLimits;

/// How much of the runs' logs is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogsConfig {
    /// How much.
    pub limits: LogLimits,
}

const MIN_BYTES: u64 = 64 * 1024;
const MAX_BYTES: u64 = 64 * 1024 * 1024 * 1024;

impl LogsConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let file = &layers.file.logs;
        let invalid = |setting: &str, problem| ConfigError::invalid(setting, layers.file_origin(), problem);
        let max_bytes_per_run = file.max_bytes_per_run.unwrap_or(LogLimits::default().max_bytes_per_run);
        if !(MIN_BYTES..=MAX_BYTES).contains(&max_bytes_per_run) {
            return Err(invalid("logs.max_bytes_per_run", format!("give {MIN_BYTES} to {MAX_BYTES} bytes")));
        }
        Ok(Self { limits: LogLimits { max_bytes_per_run } })
    }
}
