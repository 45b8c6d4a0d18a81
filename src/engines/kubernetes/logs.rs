//! A pod's output, followed to its end.
//!
//! A log that is followed stalls when it is rotated, and ends when its kubelet is restarted. So it is opened again
//! after a silence, at the second of the last entry; entries of that second that were read already are skipped. A node
//! gives out only the latest of the files that it has rotated: what does not go on where the reading stopped has lost
//! something in between, and says so.
//!
//! stdout and stderr come merged, in the order in which they were written.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{AsyncRead, AsyncReadExt, StreamExt, stream};
use k8s_openapi::{api::core::v1::Pod, jiff};
use kube::api::LogParams;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    client::{Client, bounded, is},
    entries::{Entries, Entry},
    position::{Position, Sight},
    render::CONTAINER,
    status::{Look, is_released, look},
};
use crate::{
    domain::{AttemptId, Clock, SystemClock},
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
/// What a busy container runtime may still have to write when a container's end is told.
const TAIL: Duration = Duration::from_millis(250);

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
        drain: None,
    };
    stream::try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|frame| (frame, reader))) })
        .boxed()
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
    drain: Option<Drain>,
}

/// The reading of what an ended container has left.
#[derive(Debug, Clone, Copy)]
struct Drain {
    /// When its end was seen.
    since: Instant,
    /// When the present reading began.
    opened: Instant,
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
            let patience = if self.drain.is_some() { READ } else { self.patience };
            match (timeout(patience, source.read(&mut buffer)).await, self.drain) {
                (Ok(Ok(0)), Some(Drain { since, opened })) => {
                    self.take(true)?;
                    if self.read.is_gone() {
                        return Err(rotated());
                    }
                    if opened >= since + TAIL {
                        return Ok(self.ready.pop_front());
                    }
                    sleep_until(since + TAIL).await;
                    self.open_again().await?;
                }
                (Ok(Ok(0)), None) => self.open_again().await?,
                (Ok(Ok(length)), _) => {
                    self.patience = SILENCE;
                    self.entries.push(&buffer[..length]);
                    self.take(false)?;
                }
                (Ok(Err(error)), _) => return Err(broken(error.to_string())),
                (Err(_), Some(_)) => return Err(broken("it stopped in the middle".to_owned())),
                (Err(_), None) => {
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
                Entry::Output(time, bytes) => match self.read.see(time) {
                    Sight::New => self.ready.push_back(LogFrame { time, source: LogSource::Stdout, bytes }),
                    Sight::Known => {}
                    Sight::BehindGap => return Err(rotated()),
                },
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
        if pods.first().is_none_or(|pod| !is_live(pod)) {
            self.drain();
        }
        (self.source, self.entries) = (None, Entries::default());
        self.read.open_again();
        Ok(())
    }

    fn drain(&mut self) {
        let now = Instant::now();
        self.drain = Some(Drain { since: self.drain.map_or(now, |drain| drain.since), opened: now });
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
                self.drain();
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
            follow: self.drain.is_none(),
            timestamps: true,
            since_time: self.read.second().and_then(|second| jiff::Timestamp::from_second(second).ok()),
            ..LogParams::default()
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match bounded("read the pod's log", api.log_stream(name, &parameters)).await {
            Ok(source) => Ok(Opened::Source(Box::pin(source))),
            Err(error) if is(&error, &[404]) => Ok(Opened::Gone),
            // Between its start and the kubelet's knowledge of it.
            Err(error) if is(&error, &[400]) && self.drain.is_none() => Ok(Opened::NotYet),
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

/// No further reading brings it back.
fn rotated() -> EngineError {
    let text =
        "the node has rotated some of it away before it was read: let its kubelet keep more (containerLogMaxSize)";
    EngineError::new(EngineErrorKind::OutputLost, Persistence::Permanent, "read the pod's log", text)
}
