//! Which engines there are.

use std::{collections::BTreeMap, fmt, num::NonZeroU32};

use serde::Deserialize;

use super::{ConfigError, layers::Layers};
use crate::domain::Name;

/// What kind of engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Containers on this machine, without a daemon. Linux only.
    Embedded,
    /// Docker or Podman.
    Docker,
    /// A namespace of a Kubernetes cluster.
    Kubernetes,
    /// Docker Swarm.
    Swarm,
    /// HashiCorp Nomad.
    Nomad,
    /// One that only pretends, for demonstrations and tests.
    Simulated,
}

/// One engine.
#[derive(Clone, PartialEq, Deserialize)]
pub struct EngineConfig {
    /// What kind of engine it is.
    pub kind: EngineKind,
    /// The most runs at once on it, of all jobs; no bound when left out.
    #[serde(default)]
    pub max_running: Option<NonZeroU32>,
    /// The rest of its table, which its own kind reads and checks.
    #[serde(flatten)]
    pub settings: toml::Table,
}

// What an engine is given may be a secret: only the keys are shown.
impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.settings.keys().collect();
        f.debug_struct("EngineConfig")
            .field("kind", &self.kind)
            .field("max_running", &self.max_running)
            .field("settings", &keys)
            .finish()
    }
}

/// Which engines there are.
#[derive(Debug, Clone, PartialEq)]
pub struct EnginesConfig {
    /// All, by name; at least one.
    pub all: BTreeMap<Name, EngineConfig>,
    /// The one for jobs that name none. One of `all`.
    pub default: Name,
}

impl EnginesConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let invalid = |problem: String| ConfigError::invalid("default_engine", layers.file_origin(), problem);
        let mut all = layers.file.engines.clone();
        if all.is_empty() {
            // What needs nothing but the kernel, where it may be used.
            let embedded = cfg!(target_os = "linux") && layers.around.root;
            let (name, kind) =
                if embedded { ("embedded", EngineKind::Embedded) } else { ("docker", EngineKind::Docker) };
            let name = name.parse().map_err(|error| invalid(format!("{error}")))?;
            all.insert(name, EngineConfig { kind, max_running: None, settings: toml::Table::new() });
        }
        let names = || all.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
        let default = match (&layers.file.default_engine, all.keys().next()) {
            (Some(name), _) if all.contains_key(name) => name.clone(),
            (Some(name), _) => return Err(invalid(format!("there is no engine {name}: name one of {}", names()))),
            (None, Some(only)) if all.len() == 1 => only.clone(),
            (None, _) => return Err(invalid(format!("there are several engines: name one of {}", names()))),
        };
        Ok(Self { all, default })
    }
}
