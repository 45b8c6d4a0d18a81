//! Callbacks: how one stands, and the secret that receivers check them with.

use axum::{Json, extract::State};
use secrecy::ExposeSecret;

use super::{
    Api, Problem,
    extract::{InProject, Part},
    types::WebhookSecret,
};
use crate::domain::{Callback, RunId, Scope};

/// How the callback of a run stands: what was tried, and when it is tried next.
#[utoipa::path(get, path = "/runs/{run}/callback", operation_id = "readCallback", tag = "runs",
    params(("run" = RunId, Path)),
    responses((status = 200, body = Callback), (status = 404, body = Problem, description = "None was asked for"),
              (status = "default", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    at: InProject,
    Part(run): Part<RunId>,
) -> Result<Json<Callback>, Problem> {
    at.require_runs()?;
    api.read_run(&at, run).await?;
    api.store.callback(run).await?.map(Json).ok_or_else(|| Problem::not_found("callback"))
}

/// The secret that signs the project's callbacks, for receivers to check them (Standard Webhooks).
#[utoipa::path(get, path = "/webhook-secret", operation_id = "readWebhookSecret", tag = "administration",
    responses((status = 200, body = WebhookSecret), (status = "default", body = Problem)))]
pub(super) async fn secret(State(api): State<Api>, at: InProject) -> Result<Json<WebhookSecret>, Problem> {
    at.require(Scope::Admin)?;
    at.require_whole_project()?;
    let secret = api.keys.webhook_secret(at.project.id).await?;
    Ok(Json(WebhookSecret { secret: secret.expose_secret().to_owned() }))
}
