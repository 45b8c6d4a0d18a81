//! Where traces and metrics are sent.

use std::time::Duration;

use reqwest::{
    Url,
    header::{HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{
    ConfigError, Origin,
    layers::{Given, Layers, secret},
};
use crate::telemetry::TelemetrySettings;

/// Where traces and metrics are sent.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// To an OpenTelemetry collector; `None` = nowhere.
    pub otlp: Option<TelemetrySettings>,
}

/// Section `[telemetry]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TelemetrySection {
    otlp_endpoint: Option<String>,
    #[serde(deserialize_with = "secret")]
    otlp_headers: Option<SecretString>,
    service_name: Option<String>,
    traces: Option<bool>,
    sample_ratio: Option<f64>,
    metrics: Option<bool>,
    metrics_interval_seconds: Option<u64>,
}

impl TelemetryConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let file = &layers.file.telemetry;
        let invalid = |setting: &str, origin: Origin, problem: &str| {
            ConfigError::invalid(format!("telemetry.{setting}"), origin, problem)
        };
        let ratio = file.sample_ratio.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(invalid("sample_ratio", layers.file_origin(), "give a number from 0 to 1"));
        }
        let seconds = file.metrics_interval_seconds.unwrap_or(60);
        if !(5..=3600).contains(&seconds) {
            return Err(invalid("metrics_interval_seconds", layers.file_origin(), "give 5 to 3600 seconds"));
        }
        let given = layers.env("HAULIER_OTLP_ENDPOINT").or_else(|| layers.in_file(&file.otlp_endpoint));
        let Some(given) = given else { return Ok(Self { otlp: None }) };
        let endpoint = Url::parse(&given.value).ok().filter(|url| {
            let web = matches!(url.scheme(), "http" | "https") && url.has_host();
            web && url.username().is_empty() && url.password().is_none() && url.query().is_none()
        });
        let problem = "write the collector's http or https URL without login and query, like http://localhost:4318; \
                       /v1/traces and /v1/metrics are put behind it";
        let endpoint = endpoint.ok_or_else(|| invalid("otlp_endpoint", given.origin, problem))?;
        Ok(Self {
            otlp: Some(TelemetrySettings {
                endpoint,
                headers: headers(layers)?,
                service_name: file.service_name.clone().unwrap_or_else(|| "haulier".to_owned()),
                traces: file.traces.unwrap_or(true),
                sample_ratio: ratio,
                metrics_interval: file.metrics.unwrap_or(true).then(|| Duration::from_secs(seconds)),
            }),
        })
    }
}

/// Credentials, mostly: written as the standard's own variable has them.
fn headers(layers: &Layers<'_>) -> Result<Vec<(String, SecretString)>, ConfigError> {
    let given = layers.env("HAULIER_OTLP_HEADERS").map(|given| given.map(SecretString::from));
    let given = given.or_else(|| layers.in_file(&layers.file.telemetry.otlp_headers));
    let Some(Given { value, origin }) = given else { return Ok(Vec::new()) };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let good = HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value).is_ok();
        good.then(|| (name.to_owned(), SecretString::from(value)))
    };
    let headers: Option<Vec<_>> = value.expose_secret().split(',').map(pair).collect();
    let problem = "write headers as name=value,name=value";
    headers.ok_or_else(|| ConfigError::invalid("telemetry.otlp_headers", origin, problem))
}
