//! Collecting everything that is wrong with a document, each with a pointer to it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) to the field, like `/limits/0/weight`; empty for the whole document.
    pub pointer: String,
    /// What is wrong and what to write instead.
    pub detail: String,
}

/// Everything that is wrong with a document; never more than [`Problems::MOST`] entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<FieldError>);

impl Problems {
    /// How many are told at once.
    pub const MOST: usize = 50;

    /// Adds one.
    pub fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.0.len() < Self::MOST {
            self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// Adds one unless `holds`.
    pub fn require(&mut self, holds: bool, pointer: impl Into<String>, detail: impl Into<String>) {
        if !holds {
            self.add(pointer, detail);
        }
    }

    /// `Ok` when nothing is wrong.
    ///
    /// # Errors
    /// What is wrong.
    pub fn into_result(self) -> Result<(), Vec<FieldError>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// A key as one step of a JSON Pointer.
pub(crate) fn step(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Longest value of a label, in bytes.
pub(crate) const LABEL_VALUE_BYTES: usize = 256;

/// Checks labels: at most 32, keys like names with `.`, `_` and `/` too.
pub(crate) fn check_labels<'a>(
    pointer: &str,
    labels: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
    problems: &mut Problems,
) {
    problems.require(labels.len() <= 32, pointer, "at most 32 labels");
    for (key, value) in labels {
        let good = (1..=63).contains(&key.len())
            && key.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'/'));
        let at = format!("{pointer}/{}", step(key));
        problems.require(good, &*at, "a label's key has 1 to 63 letters, digits, '-', '_', '.' or '/'");
        problems.require(value.len() <= LABEL_VALUE_BYTES, &*at, "a label's value has at most 256 bytes");
        problems.require(!value.contains('\0'), at, "a label's value has no NUL");
    }
}

/// Checks an environment: names that a shell can read, none of ours, no NUL, bounded.
pub(crate) fn check_env<'a>(
    pointer: &str,
    env: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
    problems: &mut Problems,
) {
    problems.require(env.len() <= 256, pointer, "at most 256 variables");
    for (name, value) in env {
        let at = format!("{pointer}/{}", step(name));
        check_variable_name(&at, name, problems);
        problems.require(value.len() <= 128 * 1024, &*at, "a value has at most 128 KiB");
        problems.require(!value.contains('\0'), at, "a value has no NUL");
    }
}

/// Checks one variable's name.
pub(crate) fn check_variable_name(pointer: &str, name: &str, problems: &mut Problems) {
    let mut bytes = name.bytes();
    let good = name.len() <= 128
        && bytes.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && bytes.all(|c| c.is_ascii_alphanumeric() || c == b'_');
    problems.require(good, pointer, "a variable's name has letters, digits and '_', and does not begin with a digit");
    problems.require(!name.starts_with("HAULIER_"), pointer, "names that begin with HAULIER_ are given by Haulier");
}

/// Checks a number against its bounds.
pub(crate) fn check_range<T: Copy + PartialOrd + std::fmt::Display>(
    pointer: &str,
    value: Option<T>,
    least: T,
    most: T,
    problems: &mut Problems,
) {
    if let Some(value) = value
        && (value < least || value > most)
    {
        problems.add(pointer, format!("from {least} to {most}, not {value}"));
    }
}

/// What a reader says is wrong with a document's type, without the value that it quotes: that may be a secret which
/// stands in the wrong place.
pub(crate) fn without_value(problem: &str) -> String {
    let quoted = problem.starts_with("invalid type: ") || problem.starts_with("invalid value: ");
    let parts =
        problem.split_once(['"', '`']).and_then(|(before, rest)| Some((before, rest.rsplit_once(", expected ")?.1)));
    match parts.filter(|_| quoted) {
        Some((before, expected)) => format!("{}, expected {expected}", before.trim_end()),
        None => problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_quoted() {
        let found = without_value("invalid type: string \"hunter2\", expected struct SecretSpec");
        assert_eq!(found, "invalid type: string, expected struct SecretSpec");
        assert_eq!(
            without_value("invalid type: integer `12345`, expected a string"),
            "invalid type: integer, expected a string"
        );
        assert_eq!(without_value("unknown field `a`, expected `b`"), "unknown field `a`, expected `b`");
    }
}
