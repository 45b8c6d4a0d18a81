//! Sends messages to the collector: bounded in time, and with few words when it does not take them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
};
use prost::Message;
use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::ExposeSecret;

use super::TelemetrySettings;
use crate::outgoing;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses before a message is sent again; after the last it is given up.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// How often is said that the collector takes nothing.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Sends messages to the collector. Cheap to clone.
#[derive(Clone)]
pub struct Exporter(Arc<Inner>);

struct Inner {
    http: Client,
    endpoint: Url,
    resource: Resource,
    complained: Mutex<Option<Instant>>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

/// Why a message was not taken.
enum Refusal {
    /// Trying again can help.
    Now(String),
    /// It cannot.
    Never(String),
}

impl Exporter {
    /// To this collector.
    ///
    /// # Errors
    /// TLS cannot be set up, or a header is none.
    pub fn new(settings: &TelemetrySettings) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let mut value = HeaderValue::try_from(value.expose_secret())?;
            value.set_sensitive(true);
            headers.append(HeaderName::try_from(name)?, value);
        }
        let http = outgoing::client().default_headers(headers).timeout(TIMEOUT).pool_max_idle_per_host(2).build()?;
        let instance = uuid::Uuid::now_v7().to_string();
        let resource = Resource {
            attributes: vec![
                attribute("service.name", settings.service_name.clone()),
                attribute("service.version", env!("CARGO_PKG_VERSION")),
                attribute("service.instance.id", instance),
            ],
            ..Resource::default()
        };
        let endpoint = settings.endpoint.clone();
        Ok(Self(Arc::new(Inner { http, endpoint, resource, complained: Mutex::default() })))
    }

    /// Who sends.
    pub(super) fn resource(&self) -> Resource {
        self.0.resource.clone()
    }

    /// Sends a message to one of the collector's addresses, like `v1/traces`, again if that can help. What it does not
    /// take in the end is lost, and the log says so now and then.
    pub async fn send(&self, path: &str, message: &impl Message) {
        let body = bytes::Bytes::from(message.encode_to_vec());
        let mut pauses = PAUSES.into_iter();
        let refusal = loop {
            match (self.post(path, body.clone()).await, pauses.next()) {
                (Ok(()), _) => return self.taken(),
                (Err(Refusal::Now(_)), Some(pause)) => tokio::time::sleep(pause).await,
                (Err(Refusal::Now(cause) | Refusal::Never(cause)), _) => break cause,
            }
        };
        self.complain(path, &refusal);
    }

    async fn post(&self, path: &str, body: bytes::Bytes) -> Result<(), Refusal> {
        let mut url = self.0.endpoint.clone();
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        let request = self.0.http.post(url).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        let answer = request.send().await.map_err(|error| Refusal::Now(crate::with_causes(&error.without_url())))?;
        let status = answer.status();
        let passing = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        match status.is_success() {
            true => Ok(()),
            false if passing.contains(&status) => Err(Refusal::Now(format!("it answers {status}"))),
            false => Err(Refusal::Never(format!("it answers {status}: check the endpoint and the headers"))),
        }
    }

    fn taken(&self) {
        if self.0.complained.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!("the collector takes telemetry again");
        }
    }

    fn complain(&self, path: &str, cause: &str) {
        let mut complained = self.0.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| at.elapsed() >= COMPLAINT) {
            *complained = Some(Instant::now());
            tracing::warn!(path, cause, "telemetry is lost: the collector does not take it");
        }
    }
}

/// What makes the messages.
pub(super) fn scope() -> InstrumentationScope {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    InstrumentationScope { name: "haulier".to_owned(), version, ..InstrumentationScope::default() }
}

/// A fact with a text.
pub(super) fn attribute(key: &str, text: impl Into<String>) -> KeyValue {
    value(key, Value::StringValue(text.into()))
}

/// A fact.
pub(super) fn value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
