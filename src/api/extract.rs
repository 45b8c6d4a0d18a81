//! What requests carry: a caller in a project, a JSON body, a query, path parts.

use std::{str::FromStr, sync::Arc};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{Api, Problem};
use crate::{
    auth::{Caller, SignedIn},
    domain::{FieldError, JobId, Name, Project, Run, RunId, Scope, Token, TokenId, without_value},
};

/// The header by which a token of the whole installation says which project it means.
pub const PROJECT_HEADER: &str = "haulier-project";

/// A caller, and the project the request is about.
#[derive(Debug, Clone)]
pub struct InProject {
    /// Who.
    pub caller: Caller,
    /// Where.
    pub project: Arc<Project>,
}

impl InProject {
    /// Lets pass who holds the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.caller.may(scope) {
            return Ok(());
        }
        let (who, scope) =
            (if self.caller.token().is_some() { "this token lacks" } else { "you lack" }, scope.as_str());
        let detail = format!("{who} the scope '{scope}': ask an admin of the project for it");
        Err(Problem::forbidden(detail))
    }

    /// Lets pass who may look at runs: to read, or because they trigger them.
    pub fn require_runs(&self) -> Result<(), Problem> {
        if self.caller.may(Scope::Trigger) { Ok(()) } else { self.require(Scope::Read) }
    }

    /// Lets pass who may reach the job. Others learn nothing about it.
    pub fn require_job(&self, job: JobId, what: &str) -> Result<(), Problem> {
        if self.caller.reaches(job) { Ok(()) } else { Err(Problem::not_found(what)) }
    }

    /// Whether this is the caller that triggered the run, by name.
    pub fn asks_for(&self, run: &Run) -> bool {
        run.created_by == self.caller.name()
    }

    /// Lets pass tokens that are not bound to certain jobs.
    pub fn require_whole_project(&self) -> Result<(), Problem> {
        if self.caller.jobs().is_empty() {
            return Ok(());
        }
        Err(Problem::forbidden("this token is bound to certain jobs and cannot do this"))
    }
}

/// Who sent a request, whichever project it is about.
pub(super) async fn signed_in(parts: &Parts, api: &Api) -> Result<SignedIn, Problem> {
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let header = header.ok_or_else(Problem::unauthorized)?;
    api.auth.authenticate(header).await?.ok_or_else(Problem::unauthorized)
}

impl FromRequestParts<Api> for InProject {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let who = signed_in(parts, api).await?;
        let named = match parts.headers.get(PROJECT_HEADER) {
            None => None,
            Some(value) => {
                let name = value.to_str().ok().and_then(|text| text.parse::<Name>().ok());
                Some(name.ok_or_else(|| Problem::malformed("the header Haulier-Project is not a project's name"))?)
            }
        };
        let project = match &who {
            SignedIn::Token(token) => project_of(token, named, api).await?,
            SignedIn::Person(person) => {
                let name = named.unwrap_or_else(|| person.home());
                api.project_by_name(&name).await?.ok_or_else(|| no_access(&name))?
            }
        };
        let caller = who.caller_in(&project).ok_or_else(|| no_access(&project.name))?;
        Ok(Self { caller, project })
    }
}

/// The project of a token, or the one that a token of the whole installation names.
async fn project_of(token: &Token, named: Option<Name>, api: &Api) -> Result<Arc<Project>, Problem> {
    if let Some(own) = token.project {
        let project = api.project_by_id(own).await?.ok_or_else(Problem::unauthorized)?;
        if named.is_some_and(|name| name != project.name) {
            return Err(Problem::forbidden("this token belongs to another project"));
        }
        return Ok(project);
    }
    let name = named.unwrap_or_else(Name::default_project);
    let detail = format!("there is no project {name}: see GET /api/v1/projects");
    api.project_by_name(&name).await?.ok_or_else(|| Problem::forbidden(detail))
}

/// Whether or not there is such a project.
fn no_access(project: &Name) -> Problem {
    Problem::forbidden(format!("you have no access to a project {project}: name yours by the header Haulier-Project"))
}

/// An administrator of the whole installation.
#[derive(Debug, Clone)]
pub struct InstanceAdmin(pub Caller);

impl FromRequestParts<Api> for InstanceAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let caller = signed_in(parts, api).await?.caller_everywhere();
        if caller.is_instance_admin() {
            return Ok(Self(caller));
        }
        Err(Problem::forbidden("only an admin token of the whole installation may do this"))
    }
}

/// A JSON body. An empty body counts as `{}`.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let json = kind.is_none_or(|kind| kind == "application/json" || kind.ends_with("+json"));
        let bytes = Bytes::from_request(request, api).await.map_err(|rejection| {
            if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
                Problem::too_large(api.max_body_bytes)
            } else {
                Problem::malformed("the body broke off: send it again")
            }
        })?;
        if bytes.is_empty() {
            return parse(b"{}").map(Self);
        }
        if !json {
            return Err(Problem::not_json());
        }
        parse(&bytes).map(Self)
    }
}

/// Reads JSON; what is wrong comes with a pointer to it.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer_of(error.path());
        let inner = error.into_inner();
        if inner.is_data() {
            let text = inner.to_string();
            let detail = without_value(text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text));
            Problem::invalid(vec![FieldError { pointer, detail }])
        } else {
            let (line, column) = (inner.line(), inner.column());
            Problem::malformed(format!("the body is not JSON: see line {line}, column {column}"))
        }
    })?;
    deserializer.end().map_err(|_| Problem::malformed("the body goes on after the JSON document"))?;
    Ok(value)
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", crate::domain::pointer_step(key)),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

/// A query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let query: Result<axum::extract::Query<T>, _> = axum::extract::Query::try_from_uri(&parts.uri);
        match query {
            Ok(query) => Ok(Self(query.0)),
            Err(error) => Err(Problem::malformed(format!("the query cannot be read: {}", error.body_text()))),
        }
    }
}

/// A part of the path that must be read as `T`; what cannot be is not there.
#[derive(Debug)]
pub struct Part<T>(pub T);

/// What stands in a path.
pub trait PathPart: FromStr {
    /// What it names, for the answer that there is none.
    const WHAT: &'static str;
}

impl PathPart for RunId {
    const WHAT: &'static str = "run";
}
impl PathPart for TokenId {
    const WHAT: &'static str = "token";
}
impl PathPart for Name {
    const WHAT: &'static str = "name";
}
impl PathPart for JobRef {
    const WHAT: &'static str = "job";
}

impl<T: PathPart + Send> FromRequestParts<Api> for Part<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, api).await.map_err(|_| Problem::not_found(T::WHAT))?;
        text.0.parse().map(Self).map_err(|_| Problem::not_found(T::WHAT))
    }
}

/// A job by its id or its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JobRef {
    /// By id.
    Id(JobId),
    /// By name.
    Name(Name),
}

impl FromStr for JobRef {
    type Err = crate::domain::InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::Id).or_else(|_| text.parse().map(Self::Name))
    }
}
