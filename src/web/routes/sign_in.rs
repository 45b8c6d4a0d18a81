//! Signing in and out; which project, which colours.

use axum::{
    extract::{Query, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    Answer, Web,
    forms::{Posted, Strange},
    pages::{SignInPage, Theme},
};
use crate::web::{
    Assets, cookies,
    refusal::page,
    visitor::{is_secure, theme_of},
};

/// Where to go after signing in.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct ThenQuery {
    #[serde(default)]
    then: String,
}

/// The form.
pub(in crate::web) async fn show(Query(query): Query<ThenQuery>, request: axum::extract::Request) -> Answer {
    let (parts, _) = request.into_parts();
    page(&SignInPage { theme: theme_of(&parts), assets: Assets::ours(), then: inside(&query.then), error: None })
}

/// Checks the token as the API does, and begins a session.
pub(in crate::web) async fn enter(State(web): State<Web>, Strange { fields, parts }: Strange) -> Answer {
    let then = inside(fields.text("then"));
    let caller = web.api.auth.authenticate(&format!("Bearer {}", fields.text("token"))).await?;
    let Some(caller) = caller else {
        let error = "this token does not work: it is unknown, revoked or expired".to_owned();
        let form = SignInPage { theme: theme_of(&parts), assets: Assets::ours(), then, error: Some(error) };
        let mut response = page(&form)?;
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    let (secret, age) = web.api.auth.begin_session(&caller).await?;
    let secure = is_secure(&web.api, &parts);
    Ok(with_cookie(Redirect::to(&then), cookies::set_session(Some((secret.expose(), age)), secure)))
}

/// Ends the session.
pub(in crate::web) async fn leave(State(web): State<Web>, Posted { visitor, .. }: Posted) -> Answer {
    web.api.auth.end_session(&visitor.secret).await?;
    Ok(with_cookie(Redirect::to("/sign-in"), cookies::set_session(None, visitor.secure)))
}

/// Keeps which project pages are about. Whether it may be seen is asked for each page.
pub(in crate::web) async fn choose_project(Posted { visitor, fields }: Posted) -> Answer {
    let cookie = cookies::set_choice(cookies::PROJECT, fields.text("project"), visitor.secure);
    Ok(with_cookie(Redirect::to("/"), cookie))
}

/// Keeps which colours pages have.
pub(in crate::web) async fn choose_theme(Posted { visitor, fields }: Posted) -> Answer {
    let theme = Theme::parse(fields.text("theme")).unwrap_or_default();
    let cookie = cookies::set_choice(cookies::THEME, theme.as_str(), visitor.secure);
    Ok(with_cookie(Redirect::to(&inside(fields.text("back"))), cookie))
}

fn with_cookie(redirect: Redirect, cookie: Option<HeaderValue>) -> Response {
    let mut response = redirect.into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// An address of ours, whatever was given: nobody is led to another site.
fn inside(path: &str) -> String {
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
