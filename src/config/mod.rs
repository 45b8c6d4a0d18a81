//! The server's configuration: defaults < file < environment < flags, checked once.

mod args;
mod callbacks;
mod dashboard;
mod engines;
mod error;
mod grants;
mod history;
mod issuers;
mod layers;
mod logs;
mod secrets;
mod server;
mod storage;
mod telemetry;
#[cfg(test)]
mod tests;

pub use args::ServeArgs;
pub use callbacks::{CallbacksConfig, RegistriesConfig};
pub use dashboard::DashboardConfig;
pub use engines::{EngineConfig, EngineKind, EnginesConfig};
pub use error::{ConfigError, Origin};
pub use history::HistoryConfig;
pub use issuers::IssuersConfig;
pub use layers::Surroundings;
pub use logs::LogsConfig;
pub use secrets::{MasterKeySource, SecretsConfig};
pub use server::{LogFormat, ServerConfig};
pub use storage::StorageConfig;
pub use telemetry::TelemetryConfig;

/// The whole configuration. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// How the server is reached and how it logs.
    pub server: ServerConfig,
    /// Where data is kept.
    pub storage: StorageConfig,
    /// The master key and the first token.
    pub secrets: SecretsConfig,
    /// Where the runs' logs are kept, and how much of them.
    pub logs: LogsConfig,
    /// How long ended runs and the audit log are kept.
    pub history: HistoryConfig,
    /// Where callbacks may go.
    pub callbacks: CallbacksConfig,
    /// Which registries the service itself may ask.
    pub registries: RegistriesConfig,
    /// How people sign in at the dashboard.
    pub dashboard: DashboardConfig,
    /// Whose tokens are believed besides our own.
    pub issuers: IssuersConfig,
    /// Where traces and metrics are sent.
    pub telemetry: TelemetryConfig,
    /// Which engines there are.
    pub engines: EnginesConfig,
}

impl Config {
    /// Puts the layers together and checks every setting. Reads the file that `args` name; blocks.
    ///
    /// # Errors
    /// The file cannot be read or has unknown keys, or a value cannot be used. The error names setting and source.
    pub fn load(args: &ServeArgs, around: &Surroundings) -> Result<Self, ConfigError> {
        let layers = layers::Layers::read(args, around)?;
        let storage = StorageConfig::resolve(&layers)?;
        Ok(Self {
            server: ServerConfig::resolve(&layers)?,
            secrets: SecretsConfig::resolve(&layers, &storage.data_dir)?,
            logs: LogsConfig::resolve(&layers)?,
            history: HistoryConfig::resolve(&layers)?,
            callbacks: CallbacksConfig::resolve(&layers)?,
            registries: RegistriesConfig::resolve(&layers)?,
            dashboard: DashboardConfig::resolve(&layers)?,
            issuers: IssuersConfig::resolve(&layers)?,
            telemetry: TelemetryConfig::resolve(&layers)?,
            engines: EnginesConfig::resolve(&layers)?,
            storage,
        })
    }
}
