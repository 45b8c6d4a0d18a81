//! Follows one attempt's output: frames → lines → reports and redaction → the log.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Assembler, Line, LineRedactor, LogError, LogRecord, Piece, Redactor, ReplaySkip, ReportPrefix, RunLogWriter,
    protocol,
};
use crate::{
    domain::{AttemptId, Reports},
    engines::{EngineError, LogFrame, LogSource, LogStream},
    latest::Latest,
};

/// How long a line may wait in memory before followers see it.
const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// How much may wait in memory, in bytes.
const FLUSH_AT: usize = 64 * 1024;
/// Output that ends this shortly before the workload is complete.
const SHORTLY: Duration = Duration::from_millis(300);

/// All that was reported so far; `None` while nothing was, as by most scripts most of the time.
pub type Told = Option<Arc<Reports>>;

/// What [`collect`] needs to know.
#[derive(Debug)]
pub struct Collect {
    /// Whose output it is.
    pub attempt: AttemptId,
    /// The nonce of the attempt's report lines.
    pub nonce: String,
    /// Masks the attempt's secrets.
    pub redactor: Redactor,
    /// What is told, and what is heard, while the output is followed.
    pub shared: Arc<Collecting>,
}

/// What a following shares with the one who waits for it.
#[derive(Debug, Default)]
pub struct Collecting {
    /// Where to tell what was reported. Replaced as a whole: a replay begins anew.
    pub reports: Latest<Told>,
    /// How far the workload is.
    pub stage: Latest<Stage>,
}

/// How far the workload is whose output is followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It may run: an end of its output is no end.
    #[default]
    Running,
    /// It has ended: what comes now is the rest.
    Ended,
    /// Nobody wants its output any more.
    Stopped,
}

impl Collecting {
    /// Waits until it is as far. Only one task may wait.
    pub async fn reached(&self, stage: Stage) {
        while self.stage.get() < stage {
            self.stage.changed().await;
        }
    }
}

/// Why the following ended.
#[derive(Debug)]
pub enum CollectEnd {
    /// The output is complete.
    Complete,
    /// The output ended before the workload did. It may be collected again, from its first frame.
    TooEarly,
    /// It was told to stop. The output may be collected again, from its first frame.
    Stopped,
    /// The engine broke off. The output may be collected again, from its first frame.
    Broken(EngineError),
}

/// What came of the following.
#[derive(Debug)]
pub struct Collected {
    /// Why it ended.
    pub end: CollectEnd,
    /// The last failure to write the log, if what it concerns is still not written. Reports do not depend on it.
    pub unwritten: Option<LogError>,
}

/// Follows an attempt's output until it ends, and leaves it in the run's log and in the reports.
///
/// Ten thousand of these wait at once: what a wait does not need is boxed, or made when it is needed.
///
/// What is in the log from an earlier following of the same attempt is not added again. Lines are in the log, for
/// followers to see, within some 50 ms of their arrival.
pub async fn collect(mut frames: LogStream, with: &Collect, writer: &RunLogWriter) -> Collected {
    let mut assembler = Assembler::new(ReportPrefix::new(&with.nonce));
    let mut sink = Sink::new(with, writer);
    let end = loop {
        let next = match sink.due {
            None => next(&mut frames, &with.shared).await,
            Some(at) if at <= Instant::now() => Next::Due,
            Some(at) => Box::pin(timeout_at(at, next(&mut frames, &with.shared))).await.unwrap_or(Next::Due),
        };
        match next {
            Next::Stopped => break CollectEnd::Stopped,
            Next::Due => Box::pin(sink.flush()).await,
            Next::Frame(Ok(frame)) => assembler.push(&frame, |line| sink.take(line)),
            Next::Frame(Err(error)) => break CollectEnd::Broken(error),
            // Only a true end completes the last line: otherwise its rest comes with the replay.
            Next::End if Box::pin(timeout(SHORTLY, with.shared.reached(Stage::Ended))).await.is_ok() => {
                assembler.finish(|line| sink.take(line));
                break CollectEnd::Complete;
            }
            Next::End => break CollectEnd::TooEarly,
        }
        if sink.waiting >= FLUSH_AT {
            Box::pin(sink.flush()).await;
        }
    };
    Box::pin(sink.flush()).await;
    Collected { end, unwritten: sink.unwritten }
}

/// What comes next.
enum Next {
    Frame(Result<LogFrame, EngineError>),
    End,
    /// What waits in memory has waited long enough.
    Due,
    Stopped,
}

async fn next(frames: &mut LogStream, shared: &Collecting) -> Next {
    tokio::select! {
        biased;
        () = shared.reached(Stage::Stopped) => Next::Stopped,
        frame = frames.next() => frame.map_or(Next::End, Next::Frame),
    }
}

/// One of the two that lines come from.
struct Stream {
    skip: ReplaySkip,
    redactor: LineRedactor,
}

/// Where lines go.
struct Sink<'w> {
    with: &'w Collect,
    writer: &'w RunLogWriter,
    stdout: Stream,
    stderr: Stream,
    reports: Told,
    /// Whether `reports` has something that was not told.
    untold: bool,
    /// Bytes in the writer's memory.
    waiting: usize,
    /// When to flush.
    due: Option<Instant>,
    unwritten: Option<LogError>,
}

impl<'w> Sink<'w> {
    fn new(with: &'w Collect, writer: &'w RunLogWriter) -> Self {
        let stream = |source| Stream {
            skip: ReplaySkip::new(writer.resume_point(with.attempt.number, source)),
            redactor: LineRedactor::default(),
        };
        Self {
            with,
            writer,
            stdout: stream(LogSource::Stdout),
            stderr: stream(LogSource::Stderr),
            reports: None,
            untold: false,
            waiting: 0,
            due: None,
            unwritten: None,
        }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Text(piece) => self.write(piece),
            Line::Report(json) => {
                protocol::take(&json, &self.with.redactor, Arc::make_mut(self.reports.get_or_insert_default()));
                self.untold = true;
            }
            Line::ReportTooLong => {
                Arc::make_mut(self.reports.get_or_insert_default()).reject(protocol::REPORT_TOO_LONG);
                self.untold = true;
            }
        }
        if self.untold || self.waiting > 0 {
            self.due.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
        }
    }

    fn write(&mut self, piece: Piece) {
        let Piece { time, source, text, partial } = piece;
        let stream = match source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr => &mut self.stderr,
        };
        // Also when it is skipped: the rest of a long line depends on what came before.
        let text = stream.redactor.piece(&self.with.redactor, text, !partial);
        if !stream.skip.skips(time) {
            let attempt = self.with.attempt.number;
            self.waiting = self.writer.append(&LogRecord { time, stream: source.into(), attempt, text, partial });
        }
    }

    async fn flush(&mut self) {
        self.due = None;
        if self.untold {
            self.untold = false;
            self.with.shared.reports.set(self.reports.clone());
        }
        if self.waiting == 0 {
            return;
        }
        self.waiting = 0;
        match self.writer.flush().await {
            Ok(()) => self.unwritten = None,
            Err(error) => {
                // Told once for a series of failures, not once a batch.
                if self.unwritten.is_none() {
                    tracing::warn!(run = %self.with.attempt.run, error = %error, source = ?std::error::Error::source(&error), "the log of a run cannot be written");
                }
                self.unwritten = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
