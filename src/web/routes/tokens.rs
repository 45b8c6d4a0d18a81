//! Tokens: made, listed, revoked.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect},
};
use serde::Deserialize;

use super::{
    Answer, ROWS, Visitor, Web,
    forms::{Fields, Posted},
    pages::{NewToken, Section, TokenRow, TokensPage},
};
use crate::{
    api::{
        Api, Problem,
        extract::{Body, Part, Query as ApiQuery},
        tokens::{self, RevokeQuery},
        types::TokenRequest,
    },
    domain::{Scope, Timestamp, TokenId},
    web::{format::Ago, refusal::page},
};

/// Which tokens.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct ListQuery {
    before: Option<TokenId>,
}

/// The project's.
pub(in crate::web) async fn list(State(web): State<Web>, visitor: Visitor, Query(query): Query<ListQuery>) -> Answer {
    page(&listed(&web.api, &visitor, query.before).await?)
}

async fn listed(api: &Api, visitor: &Visitor, before: Option<TokenId>) -> Result<TokensPage, Problem> {
    let at = &visitor.at;
    tokens::require_admin(at, false)?;
    let shell = visitor.shell(api, Section::Tokens, "Tokens");
    let mut found = api.store.tokens(Some(at.project.id), before, ROWS + 1).await?;
    let more = found.len() > ROWS as usize;
    found.truncate(ROWS as usize);
    let next = found.last().filter(|_| more).map(|token| format!("/tokens?before={}", token.id));
    let rows = found.iter().map(|token| TokenRow {
        id: token.id,
        name: token.name.to_string(),
        scopes: token.scopes.iter().map(|scope| scope.as_str()).collect(),
        jobs: token.jobs.len(),
        created: Ago::new(token.created_at, shell.now),
        expires: token.expires_at.map(|at| Ago::new(at, shell.now)),
        valid: token.is_valid(shell.now),
        own: at.caller.token().is_some_and(|own| own.id == token.id),
    });
    Ok(TokensPage { tokens: rows.collect(), next, made: None, errors: Vec::new(), shell })
}

/// Makes one. The answer is the page itself, not the way to it: the secret is nowhere but in this answer.
pub(in crate::web) async fn create(State(web): State<Web>, Posted { visitor, fields }: Posted) -> Answer {
    let made = match request(&fields, web.api.clock.now()) {
        Ok(request) => tokens::create(State(web.api.clone()), visitor.at.clone(), Body(request)).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok((_, Json(made))) => {
            let listed = listed(&web.api, &visitor, None).await?;
            let made = NewToken { name: made.token.name.to_string(), secret: made.secret };
            page(&TokensPage { made: Some(made), ..listed })
        }
        Err(problem) if !problem.errors.is_empty() => {
            let errors = problem.errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
            let mut response = page(&TokensPage { errors, ..listed(&web.api, &visitor, None).await? })?;
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
        Err(problem) => Err(problem.into()),
    }
}

fn request(fields: &Fields, now: Timestamp) -> Result<TokenRequest, Problem> {
    let scopes = [Scope::Read, Scope::Trigger, Scope::Write, Scope::Admin];
    let days: Option<u32> = fields.number("days")?;
    Ok(TokenRequest {
        name: fields.text("name").parse().map_err(|error| Problem::invalid_field("/name", format!("{error}")))?,
        scopes: scopes.into_iter().filter(|scope| fields.text(scope.as_str()) == "true").collect(),
        jobs: fields.text("jobs").split_whitespace().map(str::to_owned).collect(),
        expires_at: days.map(|days| now.plus(Duration::from_secs(u64::from(days) * 86_400))),
        instance: false,
    })
}

/// Revokes one of the project's.
pub(in crate::web) async fn revoke(
    State(web): State<Web>,
    Path(token): Path<String>,
    Posted { visitor, .. }: Posted,
) -> Answer {
    let token: TokenId = token.parse().map_err(|_| Problem::not_found("token"))?;
    let of_project = ApiQuery(RevokeQuery { instance: false });
    tokens::revoke(State(web.api.clone()), visitor.at, Part(token), of_project).await?;
    Ok(Redirect::to("/tokens").into_response())
}
