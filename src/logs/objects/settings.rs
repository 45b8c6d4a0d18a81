//! Which object store: a URL, and options by the names that the library gives them.

use std::{fmt, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    path::Path as Key,
};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

/// How long one try may take, unless the options say otherwise.
const REQUEST: Duration = Duration::from_secs(20);
/// How long it may take to get a connection, unless the options say otherwise.
const CONNECT: Duration = Duration::from_secs(5);

/// An object store cannot be used as it is given. Quotes no option's value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    S3,
    Azure,
    Google,
}

/// Which object store, and how to get in.
#[derive(Clone)]
pub struct ObjectSettings {
    kind: Kind,
    url: Url,
    prefix: Key,
    options: Vec<(String, SecretString)>,
}

impl fmt::Debug for ObjectSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObjectSettings").field(&self.url.as_str()).finish()
    }
}

impl ObjectSettings {
    /// Reads a URL: `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix`.
    ///
    /// # Errors
    /// It is none of these, or has more in it.
    pub fn new(url: &str) -> Result<Self, SettingsError> {
        let form = || {
            let text = "write s3://bucket/prefix, az://container/prefix or gs://bucket/prefix, without credentials; \
                        a directory is given with logs.dir";
            SettingsError(text.to_owned())
        };
        let url = Url::parse(url).map_err(|_| form())?;
        if url.password().is_some() || url.query().is_some() || url.fragment().is_some() || url.port().is_some() {
            return Err(form());
        }
        let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|_| form())?;
        let kind = match scheme {
            _ if url.scheme().starts_with("http") => return Err(form()),
            ObjectStoreScheme::AmazonS3 => Kind::S3,
            ObjectStoreScheme::MicrosoftAzure => Kind::Azure,
            ObjectStoreScheme::GoogleCloudStorage => Kind::Google,
            _ => return Err(form()),
        };
        Ok(Self { kind, url, prefix, options: Vec::new() })
    }

    /// How the variables of the environment begin that hold options for this kind.
    #[must_use]
    pub const fn variables(&self) -> &'static str {
        match self.kind {
            Kind::S3 => "AWS_",
            Kind::Azure => "AZURE_",
            Kind::Google => "GOOGLE_",
        }
    }

    /// Gives an option, which wins over what was given before; whether there is one of that name.
    pub fn set(&mut self, name: &str, value: SecretString) -> bool {
        let name = name.to_ascii_lowercase();
        let known = match self.kind {
            Kind::S3 => name.parse::<AmazonS3ConfigKey>().is_ok(),
            Kind::Azure => name.parse::<AzureConfigKey>().is_ok(),
            Kind::Google => name.parse::<GoogleConfigKey>().is_ok(),
        };
        if known {
            self.options.push((name, value));
        }
        known
    }

    pub(super) fn prefix(&self) -> Key {
        self.prefix.clone()
    }

    /// For messages.
    pub(super) fn place(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    pub(super) fn client(&self) -> Result<Arc<dyn ObjectStore>, SettingsError> {
        crate::install_crypto();
        let client = ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(CONNECT);
        let backoff = BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() };
        let retry = RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(20), backoff };
        /// The builders have no trait in common.
        macro_rules! build {
            ($builder:ty) => {{
                let builder = <$builder>::new().with_url(self.url.as_str());
                let builder = builder.with_client_options(client).with_retry(retry);
                let given = self.options.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value)));
                let builder =
                    given.fold(builder, |builder, (key, value)| builder.with_config(key, value.expose_secret()));
                Arc::new(builder.build().map_err(|error| unusable(&error, &self.options))?)
            }};
        }
        Ok(match self.kind {
            Kind::S3 => build!(AmazonS3Builder),
            Kind::Azure => build!(MicrosoftAzureBuilder),
            Kind::Google => build!(GoogleCloudStorageBuilder),
        })
    }
}

/// What the library says of options that do not fit. It may quote one that it cannot read.
fn unusable(error: &object_store::Error, options: &[(String, SecretString)]) -> SettingsError {
    let text = error.to_string();
    let quoted = options.iter().map(|(_, value)| value.expose_secret()).filter(|value| !value.is_empty());
    SettingsError(quoted.fold(text, |text, value| text.replace(value, "…")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_url_without_secrets() {
        for url in
            ["s3://logs", "s3://logs/haulier/a", "az://logs/x", "abfss://logs@account.dfs.core.windows.net/x", "gs://b"]
        {
            ObjectSettings::new(url).unwrap();
        }
        for url in [
            "",
            "logs",
            "/var/logs",
            "file:///var/logs",
            "memory:///",
            "https://s3.amazonaws.com/b",
            "s3:///x",
            "s3://id:hunter2@logs/x",
            "az://logs/x?sig=hunter2",
            "ftp://a/b",
        ] {
            let error = ObjectSettings::new(url).unwrap_err().to_string();
            assert!(error.contains("s3://bucket/prefix") && !error.contains("hunter2"), "{url}: {error}");
        }
        assert_eq!(ObjectSettings::new("s3://logs/a/b/").unwrap().place(), "s3://logs/a/b");
    }

    #[test]
    fn options_are_known_by_name_and_their_values_stay_secret() {
        let mut settings = ObjectSettings::new("s3://logs/x").unwrap();
        assert!(settings.set("AWS_REGION", "eu-central-1".into()) && settings.set("endpoint", "http://h".into()));
        assert!(settings.set("secret_access_key", "hunter2".into()) && !settings.set("acount", "x".into()));
        assert!(settings.set("allow_http", "hunter2".into()), "what is wrong with it shows later");
        assert!(!format!("{settings:?}").contains("hunter2"));
        let error = super::super::Objects::open(&settings).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(settings.set("aws_allow_http", "true".into()) && settings.set("access_key_id", "me".into()));
        let objects = super::super::Objects::open(&settings).unwrap();
        assert_eq!(format!("{objects:?}"), r#"Objects("s3://logs/x")"#);
    }
}
