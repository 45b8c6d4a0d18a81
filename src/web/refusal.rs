//! What went wrong, as a page; or the way to sign in.

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};

use super::{
    Assets,
    pages::{ProblemPage, Theme},
    query_escape,
};
use crate::api::Problem;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody is signed in: where to go afterwards.
    SignIn(String),
    /// The same problem that the API would tell.
    Problem(Problem),
}

impl<T: Into<Problem>> From<T> for Refusal {
    fn from(problem: T) -> Self {
        Self::Problem(problem.into())
    }
}

impl From<askama::Error> for Problem {
    fn from(error: askama::Error) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::SignIn(then) => {
                return Redirect::to(&format!("/sign-in?then={}", query_escape(&then))).into_response();
            }
            Self::Problem(problem) => problem,
        };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let page = ProblemPage {
            theme: Theme::default(),
            assets: Assets::ours(),
            status: problem.status,
            title: problem.title,
            detail: problem.detail,
        };
        // A page about an error cannot fail in a way that another page could tell.
        let mut response = (status, Html(page.render().unwrap_or_default())).into_response();
        if let Some(seconds) = problem.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A page, made.
pub(super) fn page(template: &impl Template) -> Result<Response, Refusal> {
    Ok(Html(template.render()?).into_response())
}
