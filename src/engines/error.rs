//! What can go wrong with an engine. Policy reads kind and persistence, never the text.

use std::{error::Error as StdError, fmt};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineErrorKind {
    /// The engine did not answer (connection refused, timeout, broken off).
    Unreachable,
    /// The registry does not have the image, or it may not be known without a login.
    ImageNotFound,
    /// The registry refused the login, or wants one.
    ImageUnauthorized,
    /// The registry could not be asked (network, rate limit, server error).
    ImagePull,
    /// The image reference cannot be understood.
    ImageInvalid,
    /// The command is not in the image or cannot be executed.
    CommandNotFound,
    /// The engine refuses the configuration.
    Rejected,
    /// The name is taken by a workload that does not carry our labels for this attempt.
    Conflict,
    /// The engine refuses our credentials.
    Unauthorized,
    /// The engine has no room now.
    NoCapacity,
    /// The engine cannot do what is asked of it.
    Unsupported,
    /// Some of the output is gone for good. Reading it again gives the rest.
    OutputLost,
    /// The engine failed inside.
    Internal,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// No: something must be changed first.
    Permanent,
    /// Perhaps: the engine answered, but not now.
    Temporary,
    /// The engine could not be reached: nothing is known.
    Unreachable,
}

/// A failed call to an engine.
#[derive(Debug)]
pub struct EngineError {
    /// What went wrong.
    pub kind: EngineErrorKind,
    /// Whether trying again can help.
    pub persistence: Persistence,
    /// What was being done, like `create container`.
    pub operation: &'static str,
    /// For people: the engine's words and what to do. Never holds a secret.
    pub detail: String,
    /// What lies beneath.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl EngineError {
    /// An error without a source.
    #[must_use]
    pub fn new(
        kind: EngineErrorKind,
        persistence: Persistence,
        operation: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, persistence, operation, detail: detail.into(), source: None }
    }

    /// The same, with what lies beneath.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether trying again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.persistence == Persistence::Permanent
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.detail)
    }
}

impl StdError for EngineError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
