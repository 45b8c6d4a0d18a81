//! Metrics as the collector takes them, from what is kept for Prometheus.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, metric::Data, number_data_point::Value,
    },
};
use prometheus_client::{
    encoding::prometheus_protobuf::{
        encode,
        prometheus_data_model::{self as prometheus, MetricFamily, MetricType},
    },
    registry::Registry,
};

use super::{
    Exporter,
    exporter::{attribute, scope},
    tracer::nanos,
};
use crate::domain::Timestamp;

/// All metrics of a registry, which counts since `began`, as they stand now.
///
/// # Errors
/// A metric cannot be written.
pub fn converted(
    registry: &Registry,
    exporter: &Exporter,
    began: Timestamp,
    now: Timestamp,
) -> Result<ExportMetricsServiceRequest, std::fmt::Error> {
    let times = Times { began: nanos(began), now: nanos(now) };
    let metrics = encode(registry)?.into_iter().filter_map(|family| metric(family, times)).collect();
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
    let resource = Some(exporter.resource());
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    Ok(ExportMetricsServiceRequest { resource_metrics })
}

#[derive(Clone, Copy)]
struct Times {
    began: u64,
    now: u64,
}

/// Under its name in the documentation. `None` for a metric that has no series yet.
fn metric(family: MetricFamily, times: Times) -> Option<Metric> {
    let kind = family.r#type();
    let series = || family.metric.iter().map(|one| (labels(one), one));
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = match kind {
        MetricType::Counter => {
            let points = series().filter_map(|(labels, one)| Some(point(labels, one.counter.as_ref()?.value, times)));
            Data::Sum(Sum { data_points: points.collect(), aggregation_temporality, is_monotonic: true })
        }
        MetricType::Gauge => {
            let points = series().filter_map(|(labels, one)| Some(point(labels, one.gauge.as_ref()?.value, times)));
            Data::Gauge(Gauge { data_points: points.collect() })
        }
        MetricType::Histogram => {
            let points =
                series().filter_map(|(labels, one)| Some(distribution(labels, one.histogram.as_ref()?, times)));
            Data::Histogram(Histogram { data_points: points.collect(), aggregation_temporality })
        }
        // The service has none.
        MetricType::Summary | MetricType::Untyped | MetricType::GaugeHistogram => return None,
    };
    // As the standard writes units.
    let unit = match family.unit.as_str() {
        "seconds" => "s",
        "bytes" => "By",
        _ => "",
    };
    let filled = !family.metric.is_empty();
    let (name, description, unit) = (family.name, family.help, unit.to_owned());
    filled.then(|| Metric { name, description, unit, data: Some(data), ..Metric::default() })
}

fn labels(of: &prometheus::Metric) -> Vec<KeyValue> {
    of.label.iter().map(|label| attribute(&label.name, label.value.as_str())).collect()
}

fn point(attributes: Vec<KeyValue>, number: f64, times: Times) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: times.began,
        time_unix_nano: times.now,
        value: Some(Value::AsDouble(number)),
        ..NumberDataPoint::default()
    }
}

/// Prometheus counts in each bucket what is in those below it too, OTLP does not; the last has no bound there.
fn distribution(attributes: Vec<KeyValue>, of: &prometheus::Histogram, times: Times) -> HistogramDataPoint {
    let bounded = || of.bucket.iter().filter(|bucket| bucket.upper_bound.is_finite());
    let sums = bounded().map(|bucket| bucket.cumulative_count).chain([of.sample_count]);
    let bucket_counts = sums.scan(0, |below, sum| Some(sum.saturating_sub(std::mem::replace(below, sum)))).collect();
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: times.began,
        time_unix_nano: times.now,
        count: of.sample_count,
        sum: Some(of.sample_sum),
        bucket_counts,
        explicit_bounds: bounded().map(|bucket| bucket.upper_bound).collect(),
        ..HistogramDataPoint::default()
    }
}
