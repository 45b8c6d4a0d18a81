//! Forms that are ours: sent from our own pages, by whoever is signed in.

use axum::{
    Form,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};

use super::{Refusal, Web, visitor::Visitor};
use crate::api::{Api, Problem};

/// Fields of a form, in order.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The value of a field; empty when it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.trim())
    }

    /// The field as a number; `None` when it is empty.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| Problem::invalid_field(format!("/{name}"), "not a number that fits here"))
    }

    /// Fields whose name begins so: the rest of the name, and the value.
    pub(super) fn beginning<'f>(&'f self, prefix: &'f str) -> impl Iterator<Item = (&'f str, &'f str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}

/// A form that a visitor sent from one of our pages.
#[derive(Debug)]
pub(super) struct Posted {
    /// Who sent it.
    pub(super) visitor: Visitor,
    /// What.
    pub(super) fields: Fields,
}

impl FromRequest<Web> for Posted {
    type Rejection = Refusal;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        require_same_origin(&web.api, &parts.headers)?;
        let visitor = Visitor::from_request_parts(&mut parts, web).await?;
        let fields = read(Request::from_parts(parts, body)).await?;
        if !visitor.secret.is_form_token(fields.text("csrf")) {
            return Err(
                Problem::forbidden("the form is from an earlier sign-in: go back, reload the page, try again").into()
            );
        }
        Ok(Self { visitor, fields })
    }
}

/// A form from whoever is not signed in yet.
#[derive(Debug)]
pub(super) struct Strange {
    /// What was sent.
    pub(super) fields: Fields,
    /// With which headers.
    pub(super) parts: Parts,
}

impl FromRequest<Web> for Strange {
    type Rejection = Refusal;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        require_same_origin(&web.api, &parts.headers)?;
        let fields = read(Request::from_parts(parts.clone(), body)).await?;
        Ok(Self { fields, parts })
    }
}

async fn read(request: Request) -> Result<Fields, Problem> {
    let form: Result<Form<Vec<(String, String)>>, _> = Form::from_request(request, &()).await;
    match form {
        Ok(Form(fields)) => Ok(Fields(fields)),
        Err(_) => Err(Problem::malformed("the form cannot be read: go back, reload the page, try again")),
    }
}

/// Refuses what another site makes a browser send. Browsers say where a request comes from; who says nothing is none,
/// and still has to know the session's form token.
fn require_same_origin(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    let same_site = site.is_none_or(|site| site == "same-origin" || site == "none");
    let own = api.origin(headers);
    let host = text(header::HOST).unwrap_or_default();
    let same_origin = text(header::ORIGIN).is_none_or(|origin| {
        origin == own || origin.split_once("://").is_some_and(|(_, origin)| !host.is_empty() && origin == host)
    });
    if same_site && same_origin {
        return Ok(());
    }
    Err(Problem::forbidden("the form was sent by another site: open the dashboard itself and try again"))
}
