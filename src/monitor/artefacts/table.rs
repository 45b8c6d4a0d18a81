//! The table of metrics.

use super::described;

/// All metrics as a Markdown table.
#[must_use]
pub fn table() -> String {
    let mut text = "| metric | kind | what it is |\n|---|---|---|\n".to_owned();
    for metric in described() {
        text += &format!("| `{}` | {} | {} |\n", metric.name, metric.kind, metric.help);
    }
    text
}
