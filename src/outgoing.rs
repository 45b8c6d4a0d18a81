//! Requests that Haulier makes of others over HTTP.

use reqwest::{ClientBuilder, Response, redirect::Policy};

/// What all clients begin with. Bound their times.
pub(crate) fn client() -> ClientBuilder {
    crate::install_crypto();
    ClientBuilder::new()
        // A redirect could lead credentials to where they do not belong, and the service to where it may not go.
        .redirect(Policy::none())
        .user_agent(concat!("haulier/", env!("CARGO_PKG_VERSION")))
}

/// The body of an answer; `None` when it has more bytes than `most`.
pub(crate) async fn body(answer: &mut Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}
