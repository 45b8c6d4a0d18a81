//! Signing in and out; which project, which colours.

use axum::{
    extract::{Query, Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    Answer, Web,
    forms::{Posted, Strange},
    pages::{SignInPage, SingleSignOn, Theme},
};
use crate::{
    auth::SignedIn,
    web::{
        Assets, cookies, query_escape,
        refusal::page,
        visitor::{is_secure, theme_of},
    },
};

/// Where to go after signing in.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct ThenQuery {
    #[serde(default)]
    pub(super) then: String,
}

/// The form.
pub(in crate::web) async fn show(State(web): State<Web>, Query(query): Query<ThenQuery>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    form(&web, &parts, inside(&query.then), None)
}

/// All ways to sign in, below what did not work.
pub(super) fn form(web: &Web, parts: &Parts, then: String, error: Option<String>) -> Answer {
    let single_sign_on = web.api.auth.oidc().map(|oidc| SingleSignOn {
        name: oidc.settings().name.clone(),
        // At the address that the issuer sends people back to: a cookie belongs to one host.
        href: format!("{}/sign-in/oidc?then={}", web.api.origin(&parts.headers), query_escape(&then)),
    });
    page(&SignInPage { theme: theme_of(parts), assets: Assets::ours(), then, error, single_sign_on })
}

/// Checks the token as the API does, and begins a session.
pub(in crate::web) async fn enter(State(web): State<Web>, Strange { fields, parts }: Strange) -> Answer {
    let then = inside(fields.text("then"));
    let who = web.api.auth.authenticate(&format!("Bearer {}", fields.text("token"))).await?;
    let Some(SignedIn::Token(token)) = who else {
        let error = "this token does not work: it is unknown, revoked or expired".to_owned();
        let mut response = form(&web, &parts, then, Some(error))?;
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    let (secret, age) = web.api.auth.begin_session(&token).await?;
    let session = cookies::set_session(Some((secret.expose(), age)), is_secure(&web.api, &parts));
    Ok(with_cookie(Redirect::to(&then).into_response(), session))
}

/// Ends the session.
pub(in crate::web) async fn leave(State(web): State<Web>, Posted { visitor, .. }: Posted) -> Answer {
    web.api.auth.end_session(&visitor.secret).await?;
    let forgotten = cookies::set_session(None, visitor.secure);
    Ok(with_cookie(Redirect::to("/sign-in").into_response(), forgotten))
}

/// Keeps which project pages are about. Whether it may be seen is asked for each page.
pub(in crate::web) async fn choose_project(Posted { visitor, fields }: Posted) -> Answer {
    let cookie = cookies::set_choice(cookies::PROJECT, fields.text("project"), visitor.secure);
    Ok(with_cookie(Redirect::to("/").into_response(), cookie))
}

/// Keeps which colours pages have.
pub(in crate::web) async fn choose_theme(Posted { visitor, fields }: Posted) -> Answer {
    let theme = Theme::parse(fields.text("theme")).unwrap_or_default();
    let cookie = cookies::set_choice(cookies::THEME, theme.as_str(), visitor.secure);
    Ok(with_cookie(Redirect::to(&inside(fields.text("back"))).into_response(), cookie))
}

pub(super) fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// An address of ours, whatever was given: nobody is led to another site.
pub(super) fn inside(path: &str) -> String {
    let bytes = path.as_bytes();
    let ours = bytes.first() == Some(&b'/')
        && !matches!(bytes.get(1), Some(b'/' | b'\\'))
        && bytes.iter().all(|c| c.is_ascii_graphic() && *c != b'\\');
    if ours { path.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn nobody_is_led_away() {
        assert_eq!(inside("/runs?state=failed"), "/runs?state=failed");
        for away in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "/a\r\nb: c"]
        {
            assert_eq!(inside(away), "/", "{away:?}");
        }
    }
}
