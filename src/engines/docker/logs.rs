//! A container's output, as Docker gives it.

use std::{sync::Arc, time::Duration};

use bollard::{container::LogOutput, errors::Error};
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::timeout;

use crate::engines::docker_api::{
    client::{Client, QUICK},
    errors::{self, classify},
    output::{Decoder, whole_output},
};
use crate::engines::{EngineError, LogFrame, LogStream};

/// After so long without output it is asked whether the container has ended: the daemon's stream may not tell. Twice
/// as long after each time that it had not, up to the longest.
const SILENCE: Duration = Duration::from_secs(5);
const LONGEST_SILENCE: Duration = Duration::from_secs(80);
/// What the daemon may still have to write after the end.
const TAIL: Duration = Duration::from_secs(2);

pub(super) type Frames = BoxStream<'static, Result<LogOutput, Error>>;

/// The whole output, followed to its end.
pub(super) fn follow(client: Arc<Client>, container: String) -> LogStream {
    let first = Reader {
        client,
        container,
        frames: None,
        read: 0,
        patience: SILENCE,
        draining: false,
        decoder: Decoder::default(),
    };
    stream::try_unfold(first, |mut reader| async move {
        let frame = reader.next().await.or_else(breakdown)?;
        Ok(frame.map(|frame| (frame, reader)))
    })
    .boxed()
}

/// What becomes of a reading that went wrong: if the container was removed, there is nothing more to read, ever.
pub(super) fn breakdown(error: Error) -> Result<Option<LogFrame>, EngineError> {
    if errors::status(&error) == Some(404) { Ok(None) } else { Err(classify("read the container's output", error)) }
}

struct Reader {
    client: Arc<Client>,
    container: String,
    frames: Option<Frames>,
    /// How many frames were read so far.
    read: usize,
    /// How long the next silence may last.
    patience: Duration,
    /// Whether the container has ended and its output is read to the end, no longer followed.
    draining: bool,
    decoder: Decoder,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<LogFrame>, Error> {
        loop {
            let Some(frames) = &mut self.frames else {
                let open = open(&self.client, &self.container, !self.draining).await?;
                // A second reading gives the same frames again.
                self.frames = Some(open.skip(self.read).boxed());
                continue;
            };
            let patience = if self.draining { QUICK } else { self.patience };
            match timeout(patience, frames.next()).await {
                Ok(Some(output)) => {
                    self.read += 1;
                    self.patience = SILENCE;
                    if let Some(frame) = self.decoder.decode(output?) {
                        return Ok(Some(frame));
                    }
                }
                Ok(None) => return Ok(None),
                Err(_) if self.draining => return Err(Error::RequestTimeoutError),
                Err(_) if Self::has_ended(&self.client, &self.container).await? => {
                    let Some(frames) = &mut self.frames else { continue };
                    if let Ok(Some(output)) = timeout(TAIL, frames.next()).await {
                        self.read += 1;
                        if let Some(frame) = self.decoder.decode(output?) {
                            return Ok(Some(frame));
                        }
                    } else {
                        self.draining = true;
                        self.frames = None;
                    }
                }
                Err(_) => self.patience = (self.patience * 2).min(LONGEST_SILENCE),
            }
        }
    }

    async fn has_ended(client: &Client, container: &str) -> Result<bool, Error> {
        let found = client.inspect(container).await?;
        Ok(found.and_then(|found| found.state).is_none_or(|state| state.running != Some(true)))
    }
}

pub(super) async fn open(
    client: &Client,
    container: &str,
    follow: bool,
) -> Result<impl Stream<Item = Result<LogOutput, Error>> + Send + use<>, Error> {
    // The first answer may wait for the first output.
    let docker = client.docker(QUICK).await?.with_timeout(Duration::from_secs(365 * 86_400));
    Ok(docker.logs(container, Some(whole_output(follow))))
}
