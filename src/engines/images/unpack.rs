//! Unpacking a layer, which may be anyone's work, in a process of its own that sees nothing but the layer's directory.
//!
//! Links lead nowhere outside, for there is no outside. Devices are left out: a container's come from the engine.
//! Extended attributes are left out too: with `no_new_privileges` capabilities of files do not count, and overlayfs's
//! own must not be forged.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    os::unix::{ffi::OsStrExt, fs::lchown},
    path::{Component, Path, PathBuf},
    process::Stdio,
};

use ring::digest::{Context, SHA256};
use rustix::{
    fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr, syncfs},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry, EntryType, Header};

use super::{ImageStore, Layer, broken, hex, invalid, short};
use crate::engines::EngineError;

/// The hidden subcommand.
pub(crate) const COMMAND: &str = "embedded-unpack";
/// What an entry costs beside its content, so that millions of empty files are bounded as well.
const ENTRY_BYTES: u64 = 4096;
/// An error's text is no longer.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// What the child answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Unpacked { diff_id: String, bytes: u64 },
    Failed(String),
}

/// A layer that is being unpacked: write the archive to it, then [`finish`](Unpacking::finish).
pub(super) struct Unpacking<'a> {
    store: &'a ImageStore,
    dir: tempfile::TempDir,
    child: std::process::Child,
    diff_id: String,
    _adding: File,
}

impl ImageStore {
    /// The layer, if it is there.
    pub(super) fn layer(&self, diff_id: &str) -> Option<Layer> {
        let bytes = fs::read_to_string(self.layers_dir().join(short(diff_id)).join(SIZE)).ok()?;
        Some(Layer { diff_id: diff_id.to_owned(), bytes: bytes.parse().ok()? })
    }

    /// Begins to unpack a layer that must come to this digest.
    pub(super) fn unpack(&self, diff_id: &str) -> Result<Unpacking<'_>, EngineError> {
        let begun = (|| {
            let adding = self.adding()?;
            let dir = tempfile::tempdir_in(self.config.dir.join("drafts"))?;
            fs::create_dir(dir.path().join(FILES))?;
            let helper = &self.config.helper;
            let child = helper
                .command(COMMAND)
                .arg(dir.path().join(FILES))
                .arg(self.config.max_bytes.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?;
            Ok(Unpacking { store: self, dir, child, diff_id: diff_id.to_owned(), _adding: adding })
        })();
        begun.map_err(|error| broken(&error))
    }
}

/// Below a layer's directory: the files themselves, and what they take.
pub(in crate::engines) const FILES: &str = "files";
const SIZE: &str = "size";

impl Unpacking<'_> {
    /// Hands a piece of the archive to the child. An error means that it has ended; `finish` says why.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(bytes)
    }

    /// The end of the archive: the layer is kept if it is what it must be.
    pub(super) fn finish(mut self) -> Result<Layer, EngineError> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        if let Some(stdout) = self.child.stdout.take() {
            stdout.take(LONGEST_ANSWER).read_to_string(&mut text).map_err(|error| broken(&error))?;
        }
        let answer = serde_json::from_str(&text);
        match answer.unwrap_or_else(|_| Answer::Failed("the process that unpacks it ended early".to_owned())) {
            Answer::Unpacked { diff_id, bytes } if diff_id == self.diff_id => {
                let layer = Layer { diff_id, bytes };
                self.publish(&layer).map_err(|error| broken(&error))?;
                Ok(layer)
            }
            Answer::Unpacked { diff_id, .. } => Err(invalid(format!(
                "a layer has the digest {diff_id} and must have {}: build the image again",
                self.diff_id
            ))),
            Answer::Failed(why) => Err(invalid(format!("a layer cannot be unpacked: {why}"))),
        }
    }

    fn publish(&self, layer: &Layer) -> io::Result<()> {
        fs::write(self.dir.path().join(SIZE), layer.bytes.to_string())?;
        fs::set_permissions(self.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let target = self.store.layers_dir().join(layer.dir_name());
        match fs::rename(self.dir.path(), &target) {
            // Another process was faster with the same.
            Err(_) if target.join(SIZE).exists() => Ok(()),
            done => done,
        }
    }
}

impl Drop for Unpacking<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The directory's own removal cannot take away what others own.
        let _ = self.store.config.helper.remove_tree(self.dir.path());
    }
}

/// The child: unpacks the archive on stdin into this directory, of which it makes its root.
pub(crate) fn main(dir: &Path, max_bytes: u64) {
    // Read first: there is no /proc in the layer's directory.
    let owners = Owners::here();
    let answer = chroot(dir).and_then(|()| unpack(io::stdin().lock(), max_bytes, owners));
    let answer = answer.unwrap_or_else(|error| Answer::Failed(error.to_string()));
    let _ = serde_json::to_writer(io::stdout(), &answer);
}

fn chroot(dir: &Path) -> io::Result<()> {
    rustix::process::umask(Mode::empty());
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    rustix::process::chroot(dir)?;
    std::env::set_current_dir("/")
}

fn unpack(archive: impl Read, max_bytes: u64, owners: Owners) -> io::Result<Answer> {
    let hashed = Hashed { inner: decompressed(archive)?, hash: Context::new(&SHA256) };
    let mut archive = Archive::new(hashed);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(owners.are_kept());
    archive.set_preserve_mtime(true);
    archive.set_overwrite(true);
    let mut bytes = 0_u64;
    for entry in archive.entries()? {
        let mut entry = entry?;
        bytes = bytes.saturating_add(ENTRY_BYTES).saturating_add(entry.size());
        if bytes > max_bytes {
            return Err(io::Error::other(format!("it takes more than {max_bytes} bytes: raise image_store_mb")));
        }
        let path = entry.path()?.into_owned();
        let unpacked = owners.check(entry.header()).and_then(|()| unpack_entry(&mut entry, owners));
        unpacked.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    }
    // What comes after the last entry belongs to the digest too.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    // A layer counts as whole once it has its name: it must be so after a power cut as well.
    syncfs(File::open("/")?)?;
    Ok(Answer::Unpacked { diff_id: format!("sha256:{}", hex(rest.hash.finish().as_ref())), bytes })
}

fn unpack_entry(entry: &mut Entry<'_, impl Read>, owners: Owners) -> io::Result<()> {
    let Some(path) = inside(&entry.path()?)? else { return Ok(()) };
    let name = path.file_name().unwrap_or_default().as_bytes();
    if let Some(hidden) = name.strip_prefix(b".wh.") {
        return hide(&path, hidden);
    }
    match entry.header().entry_type() {
        EntryType::Char | EntryType::Block => Ok(()),
        EntryType::Fifo => {
            make_parents(&path)?;
            make_way(&path, false)?;
            let mode = Mode::from_raw_mode(entry.header().mode()? & 0o7777);
            mknodat(CWD, &path, FileType::Fifo, mode, 0)?;
            if owners.are_kept() {
                lchown(&path, Some(number(entry.header().uid()?)?), Some(number(entry.header().gid()?)?))?;
            }
            Ok(())
        }
        EntryType::Link => {
            let target = entry.link_name()?.ok_or_else(|| io::Error::other("a link to nothing"))?;
            let target = inside(&target)?.ok_or_else(|| io::Error::other("a link to the root"))?;
            make_parents(&path)?;
            if target != path {
                make_way(&path, false)?;
                fs::hard_link(target, &path)?;
            }
            Ok(())
        }
        kind => {
            make_way(&path, kind.is_dir())?;
            entry.unpack_in("/").map(drop)
        }
    }
}

/// Whose files may become: as many users and groups as this process's user namespace has, from 0 up.
#[derive(Debug, Clone, Copy)]
struct Owners {
    users: u64,
    groups: u64,
}

impl Owners {
    /// To be asked where there is a `/proc`.
    fn here() -> Self {
        let count = |path: &str| {
            let map = fs::read_to_string(path).unwrap_or_default();
            let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
            counts.sum()
        };
        Self { users: count("/proc/self/uid_map"), groups: count("/proc/self/gid_map") }
    }

    /// Where there is nobody but root, all becomes root's.
    fn are_kept(self) -> bool {
        self.users > 1 && self.groups > 1
    }

    fn check(self, header: &Header) -> io::Result<()> {
        let (uid, gid) = (header.uid()?, header.gid()?);
        if !self.are_kept() || (uid < self.users && gid < self.groups) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "it belongs to user {uid}, group {gid}, and the service, which is not root, has {} user ids and {} group ids \
             to give: lend its user more in /etc/subuid and /etc/subgid, or run it as root",
            self.users, self.groups
        )))
    }
}

fn number(id: u64) -> io::Result<u32> {
    id.try_into().map_err(io::Error::other)
}

/// The path below the root; `None` for the root itself. Whoever writes `..` into a layer means no good.
fn inside(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut inside = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(io::Error::other("it leads out of the layer")),
        }
    }
    Ok((inside != Path::new("/")).then_some(inside))
}

fn make_parents(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Removes what stands there, unless it is a directory that may stay.
fn make_way(path: &Path, for_directory: bool) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() && for_directory => Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

/// Turns an archive's mark for a deleted file into overlayfs's.
fn hide(mark: &Path, hidden: &[u8]) -> io::Result<()> {
    make_parents(mark)?;
    let parent = mark.parent().unwrap_or(Path::new("/"));
    if hidden == b".wh..opq" {
        let mark = |name: &str| setxattr(parent, name, b"y", XattrFlags::empty());
        return Ok(match mark("trusted.overlay.opaque") {
            // In a user namespace overlayfs reads those that users may set.
            Err(Errno::PERM) => mark("user.overlay.opaque"),
            done => done,
        }?);
    }
    // Marks of other file systems' housekeeping, and names that are none.
    if hidden.starts_with(b".wh.") || hidden.is_empty() || hidden == b"." || hidden == b".." {
        return Ok(());
    }
    let path = parent.join(std::ffi::OsStr::from_bytes(hidden));
    make_way(&path, false)?;
    Ok(mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0)?)
}

/// Plain, gzip or zstd, by its first bytes.
fn decompressed<'a>(archive: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut archive = BufReader::with_capacity(256 * 1024, archive);
    let mut magic = [0; 4];
    let length = read_up_to(&mut archive, &mut magic)?;
    let archive = io::Cursor::new(magic[..length].to_vec()).chain(archive);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(archive)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(archive)?),
        _ => Box::new(archive),
    })
}

fn read_up_to(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < into.len() {
        match from.read(&mut into[length..])? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

/// Hashes what passes.
struct Hashed<R> {
    inner: R,
    hash: Context,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.hash.update(&into[..length]);
        Ok(length)
    }
}
