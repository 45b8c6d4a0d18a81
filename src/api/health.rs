//! For probes.

use axum::{extract::State, http::StatusCode};

use super::{Api, Problem};

/// Whether the service runs.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "It runs")))]
pub(super) async fn alive() -> &'static str {
    "ok"
}

/// Whether the service can work: its database answers.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "It can work"), (status = 503, body = Problem)))]
pub(super) async fn ready(State(api): State<Api>) -> Result<(StatusCode, &'static str), Problem> {
    api.store.ping().await.map_err(|_| Problem::unavailable("the database does not answer"))?;
    Ok((StatusCode::OK, "ok"))
}
