//! A log to which another service wrote as well.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
};

use super::{Back, Live, LogError, LogTail, Source, Stage, Tally, files, merge, recover};

impl Live {
    /// As [`Self::open`], on an open log: another service wrote to it, too. Blocks.
    pub(in super::super) fn adopt(&self, base: &Path) -> Result<(), LogError> {
        let mut back = self.back();
        if self.front().stage != Stage::Open {
            return Ok(());
        }
        self.flush_locked(&mut back)?;
        let live = self.files.live(self.run);
        let take = || -> io::Result<(File, Tally, u64)> {
            merge(base, &live)?;
            let file = OpenOptions::new().create(true).read(true).append(true).open(&live)?;
            let (tally, length) = recover(&file)?;
            Ok((file, tally, length))
        };
        let (file, mut tally, length) = take().map_err(LogError::io("recover", &live))?;
        *back = Back { file: Some(file), written: length };
        let mut front = self.front();
        // What came since the flush was taken without knowing of the others' lines.
        let pending = std::mem::take(&mut front.pending);
        let records =
            || pending.split_inclusive(|byte| *byte == b'\n').map(|line| (line, serde_json::from_slice(line)));
        let mut since = Tally::default();
        records().for_each(|(_, record)| drop(record.map(|record| since.add(&record))));
        let mut ahead = tally.beyond(&front.tally.without(&since));
        for (line, record) in records() {
            if let Ok(record) = record
                && !ahead.has(&record)
            {
                tally.add(&record);
                front.pending.extend_from_slice(line);
            }
        }
        front.bytes = length + front.pending.len() as u64;
        (front.tally, front.ahead) = (tally, Some(Box::new(ahead)));
        drop(front);
        self.tell(LogTail { bytes: length, finished: false });
        Ok(())
    }

    /// The log was finished elsewhere, and lies in the object store: what is left here goes. Blocks.
    pub(in super::super) fn finished_elsewhere(&self, done: Source) -> Result<(), LogError> {
        let mut back = self.back();
        *back = Back::default();
        self.front().pending = Vec::new();
        files::remove(&self.files.live(self.run))?;
        self.set_finished(Some(done))
    }
}
