//! Answers connections: like axum's own loop, with bounds and with little memory for a connection that just waits.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::drain;

/// The most connections at once; more wait in the kernel until one of these ends.
const MAX_CONNECTIONS: usize = 16_384;
/// How long a connection may be without a whole request's head, also between two requests. Longer than common clients
/// keep a connection for the next request, so that none sends one into a connection that is being closed.
const IDLE: Duration = Duration::from_secs(120);
/// Pause when no connection can be accepted: mostly there are too many open files, and waiting helps.
const PAUSE: Duration = Duration::from_millis(500);

/// Answers connections until `stop`, and then those requests that have begun.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    // Once: a router without its state would be copied, with all its routes, for each connection.
    let router: Router = router.with_state(());
    let (connections, places) = (TaskTracker::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    while let Some((stream, place)) = next(&listener, &places, &stop).await {
        // Small answers go out at once.
        let _ = stream.set_nodelay(true);
        connections.spawn(answer(stream, router.clone(), stop.clone(), place));
    }
    connections.close();
    connections.wait().await;
}

/// The next connection, with its place; `None` when the end has come.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepted = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, place)),
                // It was gone before it was taken.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a connection cannot be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accepted).await.flatten()
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // Without the second, each request that waits would have a buffer of its own to notice that its caller hangs up. So
    // a wait goes on for its time, 55 s at the most, when nobody waits any more; a stream ends with its next event.
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).half_close(true);
    http
}

async fn answer(stream: TcpStream, router: Router, stop: CancellationToken, place: OwnedSemaphorePermit) {
    // Made here: one that is handed in would have its room twice.
    let service = service_fn(|request| drain::answer(router.clone(), request));
    let mut connection = pin!(http().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke off");
    }
    drop(place);
}
