//! The master key and the first token.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::{
    ConfigError,
    layers::{Given, GivenSecret, Layers},
};
use crate::vault::{Keyring, VaultError};

/// Where the master keys come from.
#[derive(Debug, Clone)]
pub enum MasterKeySource {
    /// They were given as text.
    Text(SecretString),
    /// They are in this file, which must be there.
    File(PathBuf),
    /// They are in this file, which is made with the first start.
    Default(PathBuf),
}

impl MasterKeySource {
    /// Reads the keys. Blocks.
    ///
    /// # Errors
    /// They are missing or cannot be used, or others may read the file.
    pub fn keyring(&self) -> Result<Keyring, VaultError> {
        match self {
            Self::Text(text) => Keyring::parse(text),
            Self::File(path) => Keyring::read_file(path),
            Self::Default(path) => Keyring::read_or_create_file(path),
        }
    }

    /// The file, if they are in one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Text(_) => None,
            Self::File(path) | Self::Default(path) => Some(path),
        }
    }
}

/// The master key and the first token.
#[derive(Debug, Clone)]
pub struct SecretsConfig {
    /// Where the master keys come from.
    pub master_key: MasterKeySource,
    /// A token that may do everything, for the first steps and for automation. At least 16 characters.
    pub admin_token: Option<SecretString>,
}

const MIN_ADMIN_TOKEN: usize = 16;

impl SecretsConfig {
    pub(super) fn resolve(layers: &Layers<'_>, data_dir: &Path) -> Result<Self, ConfigError> {
        let file = &layers.file;
        let variables = ["HAULIER_MASTER_KEY", "HAULIER_MASTER_KEY_FILE"];
        let master_key = match layers.secret("master_key", variables, &file.master_key, &file.master_key_file)? {
            Some(GivenSecret::Text(Given { value, origin })) => match Keyring::parse(&value) {
                Ok(_) => MasterKeySource::Text(value),
                Err(problem) => return Err(ConfigError::invalid("master_key", origin, problem.to_string())),
            },
            Some(GivenSecret::File(path)) => MasterKeySource::File(path.value),
            None => MasterKeySource::Default(data_dir.join("master.key")),
        };
        let variables = ["HAULIER_ADMIN_TOKEN", "HAULIER_ADMIN_TOKEN_FILE"];
        let admin_token = layers.secret("admin_token", variables, &file.admin_token, &file.admin_token_file)?;
        let admin_token = admin_token.map(|given| given.read("admin_token").and_then(check_admin_token)).transpose()?;
        Ok(Self { master_key, admin_token })
    }
}

fn check_admin_token(Given { value, origin }: Given<SecretString>) -> Result<SecretString, ConfigError> {
    let text = value.expose_secret();
    if text.len() >= MIN_ADMIN_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(value);
    }
    let problem = format!(
        "give at least {MIN_ADMIN_TOKEN} characters of printable ASCII without blanks, for example from `openssl rand -hex 32`"
    );
    Err(ConfigError::invalid("admin_token", origin, problem))
}
