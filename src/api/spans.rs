//! A span for each request.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue},
};

use super::observed::{Observe, Seen};
use crate::{
    domain::{Timestamp, TraceParent},
    metrics::known_method,
    telemetry::{SpanContext, SpanEnd, SpanKind, Tracer},
};

/// The header by which traces go from one to the next.
const TRACEPARENT: &str = "traceparent";
/// Who only looks whether the service lives makes no spans.
const UNTRACED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Makes a span of each request, which goes on with the caller's trace. Whoever handles the request finds the span as
/// its caller: a run that it triggers belongs below it. The span ends when the answer begins.
#[derive(Debug, Clone)]
pub struct TraceRequests(pub Tracer);

/// A request whose span has begun.
#[derive(Debug)]
pub struct Traced {
    tracer: Tracer,
    span: SpanContext,
    began: Timestamp,
    method: &'static str,
}

impl Observe for TraceRequests {
    type Seen = Traced;

    fn see(&self, request: &mut Request, route: Option<&str>) -> Option<Traced> {
        if route.is_some_and(|route| UNTRACED.contains(&route)) {
            return None;
        }
        let began = self.0.now()?;
        let span = self.0.request(traceparent(request.headers()).as_ref())?;
        if let Ok(value) = HeaderValue::try_from(span.traceparent().as_str()) {
            request.headers_mut().insert(TRACEPARENT, value);
        }
        let method = known_method(request.method().as_str()).unwrap_or("_OTHER");
        Some(Traced { tracer: self.0.clone(), span, began, method })
    }
}

impl Seen for Traced {
    fn answered(self, route: Option<&str>, status: u16) {
        let Self { tracer, span, began, method } = self;
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
    }
}

/// The caller's trace. As the standard says, what cannot be read counts as not given.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}
