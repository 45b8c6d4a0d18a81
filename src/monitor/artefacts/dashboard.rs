//! A dashboard for Grafana.

use serde_json::{Value, json};

use crate::metrics::names;

/// How wide a dashboard is, in Grafana's units.
const WIDTH: u32 = 24;

struct Panel {
    title: &'static str,
    kind: &'static str,
    unit: &'static str,
    width: u32,
    height: u32,
    queries: Vec<(String, &'static str)>,
}

/// A dashboard, as Grafana imports it.
#[must_use]
pub fn dashboard() -> String {
    let (mut x, mut y) = (0, 0);
    let mut panels = Vec::new();
    for (index, panel) in all().into_iter().enumerate() {
        if x + panel.width > WIDTH {
            (x, y) = (0, y + panel.height);
        }
        panels.push(written(index + 1, &panel, x, y));
        x += panel.width;
    }
    let source = json!({
        "name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1,
    });
    let dashboard = json!({
        "title": "Haulier", "uid": "haulier", "tags": ["haulier"], "schemaVersion": 39, "version": 1,
        "timezone": "browser", "refresh": "30s", "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]}, "panels": panels,
    });
    serde_json::to_string_pretty(&dashboard).unwrap_or_default() + "\n"
}

fn written(id: usize, panel: &Panel, x: u32, y: u32) -> Value {
    let source = json!({"type": "prometheus", "uid": "${source}"});
    let targets = panel.queries.iter().enumerate().map(|(index, (query, legend))| {
        json!({"refId": format!("Q{index}"), "expr": query, "legendFormat": legend, "datasource": source})
    });
    let targets: Vec<_> = targets.collect();
    json!({
        "id": id, "title": panel.title, "type": panel.kind, "datasource": source, "targets": targets,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
    })
}

fn all() -> Vec<Panel> {
    let stat = |title, unit, query: String| Panel {
        title,
        kind: "stat",
        unit,
        width: 4,
        height: 4,
        queries: vec![(query, "")],
    };
    let graph = |title, unit, queries| Panel { title, kind: "timeseries", unit, width: 12, height: 8, queries };
    let quantiles = |name: &str, by: &str| {
        let of = |quantile: &str| {
            format!("histogram_quantile({quantile}, sum by (le{by}) (rate({name}_seconds_bucket[5m])))")
        };
        [of("0.5"), of("0.95")]
    };
    let [queue, queue_slow] = quantiles(names::RUN_QUEUE, "");
    let [start, start_slow] = quantiles(names::RUN_START, "");
    let [_, store] = quantiles(names::STORE, ", operation");
    let [_, http] = quantiles(names::HTTP_DURATION, ", route");
    let ended = names::RUNS_ENDED;
    vec![
        stat("Running", "none", format!("sum({}{{state=\"running\"}})", names::RUNS)),
        stat("Waiting", "none", format!("sum({}{{state=\"queued\"}})", names::RUNS)),
        stat("Failed in 24 h", "none", format!("sum(increase({ended}_total{{state=~\"failed|timed_out\"}}[24h]))")),
        stat("Open notices", "none", format!("sum({})", names::NOTICES)),
        stat("Engines that do not answer", "none", format!("count({} == 0) or vector(0)", names::ENGINE_UP)),
        stat("Leaders", "none", format!("sum({})", names::LEADER)),
        graph(
            "Runs that ended, a minute",
            "none",
            vec![(format!("sum by (state) (rate({ended}_total[5m])) * 60"), "{{state}}")],
        ),
        graph(
            "Why runs failed, a minute",
            "none",
            vec![(format!("sum by (error) (rate({ended}_total{{error!=\"\"}}[5m])) * 60"), "{{error}}")],
        ),
        graph("Live runs", "none", vec![(format!("sum by (state) ({})", names::RUNS), "{{state}}")]),
        graph(
            "Time in the queue and to start",
            "s",
            vec![
                (queue, "queue, half"),
                (queue_slow, "queue, 95 %"),
                (start, "start, half"),
                (start_slow, "start, 95 %"),
            ],
        ),
        graph(
            "Named limits, held of capacity",
            "percentunit",
            vec![(format!("{} / {}", names::LIMIT_HELD, names::LIMIT_CAPACITY), "{{project}}/{{limit}}")],
        ),
        graph("Runs that wait for a limit", "none", vec![(names::LIMIT_WAITING.to_owned(), "{{project}}/{{limit}}")]),
        graph(
            "How long jobs took last",
            "s",
            vec![(format!("topk(20, {}_seconds)", names::JOB_LAST_DURATION), "{{project}}/{{job_name}}")],
        ),
        graph(
            "What scripts reported last",
            "short",
            vec![(format!("topk(20, {})", names::JOB_REPORTED), "{{project}}/{{job_name}} {{metric}}")],
        ),
        graph("Open notices", "none", vec![(format!("sum by (kind) ({})", names::NOTICES), "{{kind}}")]),
        graph("Messages to be delivered", "none", vec![(names::OUTBOX.to_owned(), "{{kind}}")]),
        graph("HTTP answers, 95 %", "s", vec![(http, "{{route}}")]),
        graph("Database, 95 %", "s", vec![(store, "{{operation}}")]),
        graph("Memory", "bytes", vec![(format!("{}_bytes{{job=\"haulier\"}}", names::MEMORY), "{{instance}}")]),
        graph(
            "Processors",
            "none",
            vec![(format!("rate({}_seconds_total{{job=\"haulier\"}}[5m])", names::CPU), "{{instance}}")],
        ),
    ]
}
