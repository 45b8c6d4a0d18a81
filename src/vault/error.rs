//! What can go wrong with keys and sealed values.

use std::{io, path::PathBuf};

use super::KeyId;

/// A key or a sealed value could not be used. No message holds a key or a plaintext.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The text of a master key cannot be read.
    #[error("the master key is not 32 bytes in base64 or hexadecimal: make one with `openssl rand -base64 32`")]
    KeyText,
    /// There is no master key in the text at all.
    #[error("no master key is given: make one with `openssl rand -base64 32`")]
    NoKey,
    /// Others than the owner may read or change the key file.
    #[error("others may use the master key file {path} (mode {mode:04o}): run `chmod 600 {path}`", path = path.display())]
    KeyFileMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file could not be read or written.
    #[error("cannot {operation} the master key file {path}: check the path and its permissions", path = path.display())]
    KeyFile {
        /// What was being done, like `read`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The value was sealed under a master key that is not in the keyring.
    #[error("sealed under master key {wanted}, but the keyring holds {known}: give {wanted} as an older key too")]
    UnknownKey {
        /// The key that is needed.
        wanted: KeyId,
        /// The keys that are there, comma-separated.
        known: String,
    },
    /// The sealed bytes begin with a version that this program does not know.
    #[error("sealed in format {0}, which this version cannot read: run the version that wrote it, or a newer one")]
    Version(u8),
    /// The sealed bytes do not open: they are damaged, cut, or belong to another place or key.
    #[error(
        "a sealed value does not open: it is damaged, was moved to another place, or belongs to another key; \
         set it again or restore the database together with its master key"
    )]
    Damaged,
    /// The system gave no random bytes, or a value is too long to seal.
    #[error("cannot seal: the system gave no random bytes, or the value is too long")]
    Seal,
}
