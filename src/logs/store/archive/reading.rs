//! Reads logs from the object store.

use std::io;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{
    super::seekable::{ReadAt, Reader},
    Archive, LogError, Objects, RunId, Source, StreamExt, blocking, keys, stream,
};

/// Read with the first request of a finished log, in bytes: most are not longer.
const HEAD: u64 = 128 * 1024;
/// Read with any other, in bytes, if there is as much.
const AHEAD: u64 = 512 * 1024;
/// How many segments are read at once for a page.
const AT_A_TIME: usize = 4;

impl Archive {
    /// What there is of a log to be read from `offset` on, `max` bytes or more; `None` when there is nothing.
    pub(in super::super) async fn source(
        &self,
        run: RunId,
        offset: u64,
        max: usize,
    ) -> Result<Option<Source>, LogError> {
        if let Some(done) = self.done(run).await? {
            return Ok(Some(done));
        }
        match self.part(run, offset, max).await? {
            // It may have been finished in between.
            None => self.done(run).await,
            part => Ok(part),
        }
    }

    /// A finished log.
    pub(super) async fn done(&self, run: RunId) -> Result<Option<Source>, LogError> {
        let key = keys::done(run);
        let Some((head, size)) = self.objects.get_range(&key, 0..HEAD).await? else { return Ok(None) };
        let objects = self.objects.clone();
        let from =
            Object { objects, key: key.clone(), runtime: Handle::current(), size, head, near: (0, Bytes::new()) };
        blocking(move || {
            let reader = Reader::open(Box::new(from)).map_err(LogError::reading(key.as_ref()))?;
            Ok(Some(Source::Done(reader)))
        })
        .await
    }

    /// What another service has put there of a log that it writes.
    async fn part(&self, run: RunId, offset: u64, max: usize) -> Result<Option<Source>, LogError> {
        let tail = self.tails.get(&run).filter(|(begin, _)| *begin <= offset);
        let behind = tail.map(|(begin, _)| keys::name(begin));
        let names = self.objects.names(&keys::live(run), behind.as_deref()).await?;
        let mut begins: Vec<u64> = names.iter().filter_map(|name| keys::offset(name)).collect();
        match tail {
            Some((_, end)) if begins.is_empty() && offset >= end => {
                return Ok(Some(Source::Part { begin: end, bytes: Vec::new() }));
            }
            Some((begin, _)) => begins.insert(0, begin),
            None => {}
        }
        // The last one that begins at the offset or before it has it.
        let first = begins.partition_point(|begin| *begin <= offset).saturating_sub(1);
        let Some(begin) = begins.get(first).copied() else { return Ok(None) };
        let mut bytes = Vec::new();
        let wanted = begins[first..].to_vec();
        let mut contents = stream::iter(wanted)
            .map(async |at| self.segment(run, at).await.map(|content| (at, content)))
            .buffered(AT_A_TIME);
        while let Some(read) = contents.next().await {
            let (at, content) = read?;
            let end = begin + bytes.len() as u64;
            let Some(content) = content.filter(|_| at == end) else { break };
            self.tails.insert(run, (at, end + content.len() as u64));
            bytes.extend_from_slice(&content);
            // The first may lie before the offset, in part or as a whole.
            if (begin + bytes.len() as u64).saturating_sub(offset) >= max as u64 {
                break;
            }
        }
        if bytes.is_empty() {
            self.tails.remove(&run);
            return Ok(None);
        }
        Ok(Some(Source::Part { begin, bytes }))
    }
}

/// A finished log in the object store.
#[derive(Debug)]
struct Object {
    objects: Objects,
    key: String,
    runtime: Handle,
    size: u64,
    head: Bytes,
    /// What was read last, and where it begins.
    near: (u64, Bytes),
}

impl Object {
    /// What is there already.
    fn known(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let within = |begin: u64, bytes: &Bytes| {
            let from = usize::try_from(offset.checked_sub(begin)?).ok()?;
            bytes.get(from..from.checked_add(length)?).map(<[u8]>::to_vec)
        };
        within(0, &self.head).or_else(|| within(self.near.0, &self.near.1))
    }
}

impl ReadAt for Object {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if let Some(known) = self.known(offset, length) {
            return Ok(known);
        }
        let end = offset.saturating_add(AHEAD.max(length as u64)).min(self.size);
        // At the end, what lies before is wanted next: the table.
        let begin = offset.min(end.saturating_sub(AHEAD));
        let read = self.runtime.block_on(self.objects.get_range(&self.key, begin..end)).map_err(io::Error::other)?;
        let (bytes, _) = read.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        self.near = (begin, bytes);
        self.known(offset, length).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}
