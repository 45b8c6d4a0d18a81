//! A workload's output as a stream.

use std::{collections::VecDeque, time::Duration};

use futures::{StreamExt, stream};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, timeout_at},
};

use super::{
    blocking,
    output::Reader,
    rundir::{RunDir, Status},
    watch::Watch,
};
use crate::{
    domain::AttemptId,
    engines::{EngineError, LogFrame, LogStream},
};

/// How long the first silence lasts before there is another look; each further one twice as long, up to the longest.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(500);

pub(super) fn follow(dir: RunDir, attempt: AttemptId, watch: &Watch) -> LogStream {
    let reader = Reader::new(dir.path());
    let first = Follower { dir, attempt, changes: watch.listen(), reader, frames: VecDeque::new(), ended: false };
    stream::try_unfold(first, |mut follower| async move { Ok(follower.next().await?.map(|frame| (frame, follower))) })
        .boxed()
}

struct Follower {
    dir: RunDir,
    attempt: AttemptId,
    changes: Receiver<AttemptId>,
    reader: Reader,
    frames: VecDeque<LogFrame>,
    /// Whether all that will ever be written is there.
    ended: bool,
}

impl Follower {
    async fn next(&mut self) -> Result<Option<LogFrame>, EngineError> {
        let mut patience = SHORTEST;
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(Some(frame));
            }
            if !self.read().await? {
                if self.ended {
                    return Ok(None);
                }
                self.wait(patience).await;
                patience = (patience * 2).min(LONGEST);
            }
        }
    }

    /// Takes what is there; `false`: nothing.
    async fn read(&mut self) -> Result<bool, EngineError> {
        let (dir, known) = (self.dir.clone(), self.ended);
        let mut reader = std::mem::replace(&mut self.reader, Reader::new(self.dir.path()));
        let (reader, frames, ended) = blocking("read the output", move || {
            // Asked first: what is read afterwards is then all there is.
            let ended = known || has_ended(&dir)?;
            let frames = reader.read()?;
            Ok((reader, frames, ended))
        })
        .await?;
        (self.reader, self.frames, self.ended) = (reader, frames, ended);
        Ok(!self.frames.is_empty())
    }

    /// For a while, or until something happens with the workload.
    async fn wait(&mut self, longest: Duration) {
        let until = Instant::now() + longest;
        loop {
            match timeout_at(until, self.changes.recv()).await {
                Ok(Ok(attempt)) if attempt != self.attempt => {}
                Ok(Err(RecvError::Closed)) | Err(_) => return tokio::time::sleep_until(until).await,
                Ok(_) => return,
            }
        }
    }
}

/// Whether nothing more will be written.
fn has_ended(dir: &RunDir) -> std::io::Result<bool> {
    // In this order: a shim writes the end down before it goes.
    let alive = dir.shim()?.is_some();
    Ok(match dir.status()? {
        Some(Status::Ended(_)) => true,
        Some(_) => !alive,
        None => !alive && dir.labels()?.is_none(),
    })
}
