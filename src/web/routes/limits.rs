//! Limits: who holds them, who waits.

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect},
};
use serde::Deserialize;

use super::{
    Answer, ROWS, Visitor, Web,
    forms::Posted,
    pages::{LimitCard, LimitPage, LimitsPage, Meter, RunRow, Section},
};
use crate::{
    api::{
        Problem,
        extract::{Body, Part},
        limits,
        types::LimitRequest,
    },
    domain::{Limit, Name, Scope, Timestamp},
    web::{format::Ago, refusal::page},
};

/// Holders and waiting runs that are shown.
const SHOWN: u32 = 20;

/// Which limits.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct ListQuery {
    after: Option<Name>,
}

fn card(limit: &Limit, held: u32, now: Timestamp) -> LimitCard {
    LimitCard {
        name: limit.name.clone(),
        meter: Meter { held, capacity: limit.capacity },
        updated: Ago::new(limit.updated_at, now),
    }
}

/// By name.
pub(in crate::web) async fn list(State(web): State<Web>, visitor: Visitor, Query(query): Query<ListQuery>) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require(Scope::Read)?;
    let shell = visitor.live_shell(api, Section::Limits, "Limits");
    let mut found = api.store.limits(at.project.id, query.after.as_ref(), ROWS + 1).await?;
    let more = found.len() > ROWS as usize;
    found.truncate(ROWS as usize);
    let next = found.last().filter(|_| more).map(|(limit, _)| limit.name.clone());
    let limits = found.iter().map(|(limit, held)| card(limit, *held, shell.now)).collect();
    page(&LimitsPage { shell, limits, next })
}

/// One of them. Runs of jobs that the token does not reach are named by their id alone.
pub(in crate::web) async fn show(State(web): State<Web>, visitor: Visitor, Path(name): Path<String>) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require(Scope::Read)?;
    let missing = || Problem::not_found("limit");
    let name: Name = name.parse().map_err(|_| missing())?;
    let usage = api.store.limit(at.project.id, &name).await?.ok_or_else(missing)?;
    let shell = visitor.live_shell(api, Section::Limits, name.as_str());
    let mut holders = Vec::new();
    for (run, weight) in usage.holders.into_iter().take(SHOWN as usize) {
        let row = api.find_run(at, run).await.ok().map(|found| RunRow::of(&found.run, shell.now));
        holders.push((row, run, weight));
    }
    let queue = api.store.queue_of_limit(usage.limit.id, SHOWN).await?;
    let queue = queue.iter().filter(|run| at.caller.reaches(run.job)).map(|run| RunRow::of(run, shell.now)).collect();
    let limit = card(&usage.limit, usage.held, shell.now);
    page(&LimitPage { limit, holders, waiting: usage.waiting, queue, shell })
}

/// Makes one, or changes its capacity.
pub(in crate::web) async fn set(State(web): State<Web>, Posted { visitor, fields }: Posted) -> Answer {
    let name: Name =
        fields.text("name").parse().map_err(|error| Problem::invalid_field("/name", format!("{error}")))?;
    let capacity = fields.number("capacity")?.ok_or_else(|| Problem::invalid_field("/capacity", "give a number"))?;
    let request = LimitRequest { capacity };
    let _ = limits::set(State(web.api.clone()), visitor.at, Part(name.clone()), Body(request)).await?;
    Ok(Redirect::to(&format!("/limits/{name}")).into_response())
}
