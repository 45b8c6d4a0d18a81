//! Follows one attempt's output: frames → lines → reports and redaction → the log.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Assembler, Line, LineRedactor, LogError, LogRecord, Piece, Redactor, ReplaySkip, ReportPrefix, RunLogWriter,
    protocol,
};
use crate::{
    domain::{AttemptId, Reports},
    engines::{EngineError, LogSource, LogStream},
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
    pub redactor: Arc<Redactor>,
    /// The run's log.
    pub writer: RunLogWriter,
    /// Where to tell what was reported. Replaced as a whole: a replay begins anew.
    pub reports: Arc<Latest<Told>>,
    /// The workload has ended. Until then, an end of its output is no end.
    pub ended: CancellationToken,
    /// Ends the work early.
    pub stop: CancellationToken,
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
/// What is in the log from an earlier following of the same attempt is not added again. Lines are in the log, for
/// followers to see, within some 50 ms of their arrival.
pub async fn collect(mut frames: LogStream, with: Collect) -> Collected {
    let (stop, ended) = (&with.stop, &with.ended);
    let mut assembler = Assembler::new(ReportPrefix::new(&with.nonce));
    let mut sink = Sink::new(&with);
    let end = loop {
        let frame = tokio::select! {
            biased;
            () = stop.cancelled() => break CollectEnd::Stopped,
            () = sink.due() => { Box::pin(sink.flush()).await; continue }
            frame = frames.next() => frame,
        };
        match frame {
            Some(Ok(frame)) => assembler.push(&frame, |line| sink.take(line)),
            Some(Err(error)) => break CollectEnd::Broken(error),
            // Only a true end completes the last line: otherwise its rest comes with the replay.
            None if Box::pin(timeout(SHORTLY, ended.cancelled())).await.is_ok() => {
                assembler.finish(|line| sink.take(line));
                break CollectEnd::Complete;
            }
            None => break CollectEnd::TooEarly,
        }
        if sink.waiting >= FLUSH_AT {
            Box::pin(sink.flush()).await;
        }
    };
    Box::pin(sink.flush()).await;
    Collected { end, unwritten: sink.unwritten }
}

/// Where lines go.
struct Sink<'w> {
    with: &'w Collect,
    skip: ReplaySkip,
    stdout: LineRedactor,
    stderr: LineRedactor,
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
    fn new(with: &'w Collect) -> Self {
        let skip = ReplaySkip::new(with.writer.resume_point(with.attempt.number));
        Self {
            with,
            skip,
            stdout: LineRedactor::default(),
            stderr: LineRedactor::default(),
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
        let line = match source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr => &mut self.stderr,
        };
        // Also when it is skipped: the rest of a long line depends on what came before.
        let text = line.piece(&self.with.redactor, text, !partial);
        if !self.skip.skips(time) {
            let attempt = self.with.attempt.number;
            self.waiting = self.with.writer.append(&LogRecord { time, stream: source.into(), attempt, text, partial });
        }
    }

    /// Waits until something has waited long enough; for ever when nothing waits.
    async fn due(&self) {
        match self.due {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    async fn flush(&mut self) {
        self.due = None;
        if self.untold {
            self.untold = false;
            self.with.reports.set(self.reports.clone());
        }
        if self.waiting == 0 {
            return;
        }
        self.waiting = 0;
        match self.with.writer.flush().await {
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
