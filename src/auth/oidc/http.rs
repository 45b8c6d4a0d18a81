//! Calls to the issuer: bounded in time and size, over TLS unless the issuer itself is not.

use std::time::Duration;

use futures::{FutureExt as _, future::BoxFuture};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};

use crate::outgoing;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes. The largest there are in practice, keys with their certificates, have some 20 KiB.
const LARGEST_ANSWER: usize = 512 * 1024;

/// Asks the issuer.
#[derive(Debug)]
pub(super) struct IssuerHttp(reqwest::Client);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("the call failed")]
    Call(#[from] reqwest::Error),
    #[error("the answer has more than {LARGEST_ANSWER} bytes")]
    TooLarge,
    #[error("the answer cannot be read")]
    Odd(#[from] axum::http::Error),
}

impl IssuerHttp {
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn new(issuer: &str) -> Result<Self, reqwest::Error> {
        let client = outgoing::client().https_only(issuer.starts_with("https://")).timeout(TIMEOUT);
        Ok(Self(client.pool_max_idle_per_host(2).build()?))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut answer = self.0.execute(request.try_into()?).await?;
        let body = outgoing::body(&mut answer, LARGEST_ANSWER).await?.ok_or(HttpError::TooLarge)?;
        let mut response = axum::http::Response::builder().status(answer.status()).body(body)?;
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for IssuerHttp {
    type Error = HttpError;
    type Future = BoxFuture<'c, Result<HttpResponse, HttpError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        self.send(request).boxed()
    }
}
