//! Tells open pages that something changed, so that they look again.

use std::convert::Infallible;

use axum::{
    extract::{Query, State},
    response::{
        IntoResponse, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::StreamExt;
use serde::Deserialize;
use tokio_stream::wrappers::BroadcastStream;

use super::{Answer, Visitor, Web};
use crate::{
    domain::RunId,
    web::{KEEP_ALIVE, visitor::while_signed_in},
};

/// Whose changes.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct LiveQuery {
    /// Of this run alone.
    run: Option<RunId>,
}

/// Changes of the project's runs, or of one, without saying which: the page is asked for anew.
pub(in crate::web) async fn changes(
    State(web): State<Web>,
    mut visitor: Visitor,
    Query(query): Query<LiveQuery>,
) -> Answer {
    visitor.at.require_runs()?;
    if let Some(run) = query.run {
        visitor.find_run(&web.api, run).await?;
    }
    let (at, secret, end) = (visitor.at, visitor.secret, web.api.shutdown.clone());
    let changes = BroadcastStream::new(web.api.runner.hub().subscribe()).filter_map(move |change| {
        let meant = match &change {
            // Some were missed: they may have been meant.
            Err(_) => true,
            Ok(change) => {
                let run = &change.run;
                let asked = query.run.is_none_or(|id| id == run.id);
                asked && run.project == at.project.id && at.caller.reaches(run.job)
            }
        };
        std::future::ready(meant.then(|| Ok::<_, Infallible>(Event::default().event("change").data("{}"))))
    });
    let alive = KeepAlive::new().interval(KEEP_ALIVE);
    let answer = Sse::new(changes.take_until(end.cancelled_owned())).keep_alive(alive).into_response();
    Ok(while_signed_in(answer, &web, secret))
}
