//! Where the runs' logs are kept, and how much of them. How long is each job's own affair.

use std::path::PathBuf;

use super::{ConfigError, layers::Layers};
use crate::logs::{LogLimits, ObjectSettings};

/// Where the runs' logs are kept, and how much of them.
#[derive(Debug, Clone)]
pub struct LogsConfig {
    /// Where files lie, if not in the data directory.
    pub dir: Option<PathBuf>,
    /// The object store, if there is one.
    pub store: Option<ObjectSettings>,
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
        Ok(Self { dir: dir.map(|given| given.value), store: store(layers)?, limits: LogLimits { max_bytes_per_run } })
    }
}

/// The object store. Its options come from the file and, over them, from the variables that its kind has everywhere.
fn store(layers: &Layers<'_>) -> Result<Option<ObjectSettings>, ConfigError> {
    let file = &layers.file.logs;
    let Some(given) = layers.env("HAULIER_LOGS_STORE").or_else(|| layers.in_file(&file.store)) else {
        return match file.store_options.is_empty() {
            true => Ok(None),
            false => Err(ConfigError::invalid("logs.store_options", layers.file_origin(), "give logs.store as well")),
        };
    };
    let mut settings = ObjectSettings::new(&given.value)
        .map_err(|error| ConfigError::invalid("logs.store", given.origin, error.to_string()))?;
    for (name, value) in &file.store_options {
        if !settings.set(name, value.0.clone()) {
            let problem = format!("there is no such option: write it as {}…, in lower case", settings.variables());
            return Err(ConfigError::invalid(format!("logs.store_options.{name}"), layers.file_origin(), problem));
        }
    }
    for (name, value) in layers.env_like(settings.variables()) {
        // Others of these variables are for other programs.
        settings.set(name, value);
    }
    // Where Azure's own platforms say to ask for a managed identity.
    if let Some(endpoint) = layers.env("IDENTITY_ENDPOINT").filter(|_| settings.variables() == "AZURE_") {
        settings.set("azure_identity_endpoint", endpoint.value.into());
    }
    Ok(Some(settings))
}
