//! What Prometheus reads, and counting requests for it.

use std::time::Instant;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderValue, Method, header, request::Parts},
    response::{IntoResponse, Response},
};

use super::{
    Api, Problem,
    extract::signed_in,
    observed::{Observe, Seen},
};
use crate::{
    domain::Scope,
    metrics::{HttpMetrics, exposition::Format},
};

/// Somebody who may read the metrics of the whole installation.
#[derive(Debug)]
pub struct Scrape(Format);

impl FromRequestParts<Api> for Scrape {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        if !api.metrics_public {
            let caller = signed_in(parts, api).await?.caller_everywhere();
            if caller.project().is_some() || !caller.may(Scope::Read) {
                let detail = "metrics are of all projects: use a token of the whole installation with scope 'read'";
                return Err(Problem::forbidden(detail));
            }
        }
        let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        Ok(Self(Format::accepted(accept.unwrap_or_default())))
    }
}

/// Metrics for Prometheus, of all projects. Needs a token of the whole installation with scope `read`, unless the
/// service is configured to show them to anybody.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "OpenMetrics, or Prometheus' own text", content_type = "text/plain", body = String),
    (status = "default", body = Problem)))]
pub(super) async fn read(State(api): State<Api>, Scrape(format): Scrape) -> Result<Response, Problem> {
    let text = format.write(&api.scraper.text().await?);
    let kind = HeaderValue::from_static(format.content_type());
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Counts and times requests.
#[derive(Debug, Clone)]
pub(super) struct Measure(pub(super) HttpMetrics);

/// A request whose time runs.
pub(super) struct Measured {
    metrics: HttpMetrics,
    method: Method,
    start: Instant,
}

impl Observe for Measure {
    type Seen = Measured;

    fn see(&self, request: &mut Request, _: Option<&str>) -> Option<Measured> {
        Some(Measured { metrics: self.0.clone(), method: request.method().clone(), start: Instant::now() })
    }
}

impl Seen for Measured {
    fn answered(self, route: Option<&str>, status: u16) {
        self.metrics.answered(self.method.as_str(), route, status, self.start.elapsed());
    }
}
