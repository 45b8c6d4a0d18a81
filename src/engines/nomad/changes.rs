//! The servers' events, as hints to look.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::{Method, Response};
use tokio::time::{Instant, timeout_at};

use super::{
    client::Client,
    operation::{LIST_JOBS, WATCH},
    types::EventBatch,
};
use crate::{domain::WorkloadName, engines::Change};

/// How long one stream lasts: a connection that is broken without a sign must not be waited on for ever.
const LONGEST: Duration = Duration::from_secs(300);
/// As much as one message may hold.
const LARGEST: usize = 32 << 20;
/// How long a question may wait for a change, where there is no stream of events.
const WAIT: Duration = Duration::from_secs(20);

/// Ends with the connection.
pub(super) fn watch(client: Arc<Client>) -> BoxStream<'static, Change> {
    let deadline = Instant::now() + LONGEST;
    stream::once(async move {
        let request = client.request(Method::GET, "/v1/event/stream?topic=Allocation&topic=Job");
        let opened = timeout_at(deadline, client.send(WATCH, request)).await;
        match opened {
            Ok(Ok(response)) => events(response, deadline),
            // Servers before 1.0 have none, and a policy may forbid them.
            Ok(Err(refusal)) if refusal.status.is_some() => questions(client, deadline),
            _ => stream::empty().boxed(),
        }
    })
    .flatten()
    .boxed()
}

fn events(response: Response, deadline: Instant) -> BoxStream<'static, Change> {
    stream::unfold((response, BytesMut::new()), move |(mut response, mut buffer)| async move {
        let chunk = timeout_at(deadline, response.chunk()).await.ok()?.ok()??;
        buffer.extend_from_slice(&chunk);
        let changes = take(&mut buffer)?;
        (buffer.len() < LARGEST).then_some((stream::iter(changes), (response, buffer)))
    })
    .flatten()
    .boxed()
}

/// Takes the whole messages off the front, each on a line; `None`: what is there is no message.
fn take(buffer: &mut BytesMut) -> Option<Vec<Change>> {
    let whole = buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = buffer.split_to(whole);
    let mut changes = Vec::new();
    for message in serde_json::Deserializer::from_slice(&lines).into_iter::<EventBatch>() {
        changes.extend(message.ok()?.events.into_iter().flatten().filter_map(|event| {
            let names = std::iter::once(event.key).chain(event.filter_keys.into_iter().flatten());
            names.into_iter().find_map(|name| WorkloadName::attempt(&name)).map(Change::Workload)
        }));
    }
    Some(changes)
}

/// Asks for the jobs as soon as they are other than they were.
fn questions(client: Arc<Client>, deadline: Instant) -> BoxStream<'static, Change> {
    stream::unfold((client, None::<u64>), move |(client, index)| async move {
        let mut request = client.request(Method::GET, "/v1/jobs?prefix=r-").timeout(WAIT * 2);
        if let Some(index) = index {
            let wait = format!("{}s", WAIT.as_secs());
            request = request.query(&[("index", index.to_string()), ("wait", wait)]);
        }
        let response = timeout_at(deadline, client.send(LIST_JOBS, request)).await.ok()?.ok()?;
        let now = response.headers().get("x-nomad-index")?.to_str().ok()?.parse().ok()?;
        let changed = index.is_some_and(|index| index != now).then_some(Change::Everything);
        Some((stream::iter(changed), (client, Some(now))))
    })
    .flatten()
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AttemptId, RunId};

    #[test]
    fn messages_are_taken_whole_however_they_arrive() {
        let attempt = AttemptId { run: RunId::generate(), number: 1 };
        let name = attempt.workload_name();
        let text = format!(
            r#"{{}}{{"Index": 1, "Events": [{{"Topic": "Allocation", "Key": "a-b", "FilterKeys": ["{name}", ""]}}]}}
               {{}}
               {{"Index": 2, "Events": [{{"Topic": "Job", "Payload": [-1, 0.5e-3, "ü"], "Key": "{name}"}}, {{"Key": "theirs"}}]}}
"#
        );
        for size in 1..=text.len() {
            let mut buffer = BytesMut::new();
            let mut told = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                buffer.extend_from_slice(chunk);
                told.extend(take(&mut buffer).unwrap());
            }
            assert_eq!(told, [Change::Workload(attempt), Change::Workload(attempt)], "in pieces of {size}");
            assert!(buffer.is_empty());
        }
        assert!(take(&mut BytesMut::from("<html>\n")).is_none());
    }
}
