//! A workload's output on the disk: one sequence of records over both streams, in bounded segments.
//!
//! A record is time (microseconds, 8 bytes), source (1 byte), length (4 bytes, little endian) and that many bytes. A
//! segment that is full is followed by the next; the oldest is deleted, and whoever reads later is told so.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    domain::Timestamp,
    engines::{LogFrame, LogSource},
};

const HEAD: usize = 13;
/// No record is longer: a line that is, is split.
pub(super) const LONGEST: usize = 64 * 1024;
/// How many segments are kept.
const SEGMENTS: u64 = 4;
/// What a reader takes from the disk at once.
const CHUNK: usize = 256 * 1024;

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("output.{number}"))
}

/// Appends records.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    segment_bytes: u64,
    number: u64,
    file: File,
    written: u64,
}

impl Writer {
    /// Begins the output in this directory, of which about `limit` bytes are kept.
    pub(super) fn create(dir: &Path, limit: u64) -> io::Result<Self> {
        let file = File::create(segment(dir, 0))?;
        Ok(Self { dir: dir.to_owned(), segment_bytes: (limit / SEGMENTS).max(1), number: 0, file, written: 0 })
    }

    /// Appends what was read from one stream, a record for each line.
    pub(super) fn append(&mut self, time: Timestamp, source: LogSource, bytes: &[u8]) -> io::Result<()> {
        let mut records = Vec::with_capacity(bytes.len() + 4 * HEAD);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(LONGEST)) {
            records.extend_from_slice(&time.as_micros().to_le_bytes());
            records.push(u8::from(source == LogSource::Stderr));
            records.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(0).to_le_bytes());
            records.extend_from_slice(piece);
        }
        if self.written > 0 && self.written + records.len() as u64 > self.segment_bytes {
            self.number += 1;
            self.file = File::create(segment(&self.dir, self.number))?;
            self.written = 0;
            if let Some(oldest) = self.number.checked_sub(SEGMENTS) {
                let _ = fs::remove_file(segment(&self.dir, oldest));
            }
        }
        self.file.write_all(&records)?;
        self.written += records.len() as u64;
        Ok(())
    }
}

/// Reads records from the first that is kept, as far as there are any. To be asked again when there may be more.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
    number: u64,
    file: Option<File>,
    pending: Vec<u8>,
    last: Timestamp,
}

impl Reader {
    pub(super) fn new(dir: &Path) -> Self {
        let last = Timestamp::from_micros(0);
        Self { dir: dir.to_owned(), number: 0, file: None, pending: Vec::new(), last }
    }

    /// The records that are there now; none when all were read.
    pub(super) fn read(&mut self) -> io::Result<VecDeque<LogFrame>> {
        let mut frames = VecDeque::new();
        loop {
            if self.file.is_none() && !self.open(&mut frames)? {
                return Ok(frames);
            }
            // Looked at before the end is: a segment that has a successor grows no more.
            let followed = self.first_after(self.number)?.is_some();
            let Some(file) = &mut self.file else { return Ok(frames) };
            let read = file.take(CHUNK as u64).read_to_end(&mut self.pending)?;
            self.cut(&mut frames);
            if !frames.is_empty() {
                return Ok(frames);
            }
            if read == 0 {
                if !followed {
                    return Ok(frames);
                }
                self.file = None;
                self.pending.clear();
                self.number += 1;
            }
        }
    }

    /// Opens the next segment that is kept, and tells of those that are not; `false`: there is none yet.
    fn open(&mut self, frames: &mut VecDeque<LogFrame>) -> io::Result<bool> {
        let next =
            self.number.checked_sub(1).map_or_else(|| self.first_after_start(), |before| self.first_after(before))?;
        let Some(number) = next else { return Ok(false) };
        let file = match File::open(segment(&self.dir, number)) {
            // Deleted just now: there is a later one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.open(frames),
            file => file?,
        };
        if number > self.number {
            let bytes = Bytes::from_static(b"[haulier: output was dropped here, for more was written than is kept]\n");
            frames.push_back(LogFrame { time: self.last, source: LogSource::Stderr, bytes });
        }
        (self.number, self.file) = (number, Some(file));
        Ok(true)
    }

    fn first_after_start(&self) -> io::Result<Option<u64>> {
        Ok(self.numbers()?.into_iter().min())
    }

    fn first_after(&self, number: u64) -> io::Result<Option<u64>> {
        Ok(self.numbers()?.into_iter().filter(|found| *found > number).min())
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.strip_prefix("output.")?.parse().ok();
        Ok(entries.flatten().filter_map(|entry| number(&entry)).collect())
    }

    /// Takes whole records off what was read.
    fn cut(&mut self, frames: &mut VecDeque<LogFrame>) {
        let mut at = 0;
        while let Some(head) = self.pending.get(at..at + HEAD) {
            let (time, rest) = head.split_at(8);
            let time = Timestamp::from_micros(i64::from_le_bytes(time.try_into().unwrap_or_default()));
            let length = u32::from_le_bytes(rest[1..].try_into().unwrap_or_default()) as usize;
            let Some(bytes) = self.pending.get(at + HEAD..at + HEAD + length) else { break };
            let source = if rest[0] == 0 { LogSource::Stdout } else { LogSource::Stderr };
            frames.push_back(LogFrame { time, source, bytes: Bytes::copy_from_slice(bytes) });
            self.last = time;
            at += HEAD + length;
        }
        self.pending.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frames: VecDeque<LogFrame>) -> Vec<String> {
        frames.into_iter().map(|frame| String::from_utf8_lossy(&frame.bytes).into_owned()).collect()
    }

    fn all(reader: &mut Reader) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let frames = reader.read().unwrap();
            if frames.is_empty() {
                return lines;
            }
            lines.extend(text(frames));
        }
    }

    #[test]
    fn lines_come_as_they_were_written_and_can_be_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = Reader::new(dir.path());
        assert!(reader.read().unwrap().is_empty(), "nothing yet");
        let mut writer = Writer::create(dir.path(), 1 << 20).unwrap();
        let (early, late) = (Timestamp::from_micros(7), Timestamp::from_micros(8));
        writer.append(early, LogSource::Stdout, b"one\ntwo\nhal").unwrap();
        let frames = reader.read().unwrap();
        assert!(frames.iter().all(|frame| (frame.time, frame.source) == (early, LogSource::Stdout)));
        assert_eq!(text(frames), ["one\n", "two\n", "hal"]);
        writer.append(late, LogSource::Stderr, b"trouble\n").unwrap();
        let frames = reader.read().unwrap();
        assert_eq!(frames[0].source, LogSource::Stderr);
        assert_eq!(text(frames), ["trouble\n"]);
        assert_eq!(all(&mut Reader::new(dir.path())).len(), 4);
    }

    #[test]
    fn a_long_line_is_split_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), 1 << 30).unwrap();
        let line = vec![b'x'; 3 * LONGEST + 1];
        writer.append(Timestamp::from_micros(0), LogSource::Stdout, &line).unwrap();
        let lines = all(&mut Reader::new(dir.path()));
        assert_eq!((lines.len(), lines.concat().len()), (4, line.len()));
    }

    #[test]
    fn the_oldest_is_dropped_with_a_mark_and_the_disk_is_spared() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), 4 * 1000).unwrap();
        let mut slow = Reader::new(dir.path());
        for number in 0..1000 {
            let line = format!("this is line {number}\n");
            writer.append(Timestamp::from_micros(number), LogSource::Stdout, line.as_bytes()).unwrap();
            if number == 0 {
                assert_eq!(text(slow.read().unwrap()), ["this is line 0\n"]);
            }
        }
        let kept: u64 = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(kept <= 4 * 1000, "{kept}");
        let lines = all(&mut Reader::new(dir.path()));
        assert!(lines[0].contains("output was dropped"), "{}", lines[0]);
        assert_eq!(lines.last().unwrap(), "this is line 999\n");
        // Who was in the first segment reads that to its end, and then hears of the gap.
        let lines = all(&mut slow);
        assert_eq!(lines[0], "this is line 1\n");
        assert_eq!(lines.iter().filter(|line| line.contains("output was dropped")).count(), 1);
        assert_eq!(lines.last().unwrap(), "this is line 999\n");
    }
}
