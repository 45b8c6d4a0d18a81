//! The daemon's events, as hints to look.

use std::{collections::HashMap, time::Duration};

use bollard::{errors::Error, models::EventMessage, query_parameters::EventsOptions};
use futures::{
    StreamExt, TryStreamExt, future,
    stream::{self, BoxStream},
};
use tokio::time::sleep;

use super::DockerEngine;
use crate::{
    domain::{Clock, InstallationId, SystemClock, WorkloadName},
    engines::{Change, docker_api::client::QUICK, label},
};

/// How long one stream lasts: a connection that is broken without a sign must not be waited on for ever.
const LONGEST: Duration = Duration::from_secs(300);
/// How far back a stream begins, so that nothing is missed between the opening and the daemon's subscription.
const OVERLAP: Duration = Duration::from_secs(5);

impl DockerEngine {
    pub(super) fn watch_events(&self) -> BoxStream<'static, Change> {
        let (client, running_since, owner) = (self.client.clone(), self.running_since.clone(), self.owner);
        let mut filters = HashMap::from([("type".to_owned(), vec!["container".to_owned()])]);
        if !self.podman {
            filters.insert("label".to_owned(), vec![format!("{}={owner}", label::OWNER)]);
            let events = ["start", "die", "oom", "destroy"].map(str::to_owned);
            filters.insert("event".to_owned(), events.to_vec());
        }
        let since = SystemClock.now().minus(OVERLAP).as_micros() / 1_000_000;
        let options = EventsOptions { since: Some(since.to_string()), until: None, filters: Some(filters) };
        stream::once(async move {
            // The daemon's first answer comes with its first event.
            let docker = client.docker(QUICK).await?.with_timeout(LONGEST);
            Ok::<_, Error>(docker.events(Some(options)))
        })
        .try_flatten()
        .take_while(|event| future::ready(event.is_ok()))
        .filter_map(move |event| {
            let event = event.ok().filter(|event| concerns(event, owner));
            if let Some(id) = event.as_ref().and_then(|event| event.actor.as_ref()?.id.as_deref()) {
                running_since.remove(id);
            }
            future::ready(event.as_ref().and_then(change))
        })
        .take_until(sleep(LONGEST))
        .boxed()
    }
}

/// Whether the event is about one of our containers, and of a kind that changes how it stands.
fn concerns(event: &EventMessage, owner: InstallationId) -> bool {
    let matters = matches!(
        event.action.as_deref(),
        Some("start" | "die" | "died" | "oom" | "destroy" | "remove" | "kill" | "stop" | "cleanup")
    );
    let labelled = event
        .actor
        .as_ref()
        .and_then(|actor| actor.attributes.as_ref())
        .and_then(|attributes| attributes.get(label::OWNER));
    matters && labelled.is_none_or(|label| *label == owner.to_string())
}

fn change(event: &EventMessage) -> Option<Change> {
    let attributes = event.actor.as_ref()?.attributes.as_ref()?;
    WorkloadName::attempt(attributes.get("name")?).map(Change::Workload)
}
