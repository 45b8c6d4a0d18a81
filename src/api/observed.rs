//! Looking at requests when they come, and at how they are answered.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use futures::{FutureExt, future::Map};
use tower::{Layer, Service};

/// Looks at requests when they come.
pub trait Observe: Clone {
    /// What it keeps of one until the answer.
    type Seen: Seen;

    /// A request has come, whose path this pattern matches. `None` when its answer is of no interest.
    fn see(&self, request: &mut Request, route: Option<&str>) -> Option<Self::Seen>;
}

/// A request that was seen.
pub trait Seen: Send + 'static {
    /// It is answered.
    fn answered(self, route: Option<&str>, status: u16);
}

/// Lets somebody look at all requests of a service. A request that waits carries little for it: neither a copy of the
/// route nor another box around its work.
#[derive(Debug, Clone)]
pub struct Observing<O>(pub O);

impl<S, O: Observe> Layer<S> for Observing<O> {
    type Service = Observed<S, O>;

    fn layer(&self, inner: S) -> Observed<S, O> {
        Observed { inner, observer: self.0.clone() }
    }
}

/// A service whose requests are looked at.
#[derive(Debug, Clone)]
pub struct Observed<S, O> {
    inner: S,
    observer: O,
}

type Finish = Box<dyn FnOnce(Result<Response, Infallible>) -> Result<Response, Infallible> + Send>;

impl<S, O: Observe> Service<Request> for Observed<S, O>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Map<S::Future, Finish>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let finish: Finish = match self.observer.see(&mut request, route.as_ref().map(MatchedPath::as_str)) {
            Some(seen) => Box::new(move |answer| {
                let status = answer.as_ref().map_or(500, |response| response.status().as_u16());
                seen.answered(route.as_ref().map(MatchedPath::as_str), status);
                answer
            }),
            None => Box::new(|answer| answer),
        };
        self.inner.call(request).map(finish)
    }
}
