//! A task's output: two files of bytes on its node, which tell neither times nor the order between them.
//!
//! What is there already when it is first looked at has the time of the task's start, whenever that is; what comes
//! later the time at which it came. So what is read once more is never newer than it was the first time, and who has it
//! can tell.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt};
use reqwest::{Method, Response, StatusCode};
use tokio::time::{sleep, timeout};

use super::{
    NomadEngine,
    client::{QUICK, Refusal},
    observe::Output,
    operation::READ_OUTPUT,
    render::TASK,
};
use crate::{
    domain::{Clock, SystemClock, Timestamp},
    engines::{EngineError, EngineErrorKind, Handle, LogFrame, LogSource, LogStream, Persistence},
};

/// Between two looks at output that grows.
const POLL: Duration = Duration::from_millis(500);
/// What a node may still have to write when a task's end is told: the output is read until it has been quiet so long.
pub(super) const TAIL: Duration = Duration::from_millis(400);
/// A line longer than this is passed on in pieces.
const LONGEST_LINE: usize = 16 << 10;

/// The whole output, followed to its end.
pub(super) fn follow(engine: NomadEngine, handle: Handle) -> LogStream {
    let reader = Reader {
        engine,
        id: handle.id,
        files: [File::new(LogSource::Stdout), File::new(LogSource::Stderr)],
        frames: VecDeque::new(),
        caught_up: false,
        turn: Turn::Look,
    };
    stream::try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|frame| (frame, reader))) })
        .boxed()
}

struct Reader {
    engine: NomadEngine,
    id: String,
    files: [File; 2],
    frames: VecDeque<LogFrame>,
    /// Whether all was read that was there at the first look.
    caught_up: bool,
    turn: Turn,
}

/// One of the two files.
struct File {
    source: LogSource,
    /// How much of it was read.
    offset: u64,
    /// A line whose end has not come.
    line: BytesMut,
}

/// What comes next.
enum Turn {
    /// Where the output is.
    Look,
    /// A reading of both files, one after the other; of this one next.
    Read(Pass, usize),
    /// The same, with the answer under way.
    Chunks(Pass, usize, Response),
    /// All was read.
    Over,
}

#[derive(Clone)]
struct Pass {
    allocation: String,
    started_at: Timestamp,
    /// When the task had ended before the reading began, at what time.
    ended: Option<Timestamp>,
    /// Whether it has brought anything.
    news: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<LogFrame>, EngineError> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(Some(frame));
            }
            self.turn = match std::mem::replace(&mut self.turn, Turn::Over) {
                Turn::Over => return Ok(None),
                Turn::Look => self.look().await?,
                Turn::Read(pass, 2) => self.after(pass).await,
                Turn::Read(pass, file) => match self.open(&pass, file).await? {
                    Some(response) => Turn::Chunks(pass, file, response),
                    None => {
                        sleep(POLL).await;
                        Turn::Look
                    }
                },
                Turn::Chunks(mut pass, file, mut response) => {
                    let chunk = timeout(QUICK, response.chunk()).await.map_err(|_| broken("no answer in time"))?;
                    match chunk.map_err(|error| broken(&error.without_url().to_string()))? {
                        Some(chunk) => {
                            pass.news = true;
                            let time = self.time(&pass);
                            self.files[file].take(&chunk, time, &mut self.frames);
                            Turn::Chunks(pass, file, response)
                        }
                        None => Turn::Read(pass, file + 1),
                    }
                }
            };
        }
    }

    async fn look(&self) -> Result<Turn, EngineError> {
        Ok(match self.engine.output_of(&self.id).await? {
            Output::Gone => Turn::Over,
            Output::NotYet => {
                sleep(POLL).await;
                Turn::Look
            }
            Output::Of { allocation, started_at, ended_at: ended } => {
                Turn::Read(Pass { allocation, started_at, ended, news: false }, 0)
            }
        })
    }

    /// When what this reading brings was written, as far as anybody can tell.
    fn time(&self, pass: &Pass) -> Timestamp {
        match pass.ended {
            _ if !self.caught_up => pass.started_at,
            Some(end) => end,
            None => SystemClock.now(),
        }
    }

    /// After both files: what was read while the task ran may have grown; what was read after its end is whole once
    /// nothing more has come for a while.
    async fn after(&mut self, pass: Pass) -> Turn {
        let time = self.time(&pass);
        self.caught_up = true;
        if pass.ended.is_none() {
            // A prompt without its line's end is shown as well.
            self.files.iter_mut().for_each(|file| file.flush(time, &mut self.frames));
            sleep(POLL).await;
            return Turn::Look;
        }
        if pass.news {
            sleep(TAIL).await;
            return Turn::Read(Pass { news: false, ..pass }, 0);
        }
        self.files.iter_mut().for_each(|file| file.flush(time, &mut self.frames));
        Turn::Over
    }

    /// What has come to the file; `None` when there is none yet.
    async fn open(&self, pass: &Pass, file: usize) -> Result<Option<Response>, EngineError> {
        let File { source, offset, .. } = &self.files[file];
        let kind = if *source == LogSource::Stdout { "stdout" } else { "stderr" };
        let offset = offset.to_string();
        let path = format!("/v1/client/fs/logs/{}", pass.allocation);
        let request = self.engine.client.request(Method::GET, &path).query(&[
            ("task", TASK),
            ("type", kind),
            ("origin", "start"),
            ("offset", &offset),
            ("plain", "true"),
        ]);
        let answer = timeout(QUICK, self.engine.client.send(READ_OUTPUT, request)).await;
        match answer.map_err(|_| broken("no answer in time"))? {
            Ok(response) => Ok(Some(response)),
            Err(Refusal { status: Some(StatusCode::NOT_FOUND), words, .. }) if pass.ended.is_some() => {
                let text = format!(
                    "{words}: the node has removed what the task wrote, to make room: see its gc_disk_usage_threshold and gc_max_allocs"
                );
                Err(EngineError::new(EngineErrorKind::Internal, Persistence::Permanent, READ_OUTPUT.name, text))
            }
            // Not started yet, or its node has been started again and is not yet as far as this.
            Err(Refusal { status: Some(StatusCode::NOT_FOUND), .. }) => Ok(None),
            Err(refusal) => Err(refusal.error),
        }
    }
}

impl File {
    fn new(source: LogSource) -> Self {
        Self { source, offset: 0, line: BytesMut::new() }
    }

    /// Cuts what has come into lines.
    fn take(&mut self, chunk: &Bytes, time: Timestamp, frames: &mut VecDeque<LogFrame>) {
        self.offset += chunk.len() as u64;
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LONGEST_LINE {
                self.flush(time, frames);
            }
        }
    }

    fn flush(&mut self, time: Timestamp, frames: &mut VecDeque<LogFrame>) {
        if !self.line.is_empty() {
            frames.push_back(LogFrame { time, source: self.source, bytes: self.line.split().freeze() });
        }
    }
}

fn broken(why: &str) -> EngineError {
    let text = format!("{why} (is the node up?)");
    EngineError::new(EngineErrorKind::Unreachable, Persistence::Unreachable, READ_OUTPUT.name, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_lines_however_it_arrives() {
        let text = "one\ntwo\n\nlast";
        for size in 1..=text.len() {
            let (mut file, mut frames) = (File::new(LogSource::Stdout), VecDeque::new());
            let time = Timestamp::from_micros(7);
            for chunk in text.as_bytes().chunks(size) {
                file.take(&Bytes::copy_from_slice(chunk), time, &mut frames);
            }
            file.flush(time, &mut frames);
            let lines: Vec<_> = frames.iter().map(|frame| &frame.bytes[..]).collect();
            assert_eq!(lines, [&b"one\n"[..], b"two\n", b"\n", b"last"], "in pieces of {size}");
            assert_eq!(file.offset, text.len() as u64);
        }
    }
}
