//! Haulier: hand it a container image; any orchestrator can run it, watch it and trust the answer.
//!
//! The code map, lowest layer first; a module uses only those above it in this list.
//!
//! | module | what it is |
//! |---|---|
//! | [`domain`] | pure values and their transitions |
//! | [`engines`] | container engines behind one trait |
//! | [`store`] | the database |
//! | [`vault`] | keyring and sealing of configuration |
//! | [`logs`] | logs, redaction, the report protocol |
//! | [`runner`] | the reconcilers: from a queued run to its stored answer |
//! | [`auth`] | tokens |
//! | [`api`] | the HTTP API |
//! | [`web`] | the dashboard |
//! | [`config`] | settings: defaults, file, environment, flags |
//! | [`client`] | the typed HTTP client |
//! | [`config`] | the settings of the service |
//! | [`service`] | puts the parts together |
//! | [`cli`] | the command line |

pub mod api;
pub mod auth;
pub mod callbacks;
pub mod cli;
pub mod client;
pub mod config;
pub mod domain;
pub mod engines;
mod latest;
pub mod logs;
pub mod runner;
pub mod service;
pub mod store;
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
