//! A container's output, as Podman gives it.
//!
//! Podman's followed stream is right while the container runs. From its end on the stream drops whatever is still to
//! come, line by line and by chance: most of a rush of output, and then some more of it, so that not even the place of
//! the loss can be told. Read without following, the output is whole. So what was followed counts only once the
//! container has been seen running afterwards, and the rest is read after its end.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bollard::{container::LogOutput, errors::Error};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::logs::{Frames, breakdown, open};
use crate::engines::{
    LogFrame, LogStream,
    docker_api::{
        client::{Client, QUICK},
        output::Decoder,
    },
};

/// After so long without output it is asked whether the container still runs: the stream may not tell.
const SILENCE: Duration = Duration::from_secs(30);
/// For how long output is gathered before that is asked, and about how much of it at the most.
const GATHER: Duration = Duration::from_millis(200);
const GATHER_BYTES: usize = 1 << 20;

/// The whole output, followed to its end.
pub(super) fn follow(client: Arc<Client>, container: String) -> LogStream {
    let first = Reader {
        client,
        container,
        stage: Stage::Unknown,
        read: 0,
        certain: VecDeque::new(),
        decoder: Decoder::default(),
    };
    stream::try_unfold(first, |mut reader| async move {
        let frame = reader.next().await.or_else(breakdown)?;
        Ok(frame.map(|frame| (frame, reader)))
    })
    .boxed()
}

struct Reader {
    client: Arc<Client>,
    container: String,
    stage: Stage,
    /// How many frames count so far.
    read: usize,
    /// Those of them that wait to be handed over.
    certain: VecDeque<LogOutput>,
    decoder: Decoder,
}

enum Stage {
    /// Nothing is open.
    Unknown,
    /// The followed output of a container that ran when this was opened.
    Following(Frames),
    /// The output of a container that has ended.
    Whole(Frames),
}

/// What came in one go.
#[derive(Default)]
struct Batch {
    frames: Vec<LogOutput>,
    /// Whether the stream has ended with it.
    last: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<LogFrame>, Error> {
        loop {
            if let Some(output) = self.certain.pop_front() {
                if let Some(frame) = self.decoder.decode(output) {
                    return Ok(Some(frame));
                }
                continue;
            }
            match &mut self.stage {
                Stage::Unknown => {
                    let ended = has_ended(&self.client, &self.container).await?;
                    self.reopen(ended).await?;
                }
                Stage::Following(frames) => {
                    let batch = gather(frames).await?;
                    if has_ended(&self.client, &self.container).await? {
                        self.reopen(true).await?;
                        continue;
                    }
                    if batch.last {
                        // For reasons of its own: not over and over at once.
                        sleep(GATHER).await;
                        self.stage = Stage::Unknown;
                    }
                    self.read += batch.frames.len();
                    self.certain.extend(batch.frames);
                }
                Stage::Whole(frames) => match timeout(QUICK, frames.next()).await {
                    Ok(Some(output)) => self.certain.push_back(output?),
                    Ok(None) => return Ok(None),
                    Err(_) => return Err(Error::RequestTimeoutError),
                },
            }
        }
    }

    /// Opens the output behind what counts already: a second reading gives the same frames again.
    async fn reopen(&mut self, ended: bool) -> Result<(), Error> {
        let frames = open(&self.client, &self.container, !ended).await?.skip(self.read).boxed();
        self.stage = if ended { Stage::Whole(frames) } else { Stage::Following(frames) };
        Ok(())
    }
}

/// Whether the container is there and has ended. Where it is gone, what was followed is all there will ever be.
async fn has_ended(client: &Client, container: &str) -> Result<bool, Error> {
    let found = client.inspect(container).await?;
    Ok(found.and_then(|found| found.state).is_some_and(|state| state.running != Some(true)))
}

/// Waits for output, and takes what comes with it.
async fn gather(frames: &mut Frames) -> Result<Batch, Error> {
    let mut batch = Batch::default();
    let (mut bytes, mut until) = (0, Instant::now() + SILENCE);
    while let Ok(next) = timeout_at(until, frames.next()).await {
        let Some(output) = next.transpose()? else {
            batch.last = true;
            break;
        };
        if batch.frames.is_empty() {
            until = Instant::now() + GATHER;
        }
        bytes += output.as_ref().len();
        batch.frames.push(output);
        if bytes >= GATHER_BYTES {
            break;
        }
    }
    Ok(batch)
}
