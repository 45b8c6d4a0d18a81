//! A span for each request.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, Method},
    response::Response,
};
use futures::{FutureExt, future::Either, future::Map};
use tower::{Layer, Service};

use crate::{
    domain::TraceParent,
    telemetry::{SpanEnd, SpanKind, Tracer},
};

/// The header by which traces go from one to the next.
const TRACEPARENT: &str = "traceparent";
/// Who only looks whether the service lives makes no spans.
const UNTRACED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Makes a span of each request, which goes on with the caller's trace. Whoever handles the request finds the span as
/// its caller: a run that it triggers belongs below it. The span ends when the answer begins.
#[derive(Debug, Clone)]
pub struct TraceRequests(pub Tracer);

impl<S> Layer<S> for TraceRequests {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner, tracer: self.0.clone() }
    }
}

/// A service whose requests are traced.
#[derive(Debug, Clone)]
pub struct Traced<S> {
    inner: S,
    tracer: Tracer,
}

type Finish = Box<dyn FnOnce(Result<Response, Infallible>) -> Result<Response, Infallible> + Send>;

impl<S> Service<Request> for Traced<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Map<S::Future, Finish>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let untraced = route.as_ref().is_some_and(|route| UNTRACED.contains(&route.as_str()));
        let (began, span) = (self.tracer.now(), self.tracer.request(traceparent(request.headers()).as_ref()));
        let (Some(began), Some(span)) = (began.filter(|_| !untraced), span) else {
            return Either::Right(self.inner.call(request));
        };
        if let Ok(value) = HeaderValue::try_from(span.traceparent().as_str()) {
            request.headers_mut().insert(TRACEPARENT, value);
        }
        let (tracer, method) = (self.tracer.clone(), method_of(request.method()));
        let finish: Finish = Box::new(move |answer| {
            let status = answer.as_ref().map_or(500, |response| response.status().as_u16());
            let route = route.as_ref().map(MatchedPath::as_str);
            let mut texts = vec![("http.request.method", method.to_owned())];
            texts.extend(route.map(|route| ("http.route", route.to_owned())));
            texts.extend((status >= 500).then(|| ("error.type", status.to_string())));
            tracer.ended(
                span,
                SpanEnd {
                    name: format!("{method} {}", route.unwrap_or("(no route)")),
                    kind: SpanKind::Server,
                    began,
                    texts,
                    numbers: vec![("http.response.status_code", i64::from(status))],
                    error: (status >= 500).then(String::new),
                },
            );
            answer
        });
        Either::Left(self.inner.call(request).map(finish))
    }
}

/// The caller's trace. As the standard says, what cannot be read counts as not given.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}

/// Callers may make up methods, without end.
fn method_of(method: &Method) -> &'static str {
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    let names = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.iter().position(|known| known == method).map_or("_OTHER", |index| names[index])
}
