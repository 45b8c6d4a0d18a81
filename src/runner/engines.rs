//! The configured engines, by name, and how they are.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::observer::Observer;
use crate::{
    domain::Timestamp,
    engines::{Capabilities, Engine, EngineHealth, Handle},
};

/// The configured engines.
#[derive(Debug, Clone)]
pub struct Engines {
    by_name: BTreeMap<String, EngineEntry>,
    default: String,
}

/// A configured engine.
#[derive(Debug, Clone)]
pub struct EngineEntry {
    /// Its kind: `docker`, …
    pub kind: &'static str,
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The most runs at once on it.
    pub max_running: Option<u32>,
    pub(super) observer: Arc<Observer>,
    status: Arc<Mutex<Option<EngineStatus>>>,
}

/// How an engine was when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineStatus {
    /// Its answer.
    pub health: EngineHealth,
    /// When.
    pub at: Timestamp,
}

impl EngineEntry {
    /// An engine of this kind.
    #[must_use]
    pub fn new(kind: &'static str, engine: Arc<dyn Engine>) -> Self {
        let observer = Arc::new(Observer::new(Arc::clone(&engine)));
        Self { kind, engine, max_running: None, observer, status: Arc::default() }
    }

    /// The same, with at most so many runs at once.
    #[must_use]
    pub const fn at_most(mut self, max_running: Option<u32>) -> Self {
        self.max_running = max_running;
        self
    }

    /// What it can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    /// How it was when it was last asked.
    #[must_use]
    pub fn status(&self) -> Option<EngineStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many workloads are watched on it.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.observer.watched()
    }

    /// Removes a workload; the sweep has the last word.
    pub(super) async fn remove(&self, handle: &Handle) {
        let workload = handle.attempt.workload_name();
        let mut pause = Duration::from_millis(200);
        for left in (0..8).rev() {
            let Err(error) = self.engine.remove(handle).await else { return };
            if left == 0 {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, %workload, "the workload could not be removed: it is left to the sweep");
                return;
            }
            tracing::debug!(error = &error as &dyn std::error::Error, %workload, "the workload could not be removed yet");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    pub(super) fn set_status(&self, status: EngineStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

impl Engines {
    /// These engines; `default` must be one of them.
    #[must_use]
    pub fn new(default: String, engines: impl IntoIterator<Item = (String, EngineEntry)>) -> Self {
        Self { by_name: engines.into_iter().collect(), default }
    }

    /// An engine.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&EngineEntry> {
        self.by_name.get(name)
    }

    /// The name of the engine that jobs use when they name none.
    #[must_use]
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &EngineEntry)> {
        self.by_name.iter().map(|(name, entry)| (name.as_str(), entry))
    }
}
