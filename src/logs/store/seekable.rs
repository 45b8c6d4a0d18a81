//! Finished logs: zstd in frames that can be read by themselves.
//!
//! The frames are followed by the table of the zstd seekable format in a skippable frame, so that `zstd -d` reads the
//! file as a whole, and this module any part of it.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
};

/// Content of one frame, in bytes; the last one may have less.
pub(super) const FRAME: usize = 256 * 1024;
/// The usual compromise of speed and size.
const LEVEL: i32 = 3;

const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
/// Number of frames (4), descriptor (1), magic (4).
const FOOTER: usize = 9;
/// Compressed (4) and plain size (4).
const ENTRY: usize = 8;

/// Compresses all that `from` holds.
pub(super) fn compress(mut from: impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let mut plain = Vec::new();
    let mut table = Vec::new();
    loop {
        plain.clear();
        (&mut from).take(FRAME as u64).read_to_end(&mut plain)?;
        if plain.is_empty() {
            break;
        }
        let frame = compressor.compress(&plain)?;
        to.write_all(&frame)?;
        table.extend_from_slice(&length(frame.len())?);
        table.extend_from_slice(&length(plain.len())?);
    }
    to.write_all(&SKIPPABLE_MAGIC.to_le_bytes())?;
    to.write_all(&length(table.len() + FOOTER)?)?;
    to.write_all(&table)?;
    to.write_all(&length(table.len() / ENTRY)?)?;
    to.write_all(&[0])?;
    to.write_all(&SEEKABLE_MAGIC.to_le_bytes())
}

/// What a finished log is read from: a file, or an object in an object store.
pub(super) trait ReadAt: fmt::Debug + Send {
    /// Its length, in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Exactly so many bytes from `offset` on; an error when there are fewer. Blocks.
    fn read_exact_at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>>;
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        FileExt::read_exact_at(self, &mut bytes, offset)?;
        Ok(bytes)
    }
}

/// A finished log, open for reading.
#[derive(Debug)]
pub(super) struct Reader {
    from: Box<dyn ReadAt>,
    /// Where each frame begins in what is read; one more entry for the end of the last.
    begins: Vec<u64>,
    length: u64,
    /// The frame read last: its number and content.
    recent: Option<(usize, Vec<u8>)>,
}

impl Reader {
    /// Reads the table.
    pub(super) fn open(mut from: Box<dyn ReadAt>) -> io::Result<Self> {
        let size = from.size()?;
        let footer = from.read_exact_at(size.checked_sub(FOOTER as u64).ok_or_else(damaged)?, FOOTER)?;
        let frames = u64::from(number(&footer[..4]));
        if number(&footer[5..]) != SEEKABLE_MAGIC || footer[4] != 0 {
            return Err(damaged());
        }
        let table_at = size.checked_sub(FOOTER as u64 + frames * ENTRY as u64).ok_or_else(damaged)?;
        let length = usize::try_from(frames).map_err(|_| damaged())? * ENTRY;
        let table = from.read_exact_at(table_at, length)?;

        let (mut begins, mut length) = (vec![0], 0);
        let mut end = 0_u64;
        for (index, entry) in (1..=frames).zip(table.chunks_exact(ENTRY)) {
            let plain = number(&entry[4..]);
            // All frames but the last are full, which is what makes an offset's frame a division.
            let full = plain as usize == FRAME || (index == frames && (1..=FRAME).contains(&(plain as usize)));
            end += u64::from(number(&entry[..4]));
            if !full || end > table_at {
                return Err(damaged());
            }
            begins.push(end);
            length += u64::from(plain);
        }
        Ok(Self { from, begins, length, recent: None })
    }

    /// Length of the content, in bytes.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// At most `max` bytes from `offset`; fewer only at the end.
    pub(super) fn read_at(&mut self, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let wanted = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX).min(max);
        let mut out = Vec::with_capacity(wanted);
        while out.len() < wanted {
            let at = offset + out.len() as u64;
            let frame = self.frame(usize::try_from(at / FRAME as u64).map_err(|_| damaged())?)?;
            let rest = usize::try_from(at % FRAME as u64).ok().and_then(|from| frame.get(from..)).unwrap_or_default();
            if rest.is_empty() {
                return Err(damaged());
            }
            out.extend_from_slice(&rest[..rest.len().min(wanted - out.len())]);
        }
        Ok(out)
    }

    fn frame(&mut self, index: usize) -> io::Result<&[u8]> {
        if self.recent.as_ref().is_none_or(|(recent, _)| *recent != index) {
            let [begin, end] =
                self.begins.get(index..index + 2).and_then(|ends| ends.try_into().ok()).ok_or_else(damaged)?;
            let size: u64 = end - begin;
            // No frame of ours is larger than its content by more than a little.
            if size > 2 * FRAME as u64 {
                return Err(damaged());
            }
            let frame = self.from.read_exact_at(begin, usize::try_from(size).map_err(|_| damaged())?)?;
            self.recent = Some((index, zstd::bulk::decompress(&frame, FRAME)?));
        }
        Ok(self.recent.as_ref().map_or(&[], |(_, plain)| plain))
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map_or(0, u32::from_le_bytes)
}

fn length(length: usize) -> io::Result<[u8; 4]> {
    u32::try_from(length).map(u32::to_le_bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the compressed log is damaged: restore it from a backup or delete it")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader(content: &[u8]) -> Reader {
        let mut file = tempfile::tempfile().unwrap();
        compress(content, &mut file).unwrap();
        Reader::open(Box::new(file)).unwrap()
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 7 % 251) as u8).collect()
    }

    #[test]
    fn any_part_reads_back() {
        let content = content(2 * FRAME + 1000);
        let mut reader = reader(&content);
        assert_eq!(reader.length(), content.len() as u64);
        for (offset, max) in
            [(0, content.len()), (FRAME - 1, 2), (FRAME, FRAME), (2 * FRAME + 999, 9), (content.len(), 1)]
        {
            let end = content.len().min(offset + max);
            assert_eq!(reader.read_at(offset as u64, max).unwrap(), &content[offset..end], "{offset}, {max}");
        }
        assert_eq!(reader.read_at(u64::MAX, 1).unwrap(), b"");
    }

    #[test]
    fn nothing_at_all_reads_back() {
        assert_eq!(reader(b"").length(), 0);
    }

    #[test]
    fn other_tools_read_it_as_a_whole() {
        let content = content(FRAME + 5);
        let mut compressed = Vec::new();
        compress(&content[..], &mut compressed).unwrap();
        assert_eq!(zstd::stream::decode_all(&compressed[..]).unwrap(), content);
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_an_error(mut bytes: Vec<u8>, frames: u32) {
            bytes.extend_from_slice(&frames.to_le_bytes());
            bytes.push(0);
            bytes.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            if let Ok(mut reader) = Reader::open(Box::new(file)) {
                prop_assert!(reader.length() == 0 || reader.read_at(0, 10).is_err());
            }
        }
    }
}
