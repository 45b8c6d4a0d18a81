//! The report protocol's lines: `::haulier:<nonce>:{json}` on stdout.

use std::fmt;

use crate::domain::{Report, Reports};

use super::Redactor;

/// What is wrong with a report line that goes over the limit of its length.
pub const REPORT_TOO_LONG: &str = "a report line is longer than 600 KiB: store the data elsewhere and report where";

/// How the report lines of one attempt begin. The nonce must match exactly; a line with another is ordinary output.
#[derive(Clone)]
pub struct ReportPrefix(Vec<u8>);

impl ReportPrefix {
    /// The prefix for this attempt's nonce.
    #[must_use]
    pub fn new(nonce: &str) -> Self {
        Self(format!("::haulier:{nonce}:").into_bytes())
    }

    /// What follows the prefix, if the line begins with it.
    #[must_use]
    pub fn strip<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        line.strip_prefix(self.0.as_slice())
    }

    /// Its length in bytes.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }
}

// Whoever knows the nonce can forge reports while the attempt runs.
impl fmt::Debug for ReportPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReportPrefix([hidden])")
    }
}

/// Reads a report line's JSON into the reports, without the secrets in its free text.
///
/// Output, progress and error are redacted, for they are shown to people and orchestrators. The state is not: a script
/// gets back what it stored, to the letter.
pub fn take(json: &[u8], redactor: &Redactor, reports: &mut Reports) {
    match Report::parse(json) {
        Ok(mut report) => {
            report.output = report.output.map(|output| redactor.redact_json(output));
            if let Some(progress) = &mut report.progress {
                progress.text = progress.text.take().map(|text| redactor.redact_str(&text).into_owned());
            }
            if let Some(error) = &mut report.error {
                error.message = redactor.redact_str(&error.message).into_owned();
                error.code = error.code.take().map(|code| redactor.redact_str(&code).into_owned());
            }
            reports.apply(report);
        }
        Err(problem) => reports.reject(redactor.redact_str(&problem.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_exact_nonce_counts() {
        let prefix = ReportPrefix::new("abc");
        assert_eq!(prefix.strip(b"::haulier:abc:{}"), Some(&b"{}"[..]));
        for other in
            ["::haulier:abd:{}", "::haulier:ab:{}", "::haulier:abcd:{}", " ::haulier:abc:{}", "::haulier:ABC:{}"]
        {
            assert_eq!(prefix.strip(other.as_bytes()), None, "{other}");
        }
        assert!(!format!("{prefix:?}").contains("abc"));
    }

    #[test]
    fn free_text_is_redacted_and_state_is_not() {
        let redactor = Redactor::new([SecretString::from("hunter2")].iter());
        let mut reports = Reports::default();
        let line = json!({
            "output": {"url": "https://u:hunter2@host"}, "state": {"token": "hunter2"},
            "progress": {"text": "with hunter2"}, "error": {"code": "hunter2", "message": "hunter2 is wrong"},
        });
        take(line.to_string().as_bytes(), &redactor, &mut reports);
        assert_eq!(reports.output, Some(json!({"url": "https://u:***@host"})));
        assert_eq!(reports.state.take().unwrap()["token"], "hunter2");
        assert!(!format!("{reports:?}").contains("hunter2"));
        take(br#"{"hunter2": 1}"#, &redactor, &mut reports);
        assert!(reports.invalid.is_some_and(|problem| problem.contains("***") && !problem.contains("hunter2")));
    }
}
