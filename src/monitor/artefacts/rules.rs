//! Alerting rules for Prometheus: what the service cannot tell by itself, because it is down, or because its own
//! notices do not get out.

use crate::metrics::names;

struct Rule {
    name: &'static str,
    expression: String,
    lasts: &'static str,
    severity: &'static str,
    summary: &'static str,
    advice: &'static str,
}

/// Alerting rules, as Prometheus reads them.
#[must_use]
pub fn rules() -> String {
    let mut text = "# Made by `make generate`: do not edit.\ngroups:\n  - name: haulier\n    rules:\n".to_owned();
    for rule in all() {
        text += &format!(
            "      - alert: {}\n        expr: {}\n        for: {}\n        labels:\n          severity: {}\n        \
             annotations:\n          summary: \"{}\"\n          description: \"{}\"\n",
            rule.name, rule.expression, rule.lasts, rule.severity, rule.summary, rule.advice
        );
    }
    text
}

fn all() -> Vec<Rule> {
    let rule = |name, expression, lasts, severity, summary, advice| Rule {
        name,
        expression,
        lasts,
        severity,
        summary,
        advice,
    };
    vec![
        rule(
            "HaulierDown",
            "up{job=\"haulier\"} == 0".to_owned(),
            "2m",
            "critical",
            "Haulier does not answer",
            "No run is started or watched. Look at the service and its log.",
        ),
        rule(
            "HaulierNoLeader",
            format!("sum({}) < 1", names::LEADER),
            "1m",
            "critical",
            "No Haulier service leads",
            "Runs are accepted, but not started. Look at the services' logs and at the database.",
        ),
        rule(
            "HaulierReconcilerStuck",
            format!("max by (reconciler) ({}_seconds) > 120", names::RECONCILE_LAG),
            "2m",
            "critical",
            "The reconciler {{ $labels.reconciler }} has done nothing for two minutes",
            "Look at the service's log and at the database's answer times.",
        ),
        rule(
            "HaulierEngineUnreachable",
            format!("{} == 0", names::ENGINE_UP),
            "5m",
            "critical",
            "The engine {{ $labels.engine }} does not answer",
            "Runs on it wait. See 'haulier engine list'.",
        ),
        rule(
            "HaulierLogsWait",
            format!("{} > 0 and rate({}_total[15m]) > 0", names::LOGS_WAITING, names::LOG_STORE_FAILURES),
            "15m",
            "warning",
            "Logs wait at {{ $labels.instance }} for the object store",
            "Until it takes them, only that service can show them. Its log says what the store answers.",
        ),
        rule(
            "HaulierManyFailures",
            format!(
                "sum(rate({ended}_total{{state=~\"failed|timed_out\"}}[30m])) > 0.5 * sum(rate({ended}_total[30m]))",
                ended = names::RUNS_ENDED
            ),
            "15m",
            "warning",
            "More than half of all runs fail",
            "Something that many jobs share is likely broken. See 'haulier notices'.",
        ),
        rule(
            "HaulierSlowStarts",
            format!("histogram_quantile(0.95, sum by (le) (rate({}_seconds_bucket[15m]))) > 120", names::RUN_START),
            "15m",
            "warning",
            "Containers take long to start",
            "Images may be pulled anew each time, or the engine has no room.",
        ),
        rule(
            "HaulierOutboxGrows",
            format!("sum by (kind) ({}) > 100", names::OUTBOX),
            "15m",
            "warning",
            "Messages of kind {{ $labels.kind }} do not get out",
            "Receivers do not answer, or not well. See 'haulier channel list'.",
        ),
        rule(
            "HaulierStoreSlow",
            format!(
                "histogram_quantile(0.99, sum by (le, operation) (rate({}_seconds_bucket[10m]))) > 1",
                names::STORE
            ),
            "10m",
            "warning",
            "The database takes more than a second ({{ $labels.operation }})",
            "Look at the disk, or at PostgreSQL.",
        ),
        rule(
            "HaulierServerErrors",
            format!("sum(rate({}_total{{status=\"5xx\"}}[10m])) > 0.1", names::HTTP_REQUESTS),
            "10m",
            "warning",
            "Haulier answers with errors of its own",
            "The service's log has the causes.",
        ),
        rule(
            "HaulierSeriesLeftOut",
            format!("increase({}_total[1h]) > 0", names::JOB_LEFT_OUT),
            "1h",
            "info",
            "Some jobs or reported metrics are not told to Prometheus",
            "There are more than Haulier tells of; see its documentation on monitoring.",
        ),
    ]
}
