//! The cluster's watches, as hints to look.

use std::{sync::Arc, time::Duration};

use futures::{
    Stream, StreamExt, TryStreamExt, future,
    stream::{self, BoxStream},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{batch::v1::Job, core::v1::Pod},
};
use kube::{
    Resource,
    api::{PartialObjectMeta, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::{client::Client, observe::attempt_of};
use crate::engines::Change;

/// How long one watch lasts: a connection that is broken without a sign must not be waited on for ever.
const LONGEST: Duration = Duration::from_secs(280);

/// Changes of our pods and jobs. Each stream begins with all that is there, so that nothing is missed in between; an
/// error, like that of a watch that has fallen too far behind, ends it, and the next one begins anew.
pub(super) fn watch(client: Arc<Client>) -> BoxStream<'static, Change> {
    let pods = one::<Pod>(client.clone()).map(Some).chain(stream::once(future::ready(None)));
    let jobs = one::<Job>(client).map(Some).chain(stream::once(future::ready(None)));
    stream::select(pods.boxed(), jobs.boxed())
        .take_while(|change| future::ready(change.is_some()))
        .filter_map(|change| future::ready(change.flatten()))
        .take_until(sleep(LONGEST))
        .boxed()
}

/// Ends with the connection, or an error in it.
fn one<K>(client: Arc<Client>) -> impl Stream<Item = Option<Change>> + Send
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Send + 'static,
    K: std::fmt::Debug,
{
    let parameters =
        WatchParams::default().labels(&client.ours()).timeout(u32::try_from(LONGEST.as_secs()).unwrap_or(290));
    stream::once(async move {
        let api = client.api::<K>().await.map_err(|_| ())?;
        // From the server's present state.
        let events = api.watch_metadata(&parameters, "0").await.map_err(|_| ())?;
        Ok::<_, ()>(events.map_err(|_| ()))
    })
    .try_flatten()
    .take_while(|event| future::ready(!matches!(event, Err(()) | Ok(WatchEvent::Error(_)))))
    .map(|event| event.ok().and_then(|event| change(&event)))
}

fn change<K>(event: &WatchEvent<PartialObjectMeta<K>>) -> Option<Change> {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
            attempt_of(object.metadata.labels.as_ref()).map(Change::Workload)
        }
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => None,
    }
}
