//! Reads what a handler has left of a request's body, so that the answer arrives and the connection can be used again.
//!
//! A request that is refused for its token is answered before its body has come. The connection would then be closed
//! without a word, and a client that asks again at once would find it gone; one that still writes would lose the answer
//! (RFC 9112, section 9.6: an end with unread data makes the kernel throw away what the client has not read yet).

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, header},
    response::Response,
};
use bytes::Bytes;
use futures::future::Either;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::{sync::oneshot, time::timeout};
use tower::ServiceExt;

/// The most that is read to no purpose, in bytes; the connection of a client that sends more is closed.
const MOST: usize = 8 << 20;
/// For how long at most.
const LONGEST: Duration = Duration::from_secs(5);

/// The router's answer to a request. When the rest of the request's body cannot be read, the answer says that the
/// connection ends.
pub fn answer(
    router: Router,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> + Send + 'static {
    if request.body().is_end_stream() {
        return Either::Left(router.oneshot(request.map(|_| Body::empty())));
    }
    // On the heap: each connection has room for the other kind, for most requests that wait have no body.
    Either::Right(Box::pin(answer_and_drain(router, request)))
}

async fn answer_and_drain(router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    // Such a client sends its body only when it is asked to, which reading would do.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let (returned, mut left) = oneshot::channel();
    let request = request.map(|body| Body::new(Lent { body: Some(body), returned: Some(returned) }));
    let mut response = router.oneshot(request).await?;
    if let Ok(rest) = left.try_recv()
        && (asks_first || !drain(rest).await)
    {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Whether this was read up to its end.
async fn drain(mut body: Incoming) -> bool {
    if body.size_hint().lower() > MOST as u64 {
        return false;
    }
    let reading = async {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MOST {
                return false;
            }
        }
        true
    };
    timeout(LONGEST, reading).await.unwrap_or(false)
}

/// A body that goes back when the handler has done with it before its end.
struct Lent {
    body: Option<Incoming>,
    returned: Option<oneshot::Sender<Incoming>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(returned)) = (self.body.take(), self.returned.take())
            && !body.is_end_stream()
        {
            let _ = returned.send(body);
        }
    }
}
