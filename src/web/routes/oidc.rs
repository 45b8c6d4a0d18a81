//! Signing in at the issuer of identities: leaving for it, and coming back.

use axum::{
    extract::{Query, Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;

use super::{
    Answer, Web,
    sign_in::{ThenQuery, form, inside, with_cookie},
};
use crate::{
    api::Problem,
    auth::{Oidc, REQUEST_LIFETIME, Return, Said, SignInError},
    web::{cookies, visitor::is_secure},
};

/// Where the issuer sends people back to. It must know this address.
pub(in crate::web) const RETURN: &str = "/sign-in/oidc/return";

/// Sends the browser to the issuer.
pub(in crate::web) async fn depart(State(web): State<Web>, Query(query): Query<ThenQuery>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let oidc = oidc(&web)?;
    match oidc.depart(&return_address(&web, &parts), &inside(&query.then)).await {
        Ok(departure) => {
            let held = Some((departure.cookie.as_str(), REQUEST_LIFETIME));
            let cookie = cookies::set_request(held, is_secure(&web.api, &parts));
            Ok(with_cookie(Redirect::to(&departure.to).into_response(), cookie))
        }
        Err(error) => refused(&web, &parts, &query.then, &error),
    }
}

/// What the issuer hands back.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct ReturnQuery {
    code: String,
    state: String,
    error: String,
    error_description: String,
}

/// Takes the browser back. Whatever comes of it, its sign-in request is over.
pub(in crate::web) async fn arrive(
    State(web): State<Web>,
    Query(query): Query<ReturnQuery>,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let secure = is_secure(&web.api, &parts);
    let response = enter(&web, &parts, &query, secure).await.into_response();
    Ok(with_cookie(response, cookies::set_request(None, secure)))
}

async fn enter(web: &Web, parts: &Parts, query: &ReturnQuery, secure: bool) -> Answer {
    let oidc = oidc(web)?;
    let said = match query.error.as_str() {
        "" => Said::Code(&query.code),
        error => Said::No(error, &query.error_description),
    };
    let cookie = cookies::request(&parts.headers, secure).unwrap_or_default();
    let back = Return { cookie, state: &query.state, said };
    let arrival = match oidc.arrive(&return_address(web, parts), back).await {
        Ok(arrival) => arrival,
        Err(error) => return refused(web, parts, "/", &error),
    };
    match web.api.auth.begin_person_session(oidc, &arrival).await? {
        Some((secret, age)) => {
            let session = cookies::set_session(Some((secret.expose(), age)), secure);
            Ok(with_cookie(Redirect::to(&inside(&arrival.then)).into_response(), session))
        }
        None => refused(web, parts, &arrival.then, &SignInError::Stale),
    }
}

/// Why not, above the other way to sign in. Whoever is known and may do nothing gets a page of their own.
fn refused(web: &Web, parts: &Parts, then: &str, error: &SignInError) -> Answer {
    let status = match error {
        SignInError::NoGrant { .. } => return Err(Problem::forbidden(error.to_string()).into()),
        SignInError::Stale => StatusCode::BAD_REQUEST,
        SignInError::Refused { .. } | SignInError::Untrusted(_) => StatusCode::FORBIDDEN,
        SignInError::Silent(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response: Response = form(web, parts, inside(then), Some(error.to_string()))?;
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    }
    Ok(response)
}

fn oidc(web: &Web) -> Result<&Oidc, Problem> {
    web.api.auth.oidc().ok_or_else(|| Problem {
        detail: "nobody signs in this way here: sign in with a token at /sign-in".to_owned(),
        ..Problem::no_route()
    })
}

fn return_address(web: &Web, parts: &Parts) -> String {
    format!("{}{RETURN}", web.api.origin(&parts.headers))
}
