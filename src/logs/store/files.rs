//! Where logs lie: `live/<run>.log` while a run lasts, `done/<yyyy-mm-dd>/<run>.log.zst` afterwards.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, BufWriter, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;

use super::{super::LogError, page::Source, seekable};
use crate::domain::{RunId, Timestamp};

/// How often a directory that goes meanwhile is made again.
const MOST_TRIES: u32 = 1000;

/// The directories of a log store.
#[derive(Debug)]
pub(super) struct Files {
    live: PathBuf,
    done: PathBuf,
}

impl Files {
    /// Makes the directories, for their owner alone.
    pub(super) fn open(dir: &Path) -> Result<Self, LogError> {
        let files = Self { live: dir.join("live"), done: dir.join("done") };
        for dir in [&files.live, &files.done] {
            make_dir(dir).map_err(LogError::io("create", dir))?;
        }
        Ok(files)
    }

    /// Writes down whose logs these are, unless it is written there already, and checks it.
    pub(super) fn claim(&self, owner: &str) -> Result<(), LogError> {
        let dir = self.live.parent().unwrap_or(&self.live);
        let path = dir.join("installation");
        let write = || -> io::Result<String> {
            match File::options().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    file.write_all(owner.as_bytes())?;
                    file.sync_all()?;
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let found = fs::read_to_string(&path)?;
                    if !found.is_empty() {
                        return Ok(found);
                    }
                    // Who made it did not come to write it.
                    fs::write(&path, owner)?;
                }
                Err(error) => return Err(error),
            }
            Ok(owner.to_owned())
        };
        let found = write().map_err(LogError::io("write", &path))?;
        match found.trim() == owner {
            true => Ok(()),
            false => Err(LogError::Foreign { place: dir.display().to_string(), owner: found.trim().to_owned() }),
        }
    }

    /// The file of a run that lasts.
    pub(super) fn live(&self, run: RunId) -> PathBuf {
        self.live.join(format!("{run}.log"))
    }

    /// What another service has put into the object store of a log that goes on here, for a moment.
    pub(super) fn base(&self, run: RunId) -> PathBuf {
        self.live.join(format!("{run}.base"))
    }

    /// The file of a finished run.
    pub(super) fn done(&self, run: RunId) -> PathBuf {
        self.done.join(day(run)).join(format!("{run}.log.zst"))
    }

    /// Compresses the content into the run's finished file. It is there whole, and safe on disk, or not at all.
    pub(super) fn write_done(&self, run: RunId, content: impl Read) -> Result<(), LogError> {
        let path = self.done(run);
        let draft = path.with_extension("tmp");
        let write = || -> io::Result<()> {
            let dir = path.parent().unwrap_or(&self.done);
            let (file, new_day) = create_in(dir, &draft)?;
            let mut to = BufWriter::new(file);
            // Once the file is there, it may be put away, and the day with it.
            let day = File::open(dir)?;
            seekable::compress(content, &mut to)?;
            to.flush()?;
            to.get_ref().sync_all()?;
            fs::rename(&draft, &path)?;
            day.sync_all()?;
            if new_day {
                File::open(&self.done)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(LogError::io("write", &path))
    }

    /// Opens a run's log for reading, wherever it is; `None` when there is none.
    pub(super) fn source(&self, run: RunId) -> Result<Option<Source>, LogError> {
        // The live file goes only after the finished one has come, so looking in this order misses neither.
        match self.live_source(run)? {
            None => self.done_source(run),
            live => Ok(live),
        }
    }

    /// Opens the live file for reading, if there is one.
    pub(super) fn live_source(&self, run: RunId) -> Result<Option<Source>, LogError> {
        let live = self.live(run);
        let Some(file) = open(&live)? else { return Ok(None) };
        let length = file.metadata().map_err(LogError::io("read", &live))?.len();
        Ok(Some(Source::Live { file, length }))
    }

    /// Opens the finished file for reading, if there is one.
    pub(super) fn done_source(&self, run: RunId) -> Result<Option<Source>, LogError> {
        let done = self.done(run);
        let Some(file) = open(&done)? else { return Ok(None) };
        let reader = seekable::Reader::open(Box::new(file)).map_err(LogError::io("read", &done))?;
        Ok(Some(Source::Done(reader)))
    }

    /// Removes the finished file alone.
    pub(super) fn remove_done(&self, run: RunId) -> Result<(), LogError> {
        let done = self.done(run);
        remove(&done)?;
        // The day goes with its last log; that there are others is no error.
        if let Some(day) = done.parent() {
            let _ = fs::remove_dir(day);
        }
        Ok(())
    }

    /// Removes all that there is of a run.
    pub(super) fn remove(&self, run: RunId) -> Result<(), LogError> {
        for path in [&self.live(run), &self.base(run), &self.done(run).with_extension("tmp")] {
            remove(path)?;
        }
        self.remove_done(run)
    }

    /// The runs that have a finished file.
    pub(super) fn done_runs(&self) -> Result<Vec<RunId>, LogError> {
        let days = names(&self.done).map_err(LogError::io("list", &self.done))?;
        let runs = days.iter().map(|day| self.finished_on(day));
        Ok(runs.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// The days before that of this moment of which there are finished logs, the oldest first.
    pub(super) fn days_before(&self, moment: Timestamp) -> Result<Vec<String>, LogError> {
        let end = day_of(moment);
        let mut days = names(&self.done).map_err(LogError::io("list", &self.done))?;
        days.retain(|day| *day < end);
        days.sort_unstable();
        Ok(days)
    }

    /// The runs of a day that have a finished log.
    pub(super) fn finished_on(&self, day: &str) -> Result<Vec<RunId>, LogError> {
        let dir = self.done.join(day);
        let names = match names(&dir) {
            // Others may share the directory: the day went with its last log.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            names => names.map_err(LogError::io("list", &dir))?,
        };
        Ok(names.iter().filter_map(|name| finished(name)).collect())
    }

    /// The runs that have a live file.
    pub(super) fn live_runs(&self) -> Result<Vec<RunId>, LogError> {
        let names = names(&self.live).map_err(LogError::io("list", &self.live))?;
        let mut runs: Vec<_> = names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
        runs.sort_unstable();
        Ok(runs)
    }
}

/// The run whose finished log has this name.
pub(super) fn finished(name: &str) -> Option<RunId> {
    name.strip_suffix(".log.zst")?.parse().ok()
}

/// Opens a file for reading, if there is one.
pub(super) fn open(path: &Path) -> Result<Option<File>, LogError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("read", path)(error)),
    }
}

/// Removes a file. Missing is success.
pub(super) fn remove(path: &Path) -> Result<(), LogError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(LogError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// At most `max` bytes from `offset`; fewer only at the end.
pub(super) fn read_file_at(file: &File, offset: u64, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; max];
    let mut filled = 0;
    while filled < max {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes a file in a directory that goes whenever somebody removes the last file in it; and whether the directory is new.
fn create_in(dir: &Path, path: &Path) -> io::Result<(File, bool)> {
    let (mut new, mut tries) = (false, 0);
    loop {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => {
                made.or_else(|_| make_dir(dir))?;
                new = true;
            }
        }
        match File::create(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && tries < MOST_TRIES => tries += 1,
            made => return made.map(|file| (file, new)),
        }
    }
}

/// The UTC day of a moment.
pub(super) fn day_of(moment: Timestamp) -> String {
    utc_day(jiff::Timestamp::from_microsecond(moment.as_micros()).unwrap_or_default())
}

/// The UTC day on which the run's id was made.
pub(super) fn day(run: RunId) -> String {
    let seconds = run.0.get_timestamp().map_or(0, |time| time.to_unix().0);
    utc_day(jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default())
}

fn utc_day(moment: jiff::Timestamp) -> String {
    moment.to_zoned(TimeZone::UTC).date().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_that_of_the_id() {
        assert_eq!(day("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()), "2023-06-30");
    }

    #[test]
    fn a_day_that_goes_meanwhile_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let (run, written) = (RunId::generate(), std::sync::atomic::AtomicBool::new(false));
        let path = files.done(run);
        std::thread::scope(|scope| {
            // As whoever puts logs away, only faster.
            scope.spawn(|| {
                while !written.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = fs::remove_file(&path);
                    let _ = fs::remove_dir(path.parent().unwrap());
                }
            });
            let results: Vec<_> = (0..50).map(|_| files.write_done(run, &b"{}\n"[..])).collect();
            written.store(true, std::sync::atomic::Ordering::Relaxed);
            results.into_iter().for_each(|result| result.unwrap());
        });
    }
}
