//! Changes of runs, as they happen.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use super::{Api, Problem, extract::InProject, views};

/// Changes of the project's runs as server-sent events: `run` with the whole run, or `missed` when the listener was
/// too slow and should list the runs anew.
#[utoipa::path(get, path = "/events/stream", operation_id = "streamRuns", tag = "runs",
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String),
              (status = "default", body = Problem)))]
pub(super) async fn stream(
    State(api): State<Api>,
    at: InProject,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    at.require_runs()?;
    let end = api.shutdown.clone();
    let changes = BroadcastStream::new(api.runner.hub().subscribe()).filter_map(move |change| {
        let event = match change {
            Err(BroadcastStreamRecvError::Lagged(missed)) => {
                Some(Event::default().event("missed").data(missed.to_string()))
            }
            Ok(change) => {
                let run = &change.run;
                let meant = run.project == at.project.id && at.caller.reaches(run.job);
                let view = meant.then(|| views::run(&at.project.name, run, None, api.clock.now()));
                view.and_then(|view| Event::default().event("run").id(run.id.to_string()).json_data(view).ok())
            }
        };
        std::future::ready(event.map(Ok))
    });
    Ok(Sse::new(changes.take_until(end.cancelled_owned()))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
