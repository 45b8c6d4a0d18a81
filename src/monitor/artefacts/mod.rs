//! Files for Prometheus and Grafana, and the table of metrics in the documentation: made from the names in the code.

mod dashboard;
mod rules;
mod table;

pub use dashboard::dashboard;
pub use rules::rules;
pub use table::table;

use crate::metrics::{Described, Instruments, LiveGauges, registry};

/// All metrics, in the order in which they are told.
fn described() -> Vec<Described> {
    registry(&Instruments::default(), &LiveGauges::default()).described
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name in a query is the name of a metric that is told.
    #[test]
    fn queries_use_metrics_that_there_are() {
        let known: Vec<_> = described().into_iter().map(|metric| metric.name).collect();
        for text in [rules(), dashboard()] {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let metrics: Vec<_> =
                words.filter(|word| word.starts_with("haulier_") || word.starts_with("process_")).collect();
            assert!(metrics.len() > 8);
            for word in metrics {
                let family =
                    ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
                assert!(known.iter().any(|known| known == family || known == word), "{word} is not told");
            }
        }
        assert!(serde_json::from_str::<serde_json::Value>(&dashboard()).is_ok());
        assert!(known.len() > 25, "{known:?}");
    }
}
