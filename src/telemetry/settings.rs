//! Where telemetry goes.

use std::{fmt, time::Duration};

use reqwest::Url;
use secrecy::SecretString;

/// Where telemetry goes, and how much.
#[derive(Clone)]
pub struct TelemetrySettings {
    /// The collector; signals go to `/v1/traces` and `/v1/metrics` below it.
    pub endpoint: Url,
    /// Headers of each request, which may be credentials.
    pub headers: Vec<(String, SecretString)>,
    /// What the service is called.
    pub service_name: String,
    /// Whether spans are sent.
    pub traces: bool,
    /// How many of the traces that begin here are sent, from 0 to 1. Those that callers began are sent if they say so.
    pub sample_ratio: f64,
    /// How often metrics are sent; `None` = never.
    pub metrics_interval: Option<Duration>,
}

impl fmt::Debug for TelemetrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetrySettings").field("service_name", &self.service_name).finish_non_exhaustive()
    }
}
