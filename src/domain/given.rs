//! What every script is given, wherever it runs.

use serde_json::{Map, Value};

use super::RunId;

/// The longest environment variable that Linux lets a program have, in bytes (`MAX_ARG_STRLEN` in its `binfmts.h`): with
/// a longer one, no program starts.
const MAX_VARIABLE: usize = 128 * 1024;

/// What Haulier tells a script about its run.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The run.
    pub run: RunId,
    /// The job's name.
    pub job: &'a str,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The slice, from 1.
    pub slice: u32,
    /// A JSON object.
    pub parameters: &'a str,
    /// A JSON object; `None` when there is no state yet.
    pub state: Option<&'a str>,
    /// The nonce of the attempt's report lines.
    pub nonce: &'a str,
    /// The moment that a schedule started it for, in RFC 3339.
    pub scheduled_time: Option<&'a str>,
    /// The caller's trace, in the form of W3C's Trace Context.
    pub traceparent: Option<&'a str>,
    /// The job's own configuration.
    pub config: Option<&'a Map<String, Value>>,
}

/// One thing that a script is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenAs {
    /// The variable's value.
    Variable(String),
    /// A document that is too long for one: a file, which the variable names.
    File {
        /// Where a container has it.
        path: String,
        /// A JSON object.
        content: String,
    },
}

impl Given<'_> {
    /// Everything, by the name of the variable that the script finds.
    #[must_use]
    pub fn all(&self) -> Vec<(String, GivenAs)> {
        let facts = [
            ("HAULIER_RUN_ID", Some(self.run.to_string())),
            ("HAULIER_JOB", Some(self.job.to_owned())),
            ("HAULIER_ATTEMPT", Some(self.attempt.to_string())),
            ("HAULIER_SLICE", Some(self.slice.to_string())),
            ("HAULIER_REPORT", Some(self.nonce.to_owned())),
            ("HAULIER_SCHEDULED_TIME", self.scheduled_time.map(str::to_owned)),
            ("TRACEPARENT", self.traceparent.map(str::to_owned)),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), GivenAs::Variable(value?))));
        let config = self.config.map(|config| serde_json::to_string(config).unwrap_or_default());
        let documents = [
            ("HAULIER_PARAMETERS", Some(self.parameters.to_owned())),
            ("HAULIER_STATE", Some(self.state.unwrap_or("{}").to_owned())),
            ("HAULIER_CONFIG", config),
        ];
        facts.chain(documents.into_iter().filter_map(|(name, json)| Some(document(name, json?)))).collect()
    }
}

/// A document as a variable, or as a file where it is too long for one.
fn document(name: &str, json: String) -> (String, GivenAs) {
    // With its name, '=' and the zero at its end.
    if name.len() + json.len() + 2 <= MAX_VARIABLE {
        return (name.to_owned(), GivenAs::Variable(json));
    }
    let file = name.trim_start_matches("HAULIER_").to_ascii_lowercase();
    (format!("{name}_FILE"), GivenAs::File { path: format!("/run/haulier/{file}.json"), content: json })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_no_variable_can_hold_becomes_a_file() {
        let longest = MAX_VARIABLE - "HAULIER_STATE=".len() - 1;
        let (name, value) = document("HAULIER_STATE", "x".repeat(longest));
        assert_eq!((name.as_str(), value), ("HAULIER_STATE", GivenAs::Variable("x".repeat(longest))));
        let (name, value) = document("HAULIER_STATE", "x".repeat(longest + 1));
        let file = GivenAs::File { path: "/run/haulier/state.json".to_owned(), content: "x".repeat(longest + 1) };
        assert_eq!((name.as_str(), value), ("HAULIER_STATE_FILE", file));
        let program = |length| {
            let value = "x".repeat(length);
            std::process::Command::new("true").env_clear().env("HAULIER_STATE", value).status()
        };
        assert!(program(longest).is_ok());
        assert!(program(longest + 1).is_err(), "the bound is Linux's own");
    }
}
