//! `haulier generate`: files that are made from the code. For `make generate`.

use clap::ValueEnum;

use super::context::Context;
use crate::monitor::artefacts;

/// What to make.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Artefact {
    /// The table of metrics, as Markdown
    MetricsTable,
    /// Alerting rules for Prometheus
    PrometheusRules,
    /// A dashboard for Grafana
    GrafanaDashboard,
}

pub(super) fn run(context: &Context, what: Artefact) -> anyhow::Result<()> {
    let text = match what {
        Artefact::MetricsTable => artefacts::table(),
        Artefact::PrometheusRules => artefacts::rules(),
        Artefact::GrafanaDashboard => artefacts::dashboard(),
    };
    context.out.raw(text.as_bytes())?;
    Ok(())
}
