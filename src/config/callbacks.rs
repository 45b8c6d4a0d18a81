//! Where callbacks may go.

use ipnet::IpNet;

use super::{ConfigError, layers::Layers};

/// Where callbacks may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbacksConfig {
    /// Networks beyond the public internet.
    pub allow: Vec<IpNet>,
}

impl CallbacksConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let network = |text: &String| {
            let alone = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
            text.parse().ok().or_else(alone).ok_or_else(|| {
                let problem = format!("{text:?} is no network: write 10.0.0.0/8 or 192.168.1.7");
                ConfigError::invalid("callbacks.allow", layers.file_origin(), problem)
            })
        };
        Ok(Self { allow: layers.file.callbacks.allow.iter().map(network).collect::<Result<_, _>>()? })
    }
}
