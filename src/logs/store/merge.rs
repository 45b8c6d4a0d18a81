//! Makes one log of two that services have of one run.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write},
    path::Path,
};

use super::super::record::{LogChannel, LogRecord, Tally};

/// Brings the live file to begin with what lies in `base`, which goes: the bytes that others may have read keep their
/// places. What the live file alone has comes behind it. Blocks.
pub(super) fn merge(base: &Path, live: &Path) -> io::Result<()> {
    match File::open(live) {
        Ok(file) => {
            if begins_with(&file, base)? {
                return fs::remove_file(base);
            }
            append_new(base, live)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::rename(base, live)
}

fn begins_with(file: &File, base: &Path) -> io::Result<bool> {
    let base = File::open(base)?;
    let length = base.metadata()?.len();
    if file.metadata()?.len() < length {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(base), BufReader::new(file.take(length)));
    loop {
        let (mine, theirs) = (one.fill_buf()?, other.fill_buf()?);
        let both = mine.len().min(theirs.len());
        if both == 0 {
            return Ok(mine.is_empty() && theirs.is_empty());
        }
        if mine[..both] != theirs[..both] {
            return Ok(false);
        }
        one.consume(both);
        other.consume(both);
    }
}

/// Adds the records of the live file that `base` has not: scripts' lines by their number, as when an engine's output is
/// read again, and Haulier's own by what they say.
fn append_new(base: &Path, live: &Path) -> io::Result<()> {
    let (mut tally, mut notes) = (Tally::default(), HashSet::new());
    lines(base, |line, record| {
        tally.add(&record);
        if record.stream == LogChannel::Haulier {
            notes.insert(line.to_vec());
        }
        Ok(())
    })?;
    let mut known = tally.beyond(&Tally::default());
    let mut to = BufWriter::new(OpenOptions::new().append(true).open(base)?);
    lines(live, |line, record| match known.has(&record) || notes.contains(line) {
        true => Ok(()),
        false => to.write_all(line),
    })?;
    to.flush()
}

/// Hands over each whole record with its line.
fn lines(path: &Path, mut take: impl FnMut(&[u8], LogRecord) -> io::Result<()>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(());
        }
        if let Ok(record) = serde_json::from_slice(&line) {
            take(&line, record)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn log(lines: &[(i64, LogChannel, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (time, stream, text) in lines {
            let time = Timestamp::from_micros(*time);
            let record = LogRecord { time, stream: *stream, attempt: 1, text: (*text).to_owned(), partial: false };
            record.encode(&mut bytes);
        }
        bytes
    }

    fn merged(base: &[u8], live: Option<&[u8]>) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let [base_path, live_path] = ["base", "live"].map(|name| dir.path().join(name));
        fs::write(&base_path, base).unwrap();
        live.inspect(|live| fs::write(&live_path, live).unwrap());
        merge(&base_path, &live_path).unwrap();
        assert!(!base_path.exists());
        fs::read(&live_path).unwrap()
    }

    #[test]
    fn each_line_is_there_once() {
        use LogChannel::{Haulier, Stderr, Stdout};
        let old = log(&[(1, Stdout, "a"), (2, Stderr, "b"), (2, Haulier, "note")]);
        let whole = [old.clone(), log(&[(3, Stdout, "c"), (3, Stdout, "c")])].concat();
        assert_eq!(merged(&old, None), old, "begun elsewhere");
        assert_eq!(merged(&old, Some(&whole)), whole, "nobody else went on");
        assert_eq!(merged(&whole, Some(&old)), whole, "another went on");
        assert_eq!(merged(b"", Some(&whole)), whole);
        // Read again from its first line, in another order.
        let again = log(&[(2, Stderr, "b"), (1, Stdout, "a"), (3, Stdout, "c"), (3, Stdout, "c"), (4, Haulier, "new")]);
        let wanted = [old.clone(), log(&[(3, Stdout, "c"), (3, Stdout, "c"), (4, Haulier, "new")])].concat();
        assert_eq!(merged(&old, Some(&again)), wanted);
        let torn = &again[..again.len() - 3];
        assert_eq!(merged(&old, Some(torn)), [old, log(&[(3, Stdout, "c"), (3, Stdout, "c")])].concat());
    }
}
