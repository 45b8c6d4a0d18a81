//! What a running script tells: the report protocol's values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What the script wants to happen after this slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The work is done.
    Done,
    /// The run is to be continued later, from the state that was reported.
    Continue,
}

/// How far the script says it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Units done.
    pub done: Option<f64>,
    /// Units in all.
    pub total: Option<f64>,
    /// In words.
    pub text: Option<String>,
}

/// An error in the script's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedError {
    /// The script's own code.
    pub code: Option<String>,
    /// What happened.
    pub message: String,
    /// Whether trying again can help.
    pub retryable: Option<bool>,
}

/// One report line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// The run's output.
    pub output: Option<Value>,
    /// The job's next state.
    pub state: Option<Map<String, Value>>,
    /// Figures.
    pub metrics: Option<BTreeMap<String, f64>>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// What is to happen next.
    pub outcome: Option<Outcome>,
    /// What went wrong.
    pub error: Option<ReportedError>,
}

/// All that one attempt reported so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reports {
    /// The last output.
    pub output: Option<Value>,
    /// The last state.
    pub state: Option<Map<String, Value>>,
    /// Metrics, the last value of each.
    pub metrics: BTreeMap<String, f64>,
    /// The last progress.
    pub progress: Option<Progress>,
    /// The last outcome.
    pub outcome: Option<Outcome>,
    /// The last error.
    pub error: Option<ReportedError>,
    /// The first thing that was wrong with a report line.
    pub invalid: Option<String>,
}
