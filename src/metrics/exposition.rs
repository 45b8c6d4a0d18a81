//! The two forms in which Prometheus reads metrics.

use std::fmt::{self, Write as _};

use prometheus_client::{encoding::text, registry::Registry};

/// What a scraper asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own text, for tools that know nothing else.
    Plain,
}

impl Format {
    /// The form that an `Accept` header asks for.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Plain }
    }

    /// What it is called in `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes what OpenMetrics says in this form.
    #[must_use]
    pub fn write(self, open_metrics: &str) -> String {
        match self {
            Self::OpenMetrics => open_metrics.to_owned(),
            Self::Plain => plain(open_metrics),
        }
    }
}

/// All metrics, as OpenMetrics text.
///
/// # Errors
/// Never in practice: writing to memory does not fail.
pub fn open_metrics(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    text::encode(&mut text, registry)?;
    Ok(text)
}

/// In the older form, counters carry `_total` in their own name, information is a gauge, and units are not told.
fn plain(open_metrics: &str) -> String {
    let mut kinds = std::collections::HashMap::new();
    for line in open_metrics.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(name, kind);
        }
    }
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        let name = |name: &str| match kinds.get(name) {
            Some(&"counter") => format!("{name}_total"),
            Some(&"info") => format!("{name}_info"),
            _ => name.to_owned(),
        };
        let _ = match words.as_slice() {
            ["#", "EOF"] | ["#", "UNIT", ..] => Ok(()),
            ["#", "HELP", of, help] => writeln!(text, "# HELP {} {help}", name(of)),
            ["#", "TYPE", of, "info"] => writeln!(text, "# TYPE {} gauge", name(of)),
            ["#", "TYPE", of, kind] => writeln!(text, "# TYPE {} {kind}", name(of)),
            _ => writeln!(text, "{line}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_names_families_as_their_samples() {
        let text = "# HELP a A.\n# TYPE a counter\na_total 1\n# HELP b B b.\n# TYPE b info\nb_info{v=\"1\"} 1\n\
                    # HELP c_seconds C.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\nc_seconds 2.5\n# EOF\n";
        assert_eq!(
            Format::Plain.write(text),
            "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n# HELP b_info B b.\n# TYPE b_info gauge\n\
             b_info{v=\"1\"} 1\n# HELP c_seconds C.\n# TYPE c_seconds gauge\nc_seconds 2.5\n"
        );
        assert_eq!(Format::accepted("application/openmetrics-text;version=1.0.0,*/*"), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Plain);
    }
}
