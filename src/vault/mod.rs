//! Envelope encryption of everything confidential at rest.
//!
//! A [`Keyring`] of master keys, which never enter the database, seals one [`DataKey`] a context (a project). Data keys
//! seal values, each bound to its place by a [`Binding`]. Changing the master key therefore rewraps a few data keys and
//! touches no value.

mod binding;
mod data_key;
mod error;
mod key_file;
mod keyring;
mod master;
mod project_keys;
mod rotation;
mod seal;
mod signing;

pub use binding::Binding;
pub use data_key::DataKey;
pub use error::VaultError;
pub use keyring::{Keyring, SealedDataKey};
pub use master::{KeyId, MasterKey};
pub use project_keys::{KeyError, ProjectKeys};
pub use rotation::{KeyUse, Rotation, RotationError};
