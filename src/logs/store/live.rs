//! A log that is being written.

mod elsewhere;

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::watch;

use super::{
    super::{
        LogError,
        record::{Known, LogChannel, LogRecord, ResumePoint, TRUNCATED, Tally},
    },
    LogLimits, LogStats, LogTail,
    files::{self, Files},
    merge::merge,
    page::Source,
};
use crate::{
    domain::{RunId, Timestamp},
    engines::LogSource,
};

const MIB: u64 = 1024 * 1024;
/// Room above the limit for what Haulier itself has to say, in bytes.
const ROOM_FOR_NOTES: u64 = MIB;
/// Unwritten records that are kept while the disk refuses them, in bytes.
const MAX_PENDING: usize = 4 * 1024 * 1024;
/// The largest buffer that is kept for the next records, in bytes: many runs that say little are to take little memory.
const KEPT_BUFFER: usize = 4 * 1024;

/// A run's log while it may grow.
#[derive(Debug)]
pub(super) struct Live {
    run: RunId,
    files: Arc<Files>,
    limits: LogLimits,
    /// What writers touch: never held during file work.
    front: Mutex<Front>,
    /// The file: held during file work, so taken only on blocking threads. Taken before `front`.
    back: Mutex<Back>,
    tail: Mutex<LogTail>,
    /// Made with the first listener: most live logs have none.
    listeners: OnceLock<watch::Sender<LogTail>>,
}

#[derive(Debug, Default)]
struct Front {
    stage: Stage,
    /// Encoded records that are not in the file yet.
    pending: Vec<u8>,
    /// Length of the log with `pending`.
    bytes: u64,
    tally: Tally,
    dropped: u64,
    /// What another service wrote meanwhile of that which the writer here is still about to bring.
    ahead: Option<Box<Known>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody looked whether the file exists.
    #[default]
    Unopened,
    Open,
    /// Complete: nothing is taken any more.
    Finished,
}

#[derive(Debug, Default)]
struct Back {
    /// Opened with the first record.
    file: Option<File>,
    /// Length of the file.
    written: u64,
}

impl Live {
    pub(super) fn new(run: RunId, files: Arc<Files>, limits: LogLimits) -> Self {
        let (front, back, tail) = Default::default();
        Self { run, files, limits, front, back, tail, listeners: OnceLock::new() }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<LogTail> {
        // Under the lock, so that what is told meanwhile is either seen here or sent.
        let tail = self.tail();
        self.listeners.get_or_init(|| watch::Sender::new(*tail)).subscribe()
    }

    /// Changes the tail, and tells it if it did change.
    fn tell(&self, now: LogTail) {
        let mut tail = self.tail();
        if let Some(listeners) = self.listeners.get()
            && *tail != now
        {
            listeners.send_replace(now);
        }
        *tail = now;
    }

    /// Whether the store may not forget it.
    pub(super) fn is_needed(&self) -> bool {
        self.front().stage == Stage::Open
            || self.listeners.get().is_some_and(|listeners| listeners.receiver_count() > 0)
    }

    /// Which run's it is.
    pub(super) const fn run(&self) -> RunId {
        self.run
    }

    /// Whether nobody looked yet what is there.
    pub(super) fn is_unopened(&self) -> bool {
        self.front().stage == Stage::Unopened
    }

    /// Length of what readers may see; `None` when the file alone knows.
    pub(super) fn visible(&self) -> Option<u64> {
        (self.front().stage == Stage::Open).then(|| self.tail().bytes)
    }

    pub(super) fn stats(&self) -> LogStats {
        let front = self.front();
        LogStats { bytes: front.bytes, truncated: front.tally.truncated, dropped: front.dropped }
    }

    pub(super) fn resume_point(&self, attempt: u32, source: LogSource) -> ResumePoint {
        let mut front = self.front();
        // Whoever asks begins behind it.
        front.ahead = None;
        front.tally.written(attempt, source)
    }

    /// Takes a record into memory and returns how many bytes wait there.
    pub(super) fn append(&self, record: &LogRecord) -> usize {
        let mut line = Vec::with_capacity(record.text.len() + 128);
        record.encode(&mut line);
        let mut front = self.front();
        let front = &mut *front;
        if front.ahead.as_mut().is_some_and(|ahead| ahead.has(record)) {
            return front.pending.len();
        }
        let own = record.stream == LogChannel::Haulier;
        let limit = self.limits.max_bytes_per_run.saturating_add(if own { ROOM_FOR_NOTES } else { 0 });
        let over = front.bytes + line.len() as u64 > limit;
        if !own && over && !front.tally.truncated && front.stage != Stage::Finished {
            let mark = self.truncation_mark(record.time, record.attempt);
            line.clear();
            mark.encode(&mut line);
            front.take(&line, &mark);
            front.dropped += 1;
        } else if over
            || front.stage == Stage::Finished
            || front.pending.len() > MAX_PENDING
            || (!own && front.tally.truncated)
        {
            front.dropped += 1;
        } else {
            front.take(&line, record);
        }
        front.pending.len()
    }

    fn truncation_mark(&self, time: Timestamp, attempt: u32) -> LogRecord {
        let limit = self.limits.max_bytes_per_run;
        let limit = if limit.is_multiple_of(MIB) { format!("{} MiB", limit / MIB) } else { format!("{limit} bytes") };
        let text = format!("{TRUNCATED} the limit of {limit} was reached");
        LogRecord { time, stream: LogChannel::Haulier, attempt, text, partial: false }
    }

    /// Looks what is there already, once; cuts a record that was half written when the service died. `base`: the file with
    /// what others have put into the object store, which comes first. Blocks.
    pub(super) fn open(&self, base: Option<&Path>) -> Result<(), LogError> {
        self.open_locked(&mut self.back(), base)
    }

    fn open_locked(&self, back: &mut Back, base: Option<&Path>) -> Result<(), LogError> {
        if self.front().stage != Stage::Unopened {
            return Ok(());
        }
        let live = self.files.live(self.run);
        let done = self.files.done(self.run);
        if done.try_exists().map_err(LogError::io("read", &done))? {
            // The service died between writing the finished file and removing this one.
            files::remove(&live)?;
            return self.set_finished(self.files.done_source(self.run)?);
        }
        if let Some(base) = base {
            merge(base, &live).map_err(LogError::io("recover", &live))?;
        }
        match OpenOptions::new().read(true).append(true).open(&live) {
            Ok(file) => {
                let (tally, length) = recover(&file).map_err(LogError::io("recover", &live))?;
                *back = Back { file: Some(file), written: length };
                let mut front = self.front();
                (front.tally, front.bytes) = (tally, length);
                self.tell(LogTail { bytes: length, finished: false });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("open", &live)(error)),
        }
        self.front().stage = Stage::Open;
        Ok(())
    }

    /// Learns about the log from its finished form, if there is one.
    fn set_finished(&self, done: Option<Source>) -> Result<(), LogError> {
        let mut stats = LogStats::default();
        if let Some(mut source) = done {
            stats.bytes = source.length();
            stats.truncated = has_mark(&mut source).map_err(LogError::io("read", &self.files.done(self.run)))?;
        }
        let mut front = self.front();
        front.stage = Stage::Finished;
        front.bytes = stats.bytes;
        front.tally.truncated = stats.truncated;
        drop(front);
        self.tell(LogTail { bytes: stats.bytes, finished: true });
        Ok(())
    }

    /// Writes what waits in memory. What could not be written waits on. Blocks.
    pub(super) fn flush(&self) -> Result<(), LogError> {
        self.flush_locked(&mut self.back())
    }

    fn flush_locked(&self, back: &mut Back) -> Result<(), LogError> {
        let batch = std::mem::take(&mut self.front().pending);
        if batch.is_empty() {
            return Ok(());
        }
        let path = self.files.live(self.run);
        let written = back.write(&batch, &path).map_err(LogError::io("append to", &path));
        let mut front = self.front();
        match written {
            Ok(()) if front.pending.capacity() == 0 && batch.capacity() <= KEPT_BUFFER => {
                front.pending = batch;
                front.pending.clear();
            }
            Ok(()) => {}
            Err(_) => drop(front.pending.splice(..0, batch)),
        }
        drop(front);
        let finished = self.tail().finished;
        self.tell(LogTail { bytes: back.written, finished });
        written
    }

    /// Writes what waits, and knows nothing of the file any more: others may change it. Blocks.
    pub(super) fn let_go(&self) -> Result<(), LogError> {
        let mut back = self.back();
        let flushed = self.flush_locked(&mut back);
        *back = Back::default();
        *self.front() = Front::default();
        flushed
    }

    /// Makes the log complete: compressed, safe on disk, no longer live. Blocks.
    pub(super) fn finish(&self) -> Result<LogStats, LogError> {
        let mut back = self.back();
        self.open_locked(&mut back, None)?;
        if std::mem::replace(&mut self.front().stage, Stage::Finished) == Stage::Finished {
            return Ok(self.stats());
        }
        if let Err(error) = self.compress(&mut back) {
            self.front().stage = Stage::Open;
            return Err(error);
        }
        self.front().pending = Vec::new();
        let stats = self.stats();
        self.tell(LogTail { bytes: stats.bytes, finished: true });
        Ok(stats)
    }

    fn compress(&self, back: &mut Back) -> Result<(), LogError> {
        if back.written == 0 {
            // A short log that nobody had to wait for never becomes a live file.
            let pending = self.front().pending.clone();
            if !pending.is_empty() {
                self.files.write_done(self.run, &pending[..])?;
            }
        } else {
            self.flush_locked(back)?;
            let path = self.files.live(self.run);
            self.files.write_done(self.run, File::open(&path).map_err(LogError::io("read", &path))?)?;
        }
        back.file = None;
        files::remove(&self.files.live(self.run))
    }

    /// Forgets all of it. Blocks.
    pub(super) fn delete(&self) -> Result<(), LogError> {
        let mut back = self.back();
        back.file = None;
        let mut front = self.front();
        *front = Front { stage: Stage::Finished, ..Front::default() };
        drop(front);
        self.files.remove(self.run)?;
        self.tell(LogTail { bytes: 0, finished: true });
        Ok(())
    }

    // A panic in between leaves both consistent enough to go on: the file's length decides.
    fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> MutexGuard<'_, LogTail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn back(&self) -> MutexGuard<'_, Back> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front {
    fn take(&mut self, line: &[u8], record: &LogRecord) {
        self.pending.extend_from_slice(line);
        self.bytes += line.len() as u64;
        self.tally.add(record);
    }
}

impl Back {
    fn write(&mut self, batch: &[u8], path: &std::path::Path) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(OpenOptions::new().create(true).append(true).open(path)?),
        };
        if let Err(error) = file.write_all(batch) {
            // Half a batch must not stay, for it will be written again.
            file.set_len(self.written)?;
            return Err(error);
        }
        self.written += batch.len() as u64;
        Ok(())
    }
}

/// Counts the records of a live file and cuts off what is not a whole one.
fn recover(file: &File) -> io::Result<(Tally, u64)> {
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let (mut tally, mut length, mut line) = (Tally::default(), 0, Vec::new());
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        length += line.len() as u64;
        // A line that is no record (a disk's fault) still has its place in the log.
        if let Ok(record) = serde_json::from_slice(&line) {
            tally.add(&record);
        }
    }
    if !line.is_empty() {
        file.set_len(length)?;
    }
    Ok((tally, length))
}

/// Whether the mark of the size limit is among the last records, where alone it can be.
fn has_mark(source: &mut Source) -> io::Result<bool> {
    let mut offset = source.length().saturating_sub(ROOM_FOR_NOTES + 4096);
    let mut tally = Tally::default();
    loop {
        let page = source.page(offset, 1 << 20)?;
        if page.bytes.is_empty() {
            return Ok(tally.truncated);
        }
        page.bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .for_each(|record| tally.add(&record));
        offset = page.next_offset;
    }
}
