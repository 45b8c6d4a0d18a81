//! A task's output.

use std::{sync::Arc, time::Duration};

use bollard::{container::LogOutput, errors::Error};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::{sleep, timeout};

use super::{
    read::{Reading, has_ended, read},
    snapshot::{Cluster, POLL, container},
};
use crate::engines::{
    EngineError, Handle, LogFrame, LogStream,
    docker_api::{
        client::{Client, QUICK},
        errors::{self, classify},
        output::{Decoder, whole_output},
    },
};

type Frames = BoxStream<'static, Result<LogOutput, Error>>;

/// The whole output. It is followed while the task runs; following never ends by itself, so once the task has ended it
/// is read again, unfollowed, from where it was.
pub(super) fn follow(client: Arc<Client>, cluster: Arc<Cluster>, handle: Handle) -> LogStream {
    let first =
        Reader { client, cluster, handle, max_age: Duration::ZERO, task: None, read: 0, decoder: Decoder::default() };
    stream::try_unfold((first, None), |(mut reader, mut frames)| async move {
        Ok(reader.next(&mut frames).await?.map(|frame| (frame, (reader, frames))))
    })
    .boxed()
}

struct Reader {
    client: Arc<Client>,
    cluster: Arc<Cluster>,
    handle: Handle,
    /// How old what is known of the task may be.
    max_age: Duration,
    /// The task that is read: a second execution is no part of the first one's output.
    task: Option<String>,
    /// How many frames were read so far.
    read: usize,
    decoder: Decoder,
}

/// A reading under way.
struct Open {
    frames: Frames,
    /// Whether the task had ended before it began: then it ends, and is whole.
    whole: bool,
}

/// How the task stands that is read.
enum Stand {
    Gone,
    NotYet,
    Runs(String),
    Ended(String),
}

impl Reader {
    async fn next(&mut self, open: &mut Option<Open>) -> Result<Option<LogFrame>, EngineError> {
        loop {
            let Some(Open { frames, whole }) = open else {
                match self.stand().await? {
                    Stand::Gone => return Ok(None),
                    Stand::NotYet => sleep(POLL).await,
                    Stand::Runs(task) => *open = Some(self.open(task, false).await?),
                    Stand::Ended(task) => *open = Some(self.open(task, true).await?),
                }
                continue;
            };
            match timeout(if *whole { QUICK } else { POLL }, frames.next()).await {
                Ok(Some(Ok(output))) => {
                    self.read += 1;
                    if let Some(frame) = self.decoder.decode(output) {
                        return Ok(Some(frame));
                    }
                }
                Ok(None) if *whole => return Ok(None),
                // The manager may stop following for reasons of its own.
                Ok(None) => {
                    *open = None;
                    sleep(POLL).await;
                }
                // Removed: there is nothing more to read, ever.
                Ok(Some(Err(error))) if errors::status(&error) == Some(404) => return Ok(None),
                Ok(Some(Err(error))) => return Err(classify("read the task's output", error)),
                Err(_) if *whole => return Err(classify("read the task's output", Error::RequestTimeoutError)),
                Err(_) => match self.stand().await? {
                    Stand::Gone => return Ok(None),
                    Stand::Ended(_) => *open = None,
                    Stand::Runs(_) | Stand::NotYet => {}
                },
            }
        }
    }

    async fn stand(&mut self) -> Result<Stand, EngineError> {
        let snapshot = self.cluster.snapshot(self.max_age).await?;
        self.max_age = POLL / 2;
        let Some(workload) = snapshot.of(&self.handle) else { return Ok(Stand::Gone) };
        let task = match &self.task {
            Some(id) => workload.tasks.iter().find(|task| task.id.as_ref() == Some(id)),
            None => workload.task(),
        };
        Ok(match task {
            None if workload.stopped || self.task.is_some() => Stand::Gone,
            None => Stand::NotYet,
            Some(task) => match (container(task).and(task.id.clone()), has_ended(task)) {
                (Some(id), true) => Stand::Ended(id),
                (Some(id), false) => Stand::Runs(id),
                // Without an image it may be tried again.
                (None, true) if !matches!(read(workload, None), Reading::NoImage { .. }) => Stand::Gone,
                (None, true) if workload.stopped => Stand::Gone,
                (None, _) => Stand::NotYet,
            },
        })
    }

    async fn open(&mut self, task: String, whole: bool) -> Result<Open, EngineError> {
        // The first answer may wait for the first output.
        let docker = self.client.docker(QUICK).await.map_err(|error| classify("read the task's output", error))?;
        let docker = docker.with_timeout(Duration::from_secs(365 * 86_400));
        // A second reading gives the same frames again.
        let frames = docker.task_logs(&task, Some(whole_output(!whole))).skip(self.read).boxed();
        self.task = Some(task);
        Ok(Open { frames, whole })
    }
}
