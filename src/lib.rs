//! Haulier: hand it a container image; any orchestrator can run it, watch it and trust the answer.
//!
//! The code map, lowest layer first; a module uses only those above it in this list.
//!
//! | module | what it is |
//! |---|---|
//! | [`domain`] | pure values and their transitions |
//! | [`registry`] | container registries |
//! | [`engines`] | container engines behind one trait |
//! | [`metrics`] | what is counted and timed |
//! | [`store`] | the database |
//! | [`telemetry`] | traces and metrics for a collector |
//! | [`vault`] | keyring and sealing of configuration |
//! | [`logs`] | logs, redaction, the report protocol |
//! | [`runner`] | the reconcilers: from a queued run to its stored answer |
//! | [`callbacks`] | telling callers the end of their runs |
//! | [`monitor`] | telling how the service and its jobs are |
//! | [`auth`] | tokens |
//! | [`api`] | the HTTP API |
//! | [`web`] | the dashboard |
//! | [`config`] | settings: defaults, file, environment, flags |
//! | [`client`] | the typed HTTP client |
//! | [`scaffold`] | new projects, from templates |
//! | [`service`] | puts the parts together |
//! | [`cli`] | the command line |

pub mod api;
pub mod auth;
mod background;
pub mod callbacks;
pub mod cli;
pub mod client;
pub mod config;
pub mod domain;
pub mod engines;
mod latest;
pub mod logs;
pub mod metrics;
pub mod monitor;
mod outgoing;
pub mod registry;
pub mod runner;
pub mod scaffold;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod vault;
pub mod web;

/// Makes `ring` the process's provider of TLS cryptography. Harmless when called again.
pub fn install_crypto() {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An error and what lies beneath it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
