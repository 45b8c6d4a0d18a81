//! What came of the script, for people and for programs.

use std::io;

use comfy_table::Cell;
use serde_json::{Map, Value, json};

use crate::{
    cli::output::Output,
    domain::{AttemptResult, Outcome, Progress, Reports},
};

/// A longer output is shown on several lines, in bytes.
const LINE: usize = 80;

/// Tells progress that is new.
pub(super) fn progress(out: Output, before: &Option<Progress>, reports: &Reports) {
    let Some(now) = reports.progress.as_ref().filter(|now| before.as_ref() != Some(now)) else { return };
    let amount = match (now.done, now.total) {
        (Some(done), Some(total)) => format!("{done}/{total}"),
        (Some(done), None) => done.to_string(),
        (None, _) => String::new(),
    };
    let text = now.text.as_deref().unwrap_or_default();
    out.note(format_args!("progress {}", [amount.as_str(), text].join(" ").trim()));
}

/// The end: on stderr for people, since stdout is the script's; on stdout as JSON.
pub(super) fn show(
    out: Output,
    result: &AttemptResult,
    reports: &Reports,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> io::Result<()> {
    if out.is_json() {
        return out.json(&json!({
            "succeeded": result.verdict.is_ok(),
            "exit_code": result.exit_code,
            "error": result.verdict.as_ref().err(),
            "output": reports.output,
            "metrics": reports.metrics,
            "state": after,
        }));
    }
    let mut rows = Vec::new();
    if let Some(output) = &reports.output {
        let line = output.to_string();
        let text = if line.len() <= LINE { line } else { serde_json::to_string_pretty(output)? };
        rows.push(("output".to_owned(), text));
    }
    rows.extend(reports.metrics.iter().map(|(name, value)| (format!("metric {name}"), value.to_string())));
    rows.extend(changes(before, after).into_iter().map(|(key, change)| (format!("state {key}"), change)));
    if !rows.is_empty() {
        let rows = rows.into_iter().map(|(name, value)| vec![Cell::new(name), Cell::new(value)]);
        out.note(out.table(&[], rows));
    }
    match &result.verdict {
        Ok(Outcome::Done) => out.note("succeeded"),
        Ok(Outcome::Continue) => out.note("succeeded, and asked to be continued"),
        Err(error) => {
            let told = reports.state.is_some().then_some("; the state that it reported is not kept");
            let code = error.reported_code.as_deref().unwrap_or(error.code.as_str());
            Output::important(format_args!("failed: {} ({code}){}", error.message, told.unwrap_or_default()));
        }
    }
    Ok(())
}

/// What became of each key that is not as it was.
fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<(String, String)> {
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    keys.filter(|key| before.get(*key) != after.get(*key))
        .map(|key| {
            let change = match (before.get(key), after.get(key)) {
                (Some(old), Some(new)) => format!("{old} → {new}"),
                (None, Some(new)) => format!("{new} (new)"),
                (Some(old), None) => format!("{old} → gone"),
                (None, None) => String::new(),
            };
            (key.clone(), change)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let found = changes(&map(json!({"a": 1, "b": 2, "c": 3})), &map(json!({"a": 1, "b": 5, "d": "x"})));
        let found: Vec<_> = found.iter().map(|(key, change)| (key.as_str(), change.as_str())).collect();
        assert_eq!(found, [("b", "2 → 5"), ("c", "3 → gone"), ("d", "\"x\" (new)")]);
    }
}
