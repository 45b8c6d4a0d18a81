//! Where the service may connect to on behalf of others.

use ipnet::IpNet;

use super::{ConfigError, layers::Layers};

/// Where callbacks may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbacksConfig {
    /// Networks beyond the public internet.
    pub allow: Vec<IpNet>,
}

/// Which registries the service itself may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistriesConfig {
    /// Networks beyond the public internet.
    pub allow: Vec<IpNet>,
}

impl CallbacksConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        Ok(Self { allow: networks("callbacks.allow", &layers.file.callbacks.allow, layers)? })
    }
}

impl RegistriesConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        Ok(Self { allow: networks("registries.allow", &layers.file.registries.allow, layers)? })
    }
}

fn networks(setting: &'static str, texts: &[String], layers: &Layers<'_>) -> Result<Vec<IpNet>, ConfigError> {
    let network = |text: &String| {
        let alone = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
        text.parse().ok().or_else(alone).ok_or_else(|| {
            let problem = format!("{text:?} is no network: write 10.0.0.0/8 or 192.168.1.7");
            ConfigError::invalid(setting, layers.file_origin(), problem)
        })
    };
    texts.iter().map(network).collect()
}
