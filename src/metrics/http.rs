//! Requests by route and outcome.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 60.0];

/// Requests by route and outcome. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    pub(super) requests: Family<Request, Counter>,
    pub(super) duration: Family<Route, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    method: &'static str,
    route: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Route {
    route: String,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let duration = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        Self { requests: Family::default(), duration }
    }
}

impl HttpMetrics {
    /// A request was answered. `route` is the pattern that matched, `None` when there is none.
    pub fn answered(&self, method: &str, route: Option<&str>, status: u16, took: Duration) {
        let route = route.unwrap_or("none").to_owned();
        self.duration.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        let request = Request { method: known_method(method).unwrap_or("other"), route, status: class(status) };
        self.requests.get_or_create(&request).inc();
    }
}

/// The method, if it is one that there are: clients may send any word as one, without end.
#[must_use]
pub fn known_method(method: &str) -> Option<&'static str> {
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].into_iter().find(|known| *known == method)
}

const fn class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
