//! What can be wrong with the configuration.

use std::{fmt, io, path::PathBuf};

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In the configuration file.
    File(PathBuf),
    /// In this variable of the environment.
    Env(&'static str),
    /// By this flag, or the variable that stands for it.
    Flag(&'static str, &'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Env(name) => f.write_str(name),
            Self::Flag(flag, name) => write!(f, "{flag} or {name}"),
        }
    }
}

/// The configuration cannot be used. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: check the path and its permissions", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not TOML, or has keys or types that are not known.
    #[error("{path}, line {line}: {problem}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A value cannot be used.
    #[error("setting {setting} ({origin}): {problem}")]
    Invalid {
        /// The setting's name in the file.
        setting: String,
        /// Where the value was given.
        origin: Origin,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl ConfigError {
    /// A value that cannot be used.
    pub(super) fn invalid(setting: impl Into<String>, origin: Origin, problem: impl Into<String>) -> Self {
        Self::Invalid { setting: setting.into(), origin, problem: problem.into() }
    }
}
