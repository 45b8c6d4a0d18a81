//! A registry that keeps its askers waiting, in front of a real one.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::eventually;

/// Answers what the real registry does, but manifests and blobs only once it is released. Plain HTTP on the loopback.
#[derive(Debug)]
pub(super) struct SlowRegistry {
    address: SocketAddr,
    released: watch::Sender<bool>,
    asked: watch::Receiver<bool>,
    server: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Forward {
    to: String,
    client: reqwest::Client,
    released: watch::Receiver<bool>,
    asked: watch::Sender<bool>,
}

impl SlowRegistry {
    /// In front of the registry at this address, at the first of the others that is free.
    pub(super) async fn in_front_of(registry: &str, at: &[String]) -> Self {
        // No other provider is ever installed, so a second installation is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = eventually("an address is free", || first_free(at)).await;
        let address = listener.local_addr().expect("it has an address");
        let (released, on_release) = watch::channel(false);
        let (on_asked, asked) = watch::channel(false);
        let forward =
            Forward { to: registry.to_owned(), client: reqwest::Client::new(), released: on_release, asked: on_asked };
        let router = Router::new().fallback(answer).with_state(forward);
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { address, released, asked, server }
    }

    /// The reference of an image in the real registry, as it is asked for here.
    pub(super) fn reference(&self, image: &str) -> String {
        let (_, rest) = image.split_once('/').expect("the image names its registry");
        format!("{}/{rest}", self.address)
    }

    /// Waits until somebody wants the image.
    pub(super) async fn asked(&self) {
        let _ = self.asked.clone().wait_for(|asked| *asked).await;
    }

    /// Makes nobody wait any more.
    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }
}

impl Drop for SlowRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn first_free(addresses: &[String]) -> Option<TcpListener> {
    for address in addresses {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Some(listener);
        }
    }
    None
}

async fn answer(State(forward): State<Forward>, request: Request) -> Response {
    let Forward { to, client, mut released, asked } = forward;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if path.contains("/manifests/") || path.contains("/blobs/") {
        asked.send_replace(true);
        let _ = released.wait_for(|released| *released).await;
    }
    let headers = request.headers().iter().filter(|(name, _)| *name == "accept");
    let asked = headers
        .fold(client.request(request.method().clone(), format!("http://{to}{path}")), |asked, (name, value)| {
            asked.header(name, value)
        });
    match asked.send().await {
        Ok(answer) => {
            let mut response = Response::builder().status(answer.status());
            for (name, value) in answer.headers() {
                if name != "transfer-encoding" && name != "connection" {
                    response = response.header(name, value);
                }
            }
            response.body(Body::from_stream(answer.bytes_stream())).expect("the registry's answer is well formed")
        }
        Err(error) => {
            let mut response = Response::new(Body::from(error.to_string()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}
