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
    auth::{Caller, SessionSecret},
    domain::{Name, Project, RunId, Scope},
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
        let caller = api.auth.session(&secret).await?.ok_or_else(then)?;
        let chosen = cookies::get(&parts.headers, cookies::PROJECT).and_then(|name| name.parse().ok());
        let project = project_of(api, &caller, chosen).await?;
        let projects = match caller.is_instance_admin() {
            false => Vec::new(),
            true => api.store.projects().await?.into_iter().map(|(project, _)| project.name).collect(),
        };
        let projects = if projects.len() > 1 { projects } else { Vec::new() };
        Ok(Self {
            at: InProject { caller, project },
            secret,
            secure,
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

/// A token's own project; for one of the whole installation, the chosen one if there is such a project.
async fn project_of(api: &Api, caller: &Caller, chosen: Option<Name>) -> Result<Arc<Project>, Problem> {
    if let Some(own) = caller.token().project {
        return api.project_by_id(own).await?.ok_or_else(Problem::unauthorized);
    }
    if let Some(name) = chosen
        && let Some(project) = api.project_by_name(&name).await?
    {
        return Ok(project);
    }
    api.project_by_name(&Name::default_project()).await?.ok_or_else(|| Problem::not_found("project"))
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

    /// A run that the visitor may see. Addresses of runs are handed around: for whoever reaches all projects, it is
    /// shown in its own.
    pub(super) async fn find_run(&mut self, api: &Api, run: RunId) -> Result<Arc<CachedRun>, Problem> {
        match api.find_run(&self.at, run).await {
            Err(problem) if problem.status == 404 && self.at.caller.token().project.is_none() => {
                let found = api.store.run_by_id(run).await?.ok_or(problem)?;
                let project = api.project_by_id(found.project).await?;
                self.at.project = project.ok_or_else(|| Problem::not_found("run"))?;
                api.find_run(&self.at, run).await
            }
            found => found,
        }
    }
}
