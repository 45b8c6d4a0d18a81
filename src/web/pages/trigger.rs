//! Triggering a run by hand.

use askama::Template;

use super::{JobHead, Shell};

/// The form.
#[derive(Debug, Template)]
#[template(path = "job_trigger.html")]
pub struct TriggerPage {
    /// What stands around it.
    pub shell: Shell,
    /// The job.
    pub head: JobHead,
    /// One field for each parameter that the last run had.
    pub fields: Vec<Field>,
    /// Further parameters, as JSON.
    pub more: String,
    /// What was wrong with what was sent, with where it was.
    pub errors: Vec<String>,
    /// What a run gets when nothing is said.
    pub timeout_seconds: u32,
    /// Names the request, so that sending it twice makes one run.
    pub key: String,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What kind of value it has.
    pub kind: FieldKind,
    /// Its value as text.
    pub value: String,
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// Yes or no.
    Switch,
    /// Anything else, as JSON.
    Json,
}

impl FieldKind {
    /// The kind as the form carries it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Switch => "switch",
            Self::Json => "json",
        }
    }

    /// Reads what the form carried.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Text, Self::Number, Self::Switch, Self::Json].into_iter().find(|kind| kind.as_str() == text)
    }
}
