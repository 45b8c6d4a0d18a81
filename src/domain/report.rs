//! What a running script tells: the report protocol's values.

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned},
};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The longest output and the longest state, in bytes of compact JSON.
const MAX_DOCUMENT: usize = 256 * 1024;
/// The most metrics that one attempt may report.
const MAX_METRICS: usize = 100;
/// The longest name of a metric, in bytes.
const MAX_METRIC_NAME: usize = 64;
/// The longest free text that is kept, in bytes; longer text is cut.
const MAX_TEXT: usize = 4096;
/// The longest code that is kept, in bytes; a longer one is cut.
const MAX_CODE: usize = 64;

/// Why a report line cannot be taken, for people. May quote the line, so it is to be redacted before it is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidReport(String);

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
    /// The run's output. `null` is an output too.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The job's next state. Never `null`: an empty object clears it.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub state: Option<Map<String, Value>>,
    /// Figures.
    pub metrics: Option<BTreeMap<String, f64>>,
    /// How far it is.
    #[serde(deserialize_with = "object")]
    pub progress: Option<Progress>,
    /// What is to happen next.
    pub outcome: Option<Outcome>,
    /// What went wrong.
    #[serde(deserialize_with = "object")]
    pub error: Option<ReportedError>,
}

/// All that one attempt reported so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reports {
    /// The last output.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
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

impl Report {
    /// Reads what follows the prefix of a report line.
    ///
    /// # Errors
    /// It is not a JSON object, has unknown keys, or goes over a limit of the protocol.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidReport> {
        // As a map first, for serde would take an array as the keys' values in order.
        let map: Map<String, Value> =
            serde_json::from_slice(json).map_err(|error| InvalidReport(format!("not a JSON object: {error}")))?;
        let report = Self::deserialize(Value::Object(map)).map_err(|error| InvalidReport(error.to_string()))?;
        if let Some(output) = &report.output {
            check_size("output", output)?;
        }
        if let Some(state) = &report.state {
            check_size("state", state)?;
        }
        check_metrics(report.metrics.iter().flatten())?;
        if let Some(progress) = &report.progress {
            check_progress(progress)?;
        }
        if let Some(error) = &report.error {
            check_error(error)?;
        }
        Ok(report)
    }
}

impl Reports {
    /// Merges a report: of each key the last one counts, and of metrics the last value of each name.
    ///
    /// Long free text is cut here, not while it is read: whoever redacts it in between must see it whole.
    /// More metrics in all than allowed make the reports invalid; the surplus ones are left out.
    pub fn apply(&mut self, report: Report) {
        let Report { output, state, metrics, progress, outcome, error } = report;
        for (name, value) in metrics.into_iter().flatten() {
            if self.metrics.len() < MAX_METRICS || self.metrics.contains_key(&name) {
                self.metrics.insert(name, value);
            } else {
                self.reject(format!("more than {MAX_METRICS} metrics in all: report fewer names"));
            }
        }
        self.output = output.or(self.output.take());
        self.state = state.or(self.state.take());
        self.outcome = outcome.or(self.outcome);
        if let Some(Progress { done, total, text }) = progress {
            self.progress = Some(Progress { done, total, text: text.map(|text| cut(text, MAX_TEXT)) });
        }
        if let Some(ReportedError { code, message, retryable }) = error {
            let code = code.filter(|code| !code.trim().is_empty()).map(|code| cut(code, MAX_CODE));
            self.error = Some(ReportedError { code, message: cut(message, MAX_TEXT), retryable });
        }
    }

    /// Remembers what was wrong with a report line, if it is the first.
    pub fn reject(&mut self, problem: impl Into<String>) {
        self.invalid.get_or_insert_with(|| cut(problem.into(), MAX_TEXT));
    }
}

/// A key that is there is `Some`, whatever its value; serde alone would read `null` as `None`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Takes an object or `null`, and no array.
fn object<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let map = Option::<Map<String, Value>>::deserialize(deserializer)?;
    map.map(|map| T::deserialize(Value::Object(map))).transpose().map_err(de::Error::custom)
}

fn check_size(key: &str, document: &impl Serialize) -> Result<(), InvalidReport> {
    let size = serde_json::to_vec(document).map_or(usize::MAX, |json| json.len());
    if size > MAX_DOCUMENT {
        let limit = MAX_DOCUMENT / 1024;
        return Err(InvalidReport(format!(
            "{key} has {size} bytes, and {limit} KiB are allowed: store it elsewhere and report where"
        )));
    }
    Ok(())
}

fn check_metrics<'a>(metrics: impl Iterator<Item = (&'a String, &'a f64)>) -> Result<(), InvalidReport> {
    for (index, (name, value)) in metrics.enumerate() {
        if index == MAX_METRICS {
            return Err(InvalidReport(format!("more than {MAX_METRICS} metrics: report fewer names")));
        }
        if !is_metric_name(name) {
            return Err(InvalidReport(format!(
                "{name:?} cannot name a metric: use 1 to {MAX_METRIC_NAME} of a-z, A-Z, 0-9, '_' and '.', and begin with a \
                 letter or '_'"
            )));
        }
        if !value.is_finite() {
            return Err(InvalidReport(format!("metric {name} is not a finite number")));
        }
    }
    Ok(())
}

fn is_metric_name(name: &str) -> bool {
    name.len() <= MAX_METRIC_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

fn check_progress(progress: &Progress) -> Result<(), InvalidReport> {
    for (key, number) in [("done", progress.done), ("total", progress.total)] {
        if number.is_some_and(|number| !number.is_finite() || number < 0.0) {
            return Err(InvalidReport(format!("progress.{key} must be a finite number, 0 or more")));
        }
    }
    Ok(())
}

fn check_error(error: &ReportedError) -> Result<(), InvalidReport> {
    if error.message.trim().is_empty() {
        return Err(InvalidReport("error.message is blank: say what happened".to_owned()));
    }
    Ok(())
}

/// At most `limit` bytes of the text, with a mark where the rest is missing.
fn cut(mut text: String, limit: usize) -> String {
    const MARK: &str = "…";
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit - MARK.len()));
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Result<Report, InvalidReport> {
        Report::parse(value.to_string().as_bytes())
    }

    #[test]
    fn every_key_is_read() {
        let report = parse(&json!({
            "output": [1, "two"], "state": {"cursor": 7}, "metrics": {"rows": 42, "seconds.total": 0.5},
            "progress": {"done": 3, "total": 10, "text": "page 3"}, "outcome": "continue",
            "error": {"code": "AUTH", "message": "no access", "retryable": false},
        }))
        .unwrap();
        assert_eq!(report.output, Some(json!([1, "two"])));
        assert_eq!(report.state.unwrap()["cursor"], 7);
        assert_eq!(report.metrics.unwrap()["rows"], 42.0);
        assert_eq!(report.progress.unwrap().done, Some(3.0));
        assert_eq!(report.outcome, Some(Outcome::Continue));
        assert_eq!(report.error.unwrap().retryable, Some(false));
    }

    #[test]
    fn what_goes_over_the_protocol_is_refused() {
        let long = "x".repeat(MAX_DOCUMENT);
        let many: Map<_, _> = (0..=MAX_METRICS).map(|n| (format!("m{n}"), n.into())).collect();
        for bad in [
            json!([]),
            json!("output"),
            json!({"outptu": 1}),
            json!({"output": long}),
            json!({"state": {"a": long}}),
            json!({"state": null}),
            json!({"state": [1]}),
            json!({"metrics": {"rows": "many"}}),
            json!({"metrics": {"1rows": 1}}),
            json!({"metrics": {"": 1}}),
            json!({"metrics": {"x".repeat(65): 1}}),
            json!({"metrics": many}),
            json!({"progress": {"done": -1}}),
            json!({"progress": {"percent": 1}}),
            json!({"progress": [1, 2, "text"]}),
            json!({"outcome": "finished"}),
            json!({"error": {"message": " "}}),
            json!({"error": {"code": "AUTH"}}),
        ] {
            assert!(parse(&bad).is_err(), "{}", cut(bad.to_string(), 100));
        }
        for bad in ["", "{", "{}{}", r#"{"metrics":{"rows":1e999}}"#, r#"{"metrics":{"rows":NaN}}"#, "\u{0}"] {
            assert!(Report::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_output_of_exactly_the_limit_is_taken() {
        let text = "x".repeat(MAX_DOCUMENT - 2);
        assert!(parse(&json!({"output": text})).is_ok());
        assert!(parse(&json!({"output": text + "x"})).is_err());
    }

    #[test]
    fn the_last_of_each_key_counts() {
        let mut reports = Reports::default();
        for report in [
            json!({"output": 1, "metrics": {"rows": 1, "files": 1}, "outcome": "continue"}),
            json!({"metrics": {"rows": 2}, "progress": {"text": "a"}}),
            json!({"output": null, "outcome": "done", "progress": {"done": 1}}),
        ] {
            reports.apply(parse(&report).unwrap());
        }
        assert_eq!(reports.output, Some(Value::Null));
        assert_eq!(reports.metrics, BTreeMap::from([("rows".into(), 2.0), ("files".into(), 1.0)]));
        assert_eq!(reports.outcome, Some(Outcome::Done));
        assert_eq!(reports.progress, Some(Progress { done: Some(1.0), total: None, text: None }));
        let stored = serde_json::to_string(&reports).unwrap();
        assert_eq!(serde_json::from_str::<Reports>(&stored).unwrap(), reports);
    }

    #[test]
    fn the_first_problem_is_kept_and_later_reports_still_count() {
        let mut reports = Reports::default();
        reports.reject("first");
        reports.reject("second");
        reports.apply(parse(&json!({"output": 5})).unwrap());
        assert_eq!(reports.invalid.as_deref(), Some("first"));
        assert_eq!(reports.output, Some(json!(5)));
    }

    #[test]
    fn metrics_stay_few_over_many_reports() {
        let mut reports = Reports::default();
        for n in 0..2 * MAX_METRICS {
            reports.apply(Report { metrics: Some(BTreeMap::from([(format!("m{n}"), 0.0)])), ..Report::default() });
        }
        assert_eq!(reports.metrics.len(), MAX_METRICS);
        assert!(reports.invalid.is_some());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Report::parse(&bytes);
        }

        #[test]
        fn what_is_taken_stays_within_the_limits(
            key in prop_oneof![
                Just("output"), Just("state"), Just("metrics"), Just("progress"), Just("outcome"), Just("error"),
            ],
            name in "[a-z_.0-9é]{0,70}",
            text in "\\PC{0,5000}",
            number: f64,
        ) {
            let values = [
                json!(text), json!({&name: number}), json!({"text": text, "done": number}),
                json!({"message": text, "code": text}), json!("done"),
            ];
            for value in values {
                let Ok(report) = parse(&json!({key: value})) else { continue };
                let mut reports = Reports::default();
                reports.apply(report);
                let report = reports;
                let sizes = [json!(report.output), json!(report.state)].map(|document| document.to_string().len());
                prop_assert!(sizes.iter().all(|size| *size <= MAX_DOCUMENT));
                for (name, value) in &report.metrics {
                    prop_assert!(is_metric_name(name) && value.is_finite());
                }
                if let Some(progress) = report.progress {
                    prop_assert!(progress.text.is_none_or(|text| text.len() <= MAX_TEXT));
                    prop_assert!(progress.done.is_none_or(|done| done >= 0.0));
                }
                if let Some(error) = report.error {
                    prop_assert!(!error.message.is_empty() && error.message.len() <= MAX_TEXT);
                    prop_assert!(error.code.is_none_or(|code| code.len() <= MAX_CODE));
                }
            }
        }
    }
}
