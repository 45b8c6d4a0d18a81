//! The layers that settings are taken from: file, environment, flags.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::{
    ConfigError, EngineConfig, LogFormat, Origin, ServeArgs, dashboard::DashboardSection, issuers::IssuerSection,
    telemetry::TelemetrySection,
};
use crate::domain::Name;

/// What a process finds around it.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Variables of the environment.
    pub env: HashMap<String, String>,
    /// Whether the process runs as root.
    pub root: bool,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        Self { env: std::env::vars_os().filter_map(text).collect(), root }
    }
}

// The environment holds secrets, ours and others'.
impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("root", &self.root).finish_non_exhaustive()
    }
}

/// The configuration file as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) listen: Option<String>,
    pub(super) public_url: Option<String>,
    pub(super) max_body_bytes: Option<u64>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) data_dir: Option<PathBuf>,
    #[serde(deserialize_with = "secret")]
    pub(super) database_url: Option<SecretString>,
    pub(super) database_url_file: Option<PathBuf>,
    #[serde(deserialize_with = "secret")]
    pub(super) master_key: Option<SecretString>,
    pub(super) master_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "secret")]
    pub(super) admin_token: Option<SecretString>,
    pub(super) admin_token_file: Option<PathBuf>,
    pub(super) logs: Logs,
    pub(super) history: History,
    pub(super) callbacks: Allowed,
    pub(super) registries: Allowed,
    pub(super) metrics: Metrics,
    pub(super) dashboard: DashboardSection,
    pub(super) issuers: Vec<IssuerSection>,
    pub(super) telemetry: TelemetrySection,
    pub(super) default_engine: Option<Name>,
    pub(super) engines: BTreeMap<Name, EngineConfig>,
}

/// Section `[logs]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Logs {
    pub(super) dir: Option<PathBuf>,
    pub(super) store: Option<String>,
    /// By the names that the library has for them; some are secret.
    pub(super) store_options: BTreeMap<String, StoreOption>,
    pub(super) max_bytes_per_run: Option<u64>,
}

/// An option of an object store, as the library wants it. TOML has kinds of its own for numbers and truth.
pub(super) struct StoreOption(pub(super) SecretString);

impl<'de> Deserialize<'de> for StoreOption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "write a text, a number, true or false")]
        enum Written {
            Text(String),
            Number(i64),
            Flag(bool),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
            Written::Flag(flag) => flag.to_string(),
        };
        Ok(Self(text.into()))
    }
}

/// Section `[history]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct History {
    pub(super) keep_days: Option<u64>,
    pub(super) keep_audit_days: Option<u64>,
}

/// Sections `[callbacks]` and `[registries]` as they are written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Allowed {
    pub(super) allow: Vec<String>,
}

/// Section `[metrics]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) public: bool,
}

pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(text.into()))
}

/// A value and where it was given.
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// All layers.
pub(super) struct Layers<'a> {
    pub(super) args: &'a ServeArgs,
    pub(super) around: &'a Surroundings,
    pub(super) file: File,
}

impl<'a> Layers<'a> {
    /// Reads the file, if one is named.
    pub(super) fn read(args: &'a ServeArgs, around: &'a Surroundings) -> Result<Self, ConfigError> {
        let file = args.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        Ok(Self { args, around, file })
    }

    /// A variable of the environment; a blank one counts as none, as Compose files leave them.
    pub(super) fn env(&self, name: &'static str) -> Option<Given<String>> {
        let value = self.around.env.get(name).filter(|value| !value.trim().is_empty())?;
        Some(Given { value: value.clone(), origin: Origin::Env(name) })
    }

    /// The variables of the environment whose names begin so, with their names.
    pub(super) fn env_like(&self, begin: &str) -> impl Iterator<Item = (&str, SecretString)> {
        let given = self.around.env.iter().filter(move |(name, value)| name.starts_with(begin) && !value.is_empty());
        given.map(|(name, value)| (name.as_str(), value.as_str().into()))
    }

    /// A value from the file.
    pub(super) fn in_file<T: Clone>(&self, value: &Option<T>) -> Option<Given<T>> {
        Some(Given { value: value.clone()?, origin: self.file_origin() })
    }

    /// A secret that is given as text or by a file's path: by one of two variables, else by one of two settings of the
    /// file, `setting` and `setting_file`.
    pub(super) fn secret(
        &self,
        setting: &str,
        [text_variable, path_variable]: [&'static str; 2],
        text: &Option<SecretString>,
        path: &Option<PathBuf>,
    ) -> Result<Option<GivenSecret>, ConfigError> {
        let text_in_env = self.env(text_variable).map(|given| given.map(SecretString::from));
        let path_in_env = self.env(path_variable).map(|given| given.map(PathBuf::from));
        let in_env = GivenSecret::one(setting, text_in_env, path_in_env)?;
        Ok(in_env.or(GivenSecret::one(setting, self.in_file(text), self.in_file(path))?))
    }

    /// The file as an origin.
    pub(super) fn file_origin(&self) -> Origin {
        self.args.config.clone().map_or(Origin::Default, Origin::File)
    }
}

/// A secret as it was given.
pub(super) enum GivenSecret {
    /// Itself.
    Text(Given<SecretString>),
    /// The file that it is in.
    File(Given<PathBuf>),
}

impl GivenSecret {
    /// Of one layer. Two there would leave open which of them counts.
    fn one(
        setting: &str,
        text: Option<Given<SecretString>>,
        file: Option<Given<PathBuf>>,
    ) -> Result<Option<Self>, ConfigError> {
        match (text, file) {
            (Some(text), Some(_)) => {
                let problem = format!("{setting}_file is given as well: remove one of the two");
                Err(ConfigError::invalid(setting, text.origin, problem))
            }
            (text, file) => Ok(text.map(Self::Text).or(file.map(Self::File))),
        }
    }

    /// The secret itself. Reads the file; blocks.
    pub(super) fn read(self, setting: &str) -> Result<Given<SecretString>, ConfigError> {
        let Given { value: path, origin } = match self {
            Self::Text(text) => return Ok(text),
            Self::File(file) => file,
        };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Given { value: text.trim_end().into(), origin }),
            Err(error) => {
                let problem = format!("{} cannot be read ({error}): check the path", path.display());
                Err(ConfigError::invalid(setting, origin, problem))
            }
        }
    }
}

impl<T> Given<T> {
    pub(super) fn default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Given<U> {
        Given { value: change(self.value), origin: self.origin }
    }
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| {
        // The error's own text quotes the line, which may hold a secret; its message names keys and types alone, but for
        // strings of the wrong kind, which no secret setting has.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        ConfigError::File { path: path.to_owned(), line, problem: error.message().trim_end().replace('\n', "; ") }
    })
}
