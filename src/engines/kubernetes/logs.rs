//! A pod's output, followed to its end.
//!
//! A log that is followed stalls when it is rotated, and ends when its kubelet is restarted. So it is opened again
//! after a silence, at the second of the last entry; entries of that second that were read already are skipped.
//!
//! stdout and stderr come merged, in the order in which they were written.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{AsyncRead, AsyncReadExt, StreamExt, stream};
use k8s_openapi::{api::core::v1::Pod, jiff};
use kube::api::LogParams;
use tokio::time::{sleep, timeout};

use super::{
    client::{Client, bounded, is},
    entries::{Entries, Entry},
    render::CONTAINER,
    status::{Look, is_released, look},
};
use crate::{
    domain::{AttemptId, Clock, SystemClock, Timestamp},
    engines::{EngineError, EngineErrorKind, LogFrame, LogSource, LogStream, Persistence, WorkloadPhase},
};

/// After so long without output it is opened again; twice as long after each time that nothing had come.
const SILENCE: Duration = Duration::from_secs(20);
const LONGEST_SILENCE: Duration = Duration::from_secs(300);
/// Between two looks at a pod that has not begun.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest time for the next piece of what is there already.
const READ: Duration = Duration::from_secs(15);

type Source = std::pin::Pin<Box<dyn AsyncRead + Send>>;

/// The whole output, followed to its end.
pub(super) fn follow(client: Arc<Client>, attempt: AttemptId) -> LogStream {
    let reader = Reader {
        client,
        attempt,
        source: None,
        entries: Entries::default(),
        ready: VecDeque::new(),
        read: Position::default(),
        patience: SILENCE,
        draining: false,
    };
    stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(frame)) => Some((Ok(frame), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

/// How far a log was read.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// The latest second in which something was written.
    second: Option<i64>,
    /// How many entries of it were read.
    entries: usize,
    /// How many of those come again after the log was opened again.
    to_skip: usize,
}

impl Position {
    /// Whether the entry of this time is a new one.
    fn is_new(&mut self, time: Timestamp) -> bool {
        let second = time.as_micros().div_euclid(1_000_000);
        if self.second == Some(second) && self.to_skip > 0 {
            self.to_skip -= 1;
            return false;
        }
        match self.second {
            Some(latest) if second < latest => {}
            Some(latest) if second == latest => self.entries += 1,
            _ => *self = Self { second: Some(second), entries: 1, to_skip: 0 },
        }
        true
    }

    fn open_again(&mut self) {
        self.to_skip = self.entries;
    }
}

struct Reader {
    client: Arc<Client>,
    attempt: AttemptId,
    source: Option<Source>,
    entries: Entries,
    /// Read, and not yet given out.
    ready: VecDeque<LogFrame>,
    read: Position,
    patience: Duration,
    /// Whether the container has ended, and its output is read to the end, no longer followed.
    draining: bool,
}

/// What opening a log came to.
enum Opened {
    Source(Source),
    NotYet,
    Gone,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<LogFrame>, EngineError> {
        let mut pause = PAUSE;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            let Some(source) = &mut self.source else {
                match self.open().await? {
                    Opened::Source(source) => self.source = Some(source),
                    Opened::Gone => return Ok(None),
                    Opened::NotYet => {
                        sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
                continue;
            };
            let patience = if self.draining { READ } else { self.patience };
            match timeout(patience, source.read(&mut buffer)).await {
                Ok(Ok(0)) if self.draining => {
                    self.take(true)?;
                    return Ok(self.ready.pop_front());
                }
                Ok(Ok(0)) => self.open_again().await?,
                Ok(Ok(length)) => {
                    self.patience = SILENCE;
                    self.entries.push(&buffer[..length]);
                    self.take(false)?;
                }
                Ok(Err(error)) => return Err(broken(error.to_string())),
                Err(_) if self.draining => return Err(broken("it stopped in the middle".to_owned())),
                Err(_) => {
                    self.patience = (self.patience * 2).min(LONGEST_SILENCE);
                    self.open_again().await?;
                }
            }
        }
    }

    /// Gives out what has come whole.
    fn take(&mut self, ended: bool) -> Result<(), EngineError> {
        while let Some(entry) = self.entries.next(ended) {
            match entry {
                Entry::Output(time, bytes) if self.read.is_new(time) => {
                    self.ready.push_back(LogFrame { time, source: LogSource::Stdout, bytes });
                }
                Entry::Output(..) => {}
                // The container was taken away while it was read.
                Entry::Complaint(_) if !ended => return Ok(()),
                Entry::Complaint(text) => return Err(broken(text)),
            }
        }
        Ok(())
    }

    /// Begins anew behind what was read; what had not come whole comes again.
    async fn open_again(&mut self) -> Result<(), EngineError> {
        let pods = needed_pods(&self.client, self.attempt).await?;
        self.draining = pods.first().is_none_or(|pod| !is_live(pod));
        (self.source, self.entries) = (None, Entries::default());
        self.read.open_again();
        Ok(())
    }

    async fn open(&mut self) -> Result<Opened, EngineError> {
        let pods = needed_pods(&self.client, self.attempt).await?;
        let Some(pod) = pods.first() else {
            let job = self.client.job(self.attempt.workload_name().as_str()).await?;
            return Ok(if job.is_some() { Opened::NotYet } else { Opened::Gone });
        };
        let has_begun = match look(pod, SystemClock.now()) {
            Look::Is(WorkloadPhase::Running(_)) => true,
            Look::Is(WorkloadPhase::Exited(exit)) if exit.started_at.is_none() => return Ok(Opened::Gone),
            Look::Is(WorkloadPhase::Exited(_)) => {
                self.draining = true;
                true
            }
            _ => false,
        };
        if !has_begun {
            return Ok(Opened::NotYet);
        }
        let api = self.client.api::<Pod>().await?;
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: !self.draining,
            timestamps: true,
            since_time: self.read.second.and_then(|second| jiff::Timestamp::from_second(second).ok()),
            ..LogParams::default()
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match bounded("read the pod's log", api.log_stream(name, &parameters)).await {
            Ok(source) => Ok(Opened::Source(Box::pin(source))),
            Err(error) if is(&error, &[404]) => Ok(Opened::Gone),
            // Between its start and the kubelet's knowledge of it.
            Err(error) if is(&error, &[400]) && !self.draining => Ok(Opened::NotYet),
            Err(mut error) => {
                error.persistence = Persistence::Temporary;
                Err(error)
            }
        }
    }
}

async fn needed_pods(client: &Client, attempt: AttemptId) -> Result<Vec<Pod>, EngineError> {
    let mut pods = client.pods_of(attempt).await?;
    pods.retain(|pod| !is_released(pod));
    Ok(pods)
}

fn is_live(pod: &Pod) -> bool {
    matches!(look(pod, SystemClock.now()), Look::Is(WorkloadPhase::Running(_)))
}

fn broken(text: String) -> EngineError {
    EngineError::new(EngineErrorKind::Internal, Persistence::Temporary, "read the pod's log", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_skipped() {
        let at = |seconds: i64, part: i64| Timestamp::from_micros(seconds * 1_000_000 + part);
        let mut position = Position::default();
        assert!([at(5, 1), at(6, 1), at(6, 2), at(5, 9)].into_iter().all(|time| position.is_new(time)));
        position.open_again();
        assert!(!position.is_new(at(6, 1)));
        assert!(!position.is_new(at(6, 2)));
        assert!(position.is_new(at(6, 3)));
        position.open_again();
        let new: Vec<_> = [at(6, 1), at(6, 2), at(6, 3), at(6, 4), at(7, 0)].map(|time| position.is_new(time)).to_vec();
        assert_eq!(new, [false, false, false, true, true]);
    }
}
