//! Haulier: hand it a container image; any orchestrator can run it, watch it and trust the answer.
//!
//! The code map, lowest layer first; a module uses only those above it in this list.
//!
//! | module | what it is |
//! |---|---|
//! | [`domain`] | pure values and their transitions |
//! | [`vault`] | keyring and sealing of configuration |
//! | [`engines`] | container engines behind one trait |
//! | [`logs`] | logs, redaction, the report protocol |
//! | [`store`] | the database |

pub mod domain;
pub mod engines;
pub mod store;
