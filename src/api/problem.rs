//! The one place where what went wrong becomes an HTTP answer (RFC 9457).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    auth::{AuthError, BearerError},
    domain::FieldError,
    logs::LogError,
    store::StoreError,
    vault::{KeyError, RotationError},
};

/// What went wrong, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable code for programs, like `invalid_fields`.
    pub code: String,
    /// What to do, for people.
    pub detail: String,
    /// What is wrong with which field.
    #[serde(default)]
    pub errors: Vec<FieldError>,
    /// After how many seconds to try again.
    #[serde(skip)]
    pub retry_after: Option<u32>,
}

impl Problem {
    fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// The body or the query cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The body can be read, but its fields cannot be taken.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.pointer, one.detail),
            several => format!("{} fields cannot be taken: see errors", several.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", detail) }
    }

    /// One field cannot be taken.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// There is no valid token.
    pub fn unauthorized() -> Self {
        let detail = "send a valid token: 'Authorization: Bearer TOKEN', or Basic with the token as password";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// The token does not allow this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// There is none, or not in the caller's project.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what} in this project"))
    }

    /// No route.
    pub fn no_route() -> Self {
        let detail = "there is nothing at this address: see /docs for what there is";
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// There is no such page.
    pub fn no_page() -> Self {
        let detail = "there is no page at this address: look whether it is whole, or go on from the overview";
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The route has no such method.
    pub fn method_not_allowed() -> Self {
        let detail = "this address does not take this method: see /docs";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    /// Something else stands against it.
    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// The body is too large.
    pub fn too_large(most: usize) -> Self {
        let detail = format!("the body has more than {most} bytes: put large data where the script can read it");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// The body is not said to be JSON.
    pub fn not_json() -> Self {
        let detail = "send JSON with 'Content-Type: application/json'";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// Somebody else did not take what was to be delivered.
    pub fn not_delivered(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "not_delivered", detail)
    }

    /// Not now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    /// Our fault. The cause goes to the log, never into the answer.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        let detail = "the service failed: its log has the cause; try again, and tell the operator if it stays";
        Self { retry_after: Some(5), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::unavailable("the service is shutting down"),
            StoreError::Database(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the database could not be reached");
                Self::unavailable("the database cannot be reached now: try again")
            }
            error => Self::internal(&error),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Store(error) => error.into(),
            AuthError::Bearer(error @ BearerError::NoGrant { .. }) => Self::forbidden(error.to_string()),
            AuthError::Bearer(error @ BearerError::Silent(_)) => Self::unavailable(error.to_string()),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        if error.may_pass() {
            tracing::error!(error = &error as &dyn std::error::Error, "a log could not be read");
            return Self::unavailable("the object store cannot be reached now: try again");
        }
        Self::internal(&error)
    }
}

impl From<RotationError> for Problem {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Key(error) => error.into(),
            RotationError::NotInAFile => Self::conflict("keys_given", error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"haulier\""));
        }
        response
    }
}
