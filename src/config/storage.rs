//! Where data is kept.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::{
    ConfigError, Origin,
    layers::{Given, Layers},
};

/// Where data is kept.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// Directory of the database, the logs and the master key, unless they are elsewhere.
    pub data_dir: PathBuf,
    /// `sqlite:` or `postgres:`; may hold a password.
    pub database_url: SecretString,
}

impl StorageConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let file = &layers.file;
        let flag = layers.args.data_dir.clone().filter(|path| !path.as_os_str().is_empty());
        let data_dir = flag
            .map(|value| Given { value, origin: Origin::Flag("--data-dir", "HAULIER_DATA_DIR") })
            .or_else(|| layers.in_file(&file.data_dir))
            .map_or_else(|| default_data_dir(layers), |given| Ok(given.value))?;
        let variables = ["HAULIER_DATABASE_URL", "HAULIER_DATABASE_URL_FILE"];
        let database_url =
            match layers.secret("database_url", variables, &file.database_url, &file.database_url_file)? {
                Some(given) => check_database_url(given.read("database_url")?)?,
                None => default_database_url(&data_dir)?,
            };
        Ok(Self { data_dir, database_url })
    }
}

fn default_data_dir(layers: &Layers<'_>) -> Result<PathBuf, ConfigError> {
    if layers.around.root {
        return Ok("/var/lib/haulier".into());
    }
    // A relative XDG_DATA_HOME is to be ignored, says its specification.
    let absolute = |name| layers.env(name).map(|given| PathBuf::from(given.value)).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    let problem = "there is no home directory to put data in: set HAULIER_DATA_DIR";
    base.map(|base| base.join("haulier")).ok_or_else(|| ConfigError::invalid("data_dir", Origin::Default, problem))
}

fn default_database_url(data_dir: &std::path::Path) -> Result<SecretString, ConfigError> {
    let path = data_dir.join("haulier.db");
    let text = path.to_str().filter(|text| !text.contains(['?', '#', '%']));
    text.map(|text| format!("sqlite://{text}").into()).ok_or_else(|| {
        let problem = "the data directory's name has '?', '#', '%' or is not UTF-8: give the database's URL as well";
        ConfigError::invalid("database_url", Origin::Default, problem)
    })
}

fn check_database_url(Given { value, origin }: Given<SecretString>) -> Result<SecretString, ConfigError> {
    let schemes = ["sqlite:", "postgres://", "postgresql://"];
    if schemes.iter().any(|scheme| value.expose_secret().starts_with(scheme)) {
        return Ok(value);
    }
    let problem = "write sqlite:///path/to/haulier.db or postgres://user:password@host/database";
    Err(ConfigError::invalid("database_url", origin, problem))
}
