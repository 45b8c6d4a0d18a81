//! Runs, filtered.

use axum::extract::{Query, State};
use serde::Deserialize;

use super::{
    Answer, ROWS, Visitor, Web,
    pages::{RunRow, RunsFilter, RunsPage, Section},
};
use crate::{
    api::runs,
    domain::RunId,
    store::{RunFilter, RunPage},
    web::{query_escape, refusal::page},
};

/// Which runs: as the API has it, with one of each.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(in crate::web) struct ListQuery {
    job: String,
    state: String,
    label: String,
    source: String,
    before: Option<RunId>,
}

/// The newest first.
pub(in crate::web) async fn list(State(web): State<Web>, visitor: Visitor, Query(query): Query<ListQuery>) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require_runs()?;
    let later = query.before.is_some();
    let shell = match later {
        true => visitor.shell(api, Section::Runs, "Runs"),
        false => visitor.live_shell(api, Section::Runs, "Runs"),
    };
    let job = Some(query.job.trim()).filter(|job| !job.is_empty());
    let found = match api.filter_of(at, job).await {
        // Whoever types a name that does not exist looks for nothing that is there.
        Err(problem) if problem.status == 404 => RunPage { runs: Vec::new(), next: None },
        filter => {
            let filter = RunFilter {
                states: runs::states(Some(&query.state))?,
                labels: runs::pairs("label", Some(query.label.trim()))?,
                source: runs::pairs("source", Some(query.source.trim()))?,
                ..filter?
            };
            api.store.runs(&filter, query.before, ROWS).await?
        }
    };
    let next = found.next.map(|before| {
        let (job, state) = (query_escape(&query.job), query_escape(&query.state));
        let (label, source) = (query_escape(&query.label), query_escape(&query.source));
        format!("/runs?job={job}&state={state}&label={label}&source={source}&before={before}")
    });
    page(&RunsPage {
        filter: RunsFilter {
            state: runs::states(Some(&query.state))?.into_iter().next(),
            job: query.job,
            label: query.label,
            source: query.source,
        },
        runs: found.runs.iter().map(|run| RunRow::of(run, shell.now)).collect(),
        next,
        later,
        shell,
    })
}
