//! What Prometheus reads, and counting requests for it.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures::{FutureExt, future::Map};
use tower::{Layer, Service};

use super::{Api, Problem, extract::caller_of};
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
            let caller = caller_of(parts, api).await?;
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

/// Counts and times requests. A request that waits carries little for it: neither a copy of the route nor another box
/// around its work.
#[derive(Debug, Clone)]
pub(super) struct Measure(pub(super) HttpMetrics);

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, metrics: self.0.clone() }
    }
}

/// A service whose requests are counted and timed.
#[derive(Debug, Clone)]
pub(super) struct Measured<S> {
    inner: S,
    metrics: HttpMetrics,
}

type Finish = Box<dyn FnOnce(Result<Response, Infallible>) -> Result<Response, Infallible> + Send>;

impl<S> Service<Request> for Measured<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Map<S::Future, Finish>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (metrics, method, start) = (self.metrics.clone(), request.method().clone(), Instant::now());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let finish: Finish = Box::new(move |answer| {
            let status = answer.as_ref().map_or(500, |response| response.status().as_u16());
            let route = route.as_ref().map(MatchedPath::as_str);
            metrics.answered(method.as_str(), route, status, start.elapsed());
            answer
        });
        self.inner.call(request).map(finish)
    }
}
