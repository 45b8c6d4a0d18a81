//! Who looks at a page, where, and how they like it.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{Method, request::Parts},
    response::Response,
};
use futures::StreamExt as _;

use super::{
    Assets, KEEP_ALIVE, Refusal, Web, cookies,
    pages::{Rights, Section, Shell, Theme},
};
use crate::{
    api::{Api, Problem, extract::InProject},
    auth::{SessionSecret, SignedIn},
    domain::{Name, Project, ProjectId, RunId, Scope},
    runner::CachedRun,
};

/// The most projects that one can choose from in the navigation.
const MOST_PROJECTS: usize = 100;

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// Who, and in which project: what the API's functions ask for.
    pub(super) at: InProject,
    /// What the browser holds.
    pub(super) secret: SessionSecret,
    /// Whether the connection is secure, as far as the browser is concerned.
    pub(super) secure: bool,
    who: SignedIn,
    projects: Vec<Name>,
    theme: Theme,
    here: String,
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Refusal> {
        let api = &web.api;
        let here = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let then = || Refusal::SignIn(if parts.method == Method::GET { here.clone() } else { "/".to_owned() });
        let secure = is_secure(api, parts);
        let secret = cookies::session(&parts.headers, secure).and_then(SessionSecret::parse).ok_or_else(then)?;
        let who = api.auth.session(&secret).await?.ok_or_else(then)?;
        let chosen = cookies::get(&parts.headers, cookies::PROJECT).and_then(|name| name.parse().ok());
        let (project, projects) = project_of(api, &who, chosen).await?;
        let caller = who.caller_in(&project).ok_or_else(Problem::unauthorized)?;
        let projects = if projects.len() > 1 { projects } else { Vec::new() };
        Ok(Self {
            at: InProject { caller, project },
            secret,
            secure,
            who,
            projects: projects.into_iter().take(MOST_PROJECTS).collect(),
            theme: theme_of(parts),
            here,
        })
    }
}

/// Light or dark, as it was chosen.
pub(super) fn theme_of(parts: &Parts) -> Theme {
    cookies::get(&parts.headers, cookies::THEME).and_then(Theme::parse).unwrap_or_default()
}

/// Whether the browser reaches us over TLS.
pub(super) fn is_secure(api: &Api, parts: &Parts) -> bool {
    api.origin(&parts.headers).starts_with("https://")
}

/// Which project pages are about, and those that there are to choose from: a token's own; of a person's, or for whoever
/// belongs to the whole installation, the chosen one if there is such a project.
async fn project_of(api: &Api, who: &SignedIn, chosen: Option<Name>) -> Result<(Arc<Project>, Vec<Name>), Problem> {
    match who {
        SignedIn::Token(token) => match token.project {
            Some(own) => Ok((own_project(api, own).await?, Vec::new())),
            None if token.may(Scope::Admin) => any_project(api, chosen).await,
            None => Ok((any_project(api, chosen).await?.0, Vec::new())),
        },
        SignedIn::Person(person) if !person.scopes_everywhere().is_empty() => any_project(api, chosen).await,
        SignedIn::Person(person) => {
            let mut found = Vec::new();
            for name in person.projects() {
                found.extend(api.project_by_name(name).await?);
            }
            let project = found.iter().find(|project| chosen.as_ref() == Some(&project.name)).or(found.first());
            let project = project.cloned().ok_or_else(|| {
                let names: Vec<_> = person.projects().into_iter().map(Name::as_str).collect();
                let names = names.join(", ");
                Problem::forbidden(format!("your projects do not exist yet: ask an admin to make one of {names}"))
            })?;
            Ok((project, found.into_iter().map(|project| project.name.clone()).collect()))
        }
    }
}

async fn own_project(api: &Api, own: ProjectId) -> Result<Arc<Project>, Problem> {
    api.project_by_id(own).await?.ok_or_else(Problem::unauthorized)
}

async fn any_project(api: &Api, chosen: Option<Name>) -> Result<(Arc<Project>, Vec<Name>), Problem> {
    let names = api.store.projects().await?.into_iter().map(|(project, _)| project.name).collect();
    if let Some(name) = chosen
        && let Some(project) = api.project_by_name(&name).await?
    {
        return Ok((project, names));
    }
    let project = api.project_by_name(&Name::default_project()).await?;
    Ok((project.ok_or_else(|| Problem::not_found("project"))?, names))
}

/// An answer that goes on, for as long as whoever asked for it is signed in.
pub(super) fn while_signed_in(answer: Response, web: &Web, secret: SessionSecret) -> Response {
    let auth = web.api.auth.clone();
    let signed_out = Box::pin(async move {
        // A database that cannot be asked now has ended no session.
        while !matches!(auth.session(&secret).await, Ok(None)) {
            tokio::time::sleep(KEEP_ALIVE).await;
        }
    });
    answer.map(|body| Body::from_stream(body.into_data_stream().take_until(signed_out)))
}

impl Visitor {
    /// What stands around a page.
    pub(super) fn shell(&self, api: &Api, section: Section, title: impl Into<String>) -> Shell {
        let may = |scope| self.at.caller.may(scope);
        Shell {
            title: title.into(),
            section,
            project: self.at.project.name.clone(),
            projects: self.projects.clone(),
            user: self.at.caller.name().to_owned(),
            rights: Rights {
                read: may(Scope::Read),
                trigger: may(Scope::Trigger),
                write: may(Scope::Write) && self.at.require_whole_project().is_ok(),
                admin: may(Scope::Admin),
            },
            theme: self.theme,
            csrf: self.secret.form_token(),
            here: self.here.clone(),
            now: api.clock.now(),
            live: None,
            assets: Assets::ours(),
        }
    }

    /// The same, for a page that follows what happens in the project.
    pub(super) fn live_shell(&self, api: &Api, section: Section, title: impl Into<String>) -> Shell {
        Shell { live: Some("/live".to_owned()), ..self.shell(api, section, title) }
    }

    /// A run that the visitor may see. Addresses of runs are handed around: for whoever reaches several projects, it is
    /// shown in its own.
    pub(super) async fn find_run(&mut self, api: &Api, run: RunId) -> Result<Arc<CachedRun>, Problem> {
        let problem = match api.find_run(&self.at, run).await {
            Err(problem) if problem.status == 404 => problem,
            found => return found,
        };
        let Some(found) = api.store.run_by_id(run).await? else { return Err(problem) };
        let Some(project) = api.project_by_id(found.project).await? else { return Err(problem) };
        // There they may do what they may do there.
        let Some(caller) = self.who.caller_in(&project) else { return Err(problem) };
        self.at = InProject { caller, project };
        api.find_run(&self.at, run).await
    }
}
