//! Where the runs' logs are kept, and how much of them. How long is each job's own affair.

use std::path::PathBuf;

use super::{ConfigError, layers::Layers};
use crate::logs::LogLimits;

/// Where the runs' logs are kept, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsConfig {
    /// Where, if not in the data directory.
    pub dir: Option<PathBuf>,
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
        let dir =
            layers.env("HAULIER_LOGS_DIR").map(|given| given.map(PathBuf::from)).or_else(|| layers.in_file(&file.dir));
        Ok(Self { dir: dir.map(|given| given.value), limits: LogLimits { max_bytes_per_run } })
    }
}
