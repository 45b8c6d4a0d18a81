//! Waiting for a run by a link alone, for clients that follow `Location` from 202 to 200 and bring no token.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::hmac;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Api, BASE, LONGEST_WAIT, Problem,
    extract::{Part, Query},
    types::RunView,
    views,
};
use crate::domain::{ProjectId, RunId, RunState, Timestamp};

/// How long a link is good for: Data Factory follows one for seven days.
const VALID: Duration = Duration::from_secs(8 * 86_400);

/// The link's signature, and how long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AwaitQuery {
    /// As it was given in `Location`.
    sig: String,
    /// Answer at the latest after so many seconds (0 to 55).
    #[serde(default = "usual_wait")]
    wait: u32,
}

const fn usual_wait() -> u32 {
    20
}

/// A run, by the signed link that its trigger gave as `Location`: 202 while it is active, 200 when it has succeeded,
/// 422 when it has ended otherwise, each time with the whole run. The link is for this run alone and expires.
#[utoipa::path(get, path = "/runs/{run}/await", operation_id = "awaitRun", tag = "runs", security(()),
    params(("run" = RunId, Path), AwaitQuery),
    responses((status = 200, body = RunView, description = "It has succeeded"),
              (status = 202, body = RunView, description = "It is active: ask again at `Location`"),
              (status = 422, body = RunView, description = "It has ended otherwise: see `error`"),
              (status = "default", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    Part(run): Part<RunId>,
    Query(query): Query<AwaitQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = Duration::from_secs(u64::from(query.wait));
    if wait > LONGEST_WAIT {
        return Err(Problem::malformed("wait is from 0 to 55 seconds: ask again when the answer is 202"));
    }
    let found = match api.runner.hub().latest(run) {
        Some(found) => found,
        // Nobody learns from the answer which runs there are.
        None => api.runner.hub().remember(api.store.run_by_id(run).await?.ok_or_else(not_valid)?),
    };
    let project = found.run.project;
    let key = api.keys.link_key(project).await?;
    if !is_valid(&key, run, &query.sig, api.clock.now()) {
        return Err(not_valid());
    }
    let project = api.project_by_id(project).await?.ok_or_else(not_valid)?;
    // Who holds the link asks in the name of the run's caller.
    let (found, by) = (api.wait_for_end(found, wait, true).await?, &project.name);
    let waiting = api.waiting(&found.run).await?;
    let view = views::run(by, &found.run, waiting, api.clock.now());
    let status = match view.state {
        RunState::Succeeded => StatusCode::OK,
        _ if view.finished => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::ACCEPTED,
    };
    let mut response = (status, Json(view)).into_response();
    if status == StatusCode::ACCEPTED {
        let link = format!("{}{BASE}/runs/{run}/await?sig={}", api.origin(&headers), query.sig);
        response.headers_mut().extend(HeaderValue::try_from(link).ok().map(|link| (header::LOCATION, link)));
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

fn not_valid() -> Problem {
    Problem::forbidden("the link is not valid, or not any more: read the run with a token, at /api/v1/runs/{run}")
}

impl Api {
    /// The link that waits for a run without a token.
    pub(super) async fn await_link(
        &self,
        project: ProjectId,
        run: RunId,
        headers: &HeaderMap,
    ) -> Result<String, Problem> {
        let key = self.keys.link_key(project).await?;
        let expires = self.clock.now().plus(VALID);
        Ok(format!("{}{BASE}/runs/{run}/await?sig={}", self.origin(headers), sign(&key, run, expires)))
    }
}

/// `<seconds since 1970>.<HMAC>`.
fn sign(key: &hmac::Key, run: RunId, expires: Timestamp) -> String {
    let seconds = expires.as_micros().div_euclid(1_000_000);
    let tag = hmac::sign(key, signed_text(run, seconds).as_bytes());
    format!("{seconds}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

fn is_valid(key: &hmac::Key, run: RunId, signature: &str, now: Timestamp) -> bool {
    let Some((seconds, tag)) = signature.split_once('.') else { return false };
    let (Ok(seconds), Ok(tag)) = (seconds.parse::<i64>(), BASE64_URL_SAFE_NO_PAD.decode(tag)) else { return false };
    hmac::verify(key, signed_text(run, seconds).as_bytes(), &tag).is_ok()
        && now.as_micros() < seconds.saturating_mul(1_000_000)
}

fn signed_text(run: RunId, expires: i64) -> String {
    format!("await.{run}.{expires}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_for_one_run_and_for_a_time() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let (run, other) = (RunId::generate(), RunId::generate());
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let link = sign(&key, run, now.plus(VALID));
        assert!(is_valid(&key, run, &link, now));
        assert!(!is_valid(&key, other, &link, now));
        assert!(!is_valid(&hmac::Key::new(hmac::HMAC_SHA256, b"other"), run, &link, now));
        assert!(!is_valid(&key, run, &link, now.plus(VALID)));
        let later = link.replacen(char::is_numeric, "9", 1);
        for forged in ["", ".", "1.", "x.y", &later, &link[..link.len() - 1]] {
            assert!(!is_valid(&key, run, forged, now), "{forged}");
        }
    }
}
