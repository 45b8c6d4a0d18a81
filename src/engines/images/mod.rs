//! Images without a daemon: a store on the disk that registries and archives fill.
//!
//! A layer is a directory in the form that overlayfs mounts; an image is a record that names its layers; a name points
//! to a record. All of it appears by a rename, so that whoever is killed leaves nothing half done, and several
//! processes may share the store.
//!
//! | path | what it is |
//! |---|---|
//! | `layers/<hash>` | an unpacked layer, by the hash of its content |
//! | `images/<hash>.json` | an [`Image`], by the hash of its configuration; locked while in use |
//! | `names/<hash>.json` | what a reference means; its modification time is that of its last use |
//! | `drafts/` | what is being made |
//! | `lock` | shared by those who add, exclusive for those who take away |

mod archive;
mod collect;
mod config;
mod reference;
mod registry;
mod unpack;

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::{task::spawn_blocking, time::timeout};

use super::{Credentials, EngineError, EngineErrorKind, LaunchProgress, Persistence, PullPolicy, reexec::Helper};
use crate::domain::WaitReason;

pub use config::RunConfig;
pub(crate) use config::is_digest;
pub use reference::ImageReference;
pub(super) use unpack::{COMMAND as UNPACK, FILES, main as unpack_main};

/// Where the store lies and how it behaves.
#[derive(Debug, Clone)]
pub struct ImageStoreConfig {
    /// The store's directory.
    pub dir: PathBuf,
    /// Unpacks layers in a process of its own, and removes them.
    pub helper: Helper,
    /// Archives are read below this directory alone; `None`: not at all.
    pub archives: Option<PathBuf>,
    /// How many bytes of layers are kept. Images in use are kept beyond it.
    pub max_bytes: u64,
    /// The longest time for one pull.
    pub pull_timeout: Duration,
}

/// One image, ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The digest of its configuration, like `sha256:1234…`: two images with the same are the same.
    pub id: String,
    /// The lowest first.
    pub layers: Vec<Layer>,
    /// How it wants to be run.
    pub config: RunConfig,
}

/// One unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of its uncompressed archive.
    pub diff_id: String,
    /// What it takes on the disk, about.
    pub bytes: u64,
}

impl Layer {
    /// Its directory below `layers/`. Short, since the names of all of an image's layers must fit in one page; half
    /// of a SHA-256 is still beyond anyone's reach.
    #[must_use]
    pub fn dir_name(&self) -> &str {
        short(&self.diff_id)
    }
}

fn short(digest: &str) -> &str {
    digest.strip_prefix("sha256:").and_then(|hex| hex.get(..32)).unwrap_or_default()
}

/// An image that cannot be taken away as long as this lives.
#[derive(Debug)]
pub struct Leased {
    /// The image.
    pub image: Image,
    /// Locked; another process locks the same file to keep the image for itself.
    pub lease: PathBuf,
    _lock: File,
}

/// What an image is called, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The reference, in full: `docker.io/library/busybox:1`.
    pub name: String,
    /// [`Image::id`].
    pub id: String,
    /// What its layers take on the disk.
    pub bytes: u64,
}

/// The images of this machine.
pub struct ImageStore {
    config: ImageStoreConfig,
    pulls: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl fmt::Debug for ImageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageStore").field("dir", &self.config.dir).finish_non_exhaustive()
    }
}

impl ImageStore {
    /// Opens the store, and makes it when it is not there. Blocks.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(config: ImageStoreConfig) -> io::Result<Self> {
        for name in ["layers", "images", "names", "drafts"] {
            fs::create_dir_all(config.dir.join(name))?;
        }
        File::options().create(true).append(true).open(config.dir.join("lock"))?;
        let store = Self { config, pulls: Mutex::default() };
        store.clear_drafts()?;
        Ok(store)
    }

    /// Where the layers' directories lie.
    #[must_use]
    pub fn layers_dir(&self) -> PathBuf {
        self.config.dir.join("layers")
    }

    /// The image that this reference means, fetched when it must be.
    ///
    /// Many calls for one image at once are one fetch.
    ///
    /// # Errors
    /// The kinds that begin with `Image`, and what may help.
    pub async fn ensure(
        self: &Arc<Self>,
        image: &str,
        pull: PullPolicy,
        credentials: Option<&Credentials>,
        progress: &LaunchProgress,
    ) -> Result<Leased, EngineError> {
        let reference: ImageReference = image.parse()?;
        if pull == PullPolicy::IfMissing
            && let Some(found) = self.find(&reference).await?
        {
            return Ok(found);
        }
        progress.waits_for(WaitReason::PullingImage, image);
        let turn = self.turn(&reference.to_string());
        let _turn = turn.lock().await;
        if pull == PullPolicy::IfMissing
            && let Some(found) = self.find(&reference).await?
        {
            return Ok(found);
        }
        let fetch = self.fetch(&reference, credentials, progress);
        let fetched = timeout(self.config.pull_timeout, fetch).await.map_err(|_| {
            let seconds = self.config.pull_timeout.as_secs();
            pull_failed(Persistence::Temporary, format!("{image} did not arrive within {seconds} s"))
        })??;
        let store = self.clone();
        let name = reference.to_string();
        blocking(move || store.keep(&name, &fetched)).await
    }

    async fn fetch(
        self: &Arc<Self>,
        reference: &ImageReference,
        credentials: Option<&Credentials>,
        progress: &LaunchProgress,
    ) -> Result<Image, EngineError> {
        match reference {
            ImageReference::Registry(reference) => self.pull(reference, credentials, progress).await,
            ImageReference::Local { path, .. } => {
                let path = self.permitted(path)?;
                let store = self.clone();
                blocking(move || store.read_archive(&path)).await
            }
        }
    }

    /// Reads an image from an archive or a layout directory, and gives it a name. Blocks.
    ///
    /// # Errors
    /// It is no image, or cannot be kept.
    pub fn import(&self, path: &Path, name: &str) -> Result<Image, EngineError> {
        let reference: ImageReference = name.parse()?;
        let image = self.read_archive(path)?;
        Ok(self.keep(&reference.to_string(), &image)?.image)
    }

    /// Archives name files of this machine, and whoever may start runs must not read any file there is.
    fn permitted(&self, path: &Path) -> Result<PathBuf, EngineError> {
        let refused = |why: String| {
            EngineError::new(EngineErrorKind::ImageInvalid, Persistence::Permanent, "read the image", why)
        };
        let Some(allowed) = &self.config.archives else {
            return Err(refused(
                "this engine reads no archives: set `archives` in its settings, or use `haulier image import`"
                    .to_owned(),
            ));
        };
        let (real, allowed) = match (path.canonicalize(), allowed.canonicalize()) {
            (Ok(real), Ok(allowed)) => (real, allowed),
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!("there is no {}", path.display());
                return Err(EngineError::new(
                    EngineErrorKind::ImageNotFound,
                    Persistence::Permanent,
                    "read the image",
                    text,
                ));
            }
            (Err(error), _) | (_, Err(error)) => return Err(refused(error.to_string())),
        };
        if real.starts_with(&allowed) {
            Ok(real)
        } else {
            Err(refused(format!("archives are read below {} alone", allowed.display())))
        }
    }

    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = pulls.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        pulls.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        pulls.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }

    async fn find(self: &Arc<Self>, reference: &ImageReference) -> Result<Option<Leased>, EngineError> {
        let (store, name) = (self.clone(), reference.to_string());
        blocking(move || store.lookup(&name).map_err(|error| broken(&error))).await
    }

    /// What is stored under this name, marked as used now.
    fn lookup(&self, name: &str) -> io::Result<Option<Leased>> {
        let path = self.name_path(name);
        let Some(named) = read_json::<Named>(&path)? else { return Ok(None) };
        let _ = File::options().append(true).open(&path).and_then(|file| touch(&file));
        self.lease(&named.id)
    }

    fn lease(&self, id: &str) -> io::Result<Option<Leased>> {
        let lease = self.image_path(id);
        let lock = match File::open(&lease) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        lock.lock_shared()?;
        // Taken away before it was locked?
        let Some(image) = read_json(&lease)? else { return Ok(None) };
        Ok(Some(Leased { image, lease, _lock: lock }))
    }

    /// Stores the record and the name of an image whose layers are there.
    fn keep(&self, name: &str, image: &Image) -> Result<Leased, EngineError> {
        let kept = (|| {
            let _adding = self.adding()?;
            let bytes = image.layers.iter().map(|layer| layer.bytes).sum();
            self.write_json(&self.image_path(&image.id), image)?;
            self.write_json(&self.name_path(name), &Named { name: name.to_owned(), id: image.id.clone(), bytes })?;
            self.lease(&image.id)
        })();
        let leased = kept.map_err(|error| broken(&error))?;
        self.collect_garbage();
        leased.ok_or_else(|| broken(&io::Error::from(io::ErrorKind::NotFound)))
    }

    /// Nothing is taken away as long as this is held.
    fn adding(&self) -> io::Result<File> {
        let lock = File::open(self.config.dir.join("lock"))?;
        lock.lock_shared()?;
        Ok(lock)
    }

    fn image_path(&self, id: &str) -> PathBuf {
        self.config.dir.join("images").join(format!("{}.json", id.trim_start_matches("sha256:")))
    }

    fn name_path(&self, name: &str) -> PathBuf {
        let hash = hex(digest(&SHA256, name.as_bytes()).as_ref());
        self.config.dir.join("names").join(format!("{hash}.json"))
    }

    fn write_json(&self, path: &Path, value: &impl Serialize) -> io::Result<()> {
        let mut draft = tempfile::NamedTempFile::new_in(self.config.dir.join("drafts"))?;
        draft.write_all(&serde_json::to_vec(value)?)?;
        draft.as_file().sync_data()?;
        draft.persist(path)?;
        Ok(())
    }
}

fn touch(file: &File) -> io::Result<()> {
    use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    Ok(futimens(file, &Timestamps { last_access: now, last_modification: now })?)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(broken(&io::Error::other(error))))
}

fn pull_failed(persistence: Persistence, detail: impl Into<String>) -> EngineError {
    EngineError::new(EngineErrorKind::ImagePull, persistence, "pull the image", detail)
}

fn invalid(detail: impl Into<String>) -> EngineError {
    EngineError::new(EngineErrorKind::ImageInvalid, Persistence::Permanent, "read the image", detail)
}

/// The store itself is at fault.
fn broken(error: &io::Error) -> EngineError {
    let detail = format!("the image store cannot be used: {error}: look at its directory and at the disk");
    EngineError::new(EngineErrorKind::Internal, Persistence::Temporary, "keep the image", detail)
}

#[cfg(test)]
mod tests;
