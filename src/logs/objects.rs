//! An object store: S3 and what speaks it, Azure Blob, Google Cloud Storage.
//!
//! Every call ends within [`PATIENCE`], tries included. What the library says of a failure may quote requests, and with
//! them signatures: only a status, a code and the deepest cause are told.

mod fault;
mod settings;

use std::{fmt, fs::File, future::Future, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, path::Path as Key, prefix::PrefixStore};
use tokio::time::timeout;

pub use fault::Fault;
pub use settings::{ObjectSettings, SettingsError};

use super::{LogError, error::blocking};

/// How long one call may take, in all its tries.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is larger than this is sent in parts of this size, in bytes: as much is in memory for each object under way.
const PART: usize = 8 * 1024 * 1024;

/// What came of putting an object that is to be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is there.
    Made,
    /// There was one before.
    Exists,
}

/// Objects below a prefix of a bucket or container. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: Arc<PrefixStore<Arc<dyn ObjectStore>>>,
    /// Where, for messages.
    place: Arc<str>,
}

// The stores of the library know credentials.
impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.place).finish()
    }
}

impl Objects {
    /// Makes a client. Asks nobody yet.
    ///
    /// # Errors
    /// The options do not fit together: says which.
    pub fn open(settings: &ObjectSettings) -> Result<Self, SettingsError> {
        let store = settings.client()?;
        Ok(Self::new(store, settings.prefix(), settings.place()))
    }

    /// The objects below a prefix.
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: Key, place: &str) -> Self {
        Self { store: Arc::new(PrefixStore::new(store, prefix)), place: place.into() }
    }

    /// Where they are.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, LogError> {
        match timeout(PATIENCE, work).await {
            Ok(done) => done.map_err(|error| self.error(operation, key, &error)),
            Err(_) => Err(self.silent(operation, key)),
        }
    }

    fn error(&self, operation: &'static str, key: &str, error: &Error) -> LogError {
        let (fault, detail) = fault::told(error);
        LogError::Objects { operation, place: format!("{}/{key}", self.place), fault, detail }
    }

    fn silent(&self, operation: &'static str, key: &str) -> LogError {
        let detail = format!("no answer within {} s", PATIENCE.as_secs());
        LogError::Objects { operation, place: format!("{}/{key}", self.place), fault: Fault::Away, detail }
    }

    /// Puts an object unless there is one.
    pub(super) async fn put_new(&self, key: &str, content: Bytes) -> Result<Put, LogError> {
        let at = Key::from(key);
        let put = self.store.put_opts(&at, content.clone().into(), PutMode::Create.into());
        match timeout(PATIENCE, put).await {
            Ok(Ok(_)) => Ok(Put::Made),
            Ok(Err(Error::AlreadyExists { .. })) => Ok(Put::Exists),
            // A server that cannot put on a condition: two that put at the same moment are not told apart there.
            Ok(Err(Error::NotImplemented { .. } | Error::NotSupported { .. })) => {
                if self.size(key).await?.is_some() {
                    return Ok(Put::Exists);
                }
                self.put(key, content.into()).await.map(|()| Put::Made)
            }
            Ok(Err(error)) => Err(self.error("put", key, &error)),
            Err(_) => Err(self.silent("put", key)),
        }
    }

    async fn put(&self, key: &str, content: PutPayload) -> Result<(), LogError> {
        self.call("put", key, self.store.put(&Key::from(key), content)).await.map(drop)
    }

    /// Puts a file unless there is an object.
    pub(super) async fn put_new_file(&self, key: &str, file: File, size: u64) -> Result<Put, LogError> {
        if size <= PART as u64 {
            let (content, _) = self.part(key, file).await?;
            return self.put_new(key, content).await;
        }
        // What is sent in parts cannot be put on a condition.
        if self.size(key).await?.is_some() {
            return Ok(Put::Exists);
        }
        self.put_file(key, file, size).await.map(|()| Put::Made)
    }

    /// Puts a file in place of whatever is there.
    pub(super) async fn put_file(&self, key: &str, mut file: File, size: u64) -> Result<(), LogError> {
        if size <= PART as u64 {
            let (content, _) = self.part(key, file).await?;
            return self.put(key, content.into()).await;
        }
        let mut upload = self.call("put", key, self.store.put_multipart(&Key::from(key))).await?;
        let parts = async {
            loop {
                let (content, rest) = self.part(key, file).await?;
                if content.is_empty() {
                    return self.call("put", key, upload.complete()).await.map(drop);
                }
                self.call("put", key, upload.put_part(content.into())).await?;
                file = rest;
            }
        };
        let done = parts.await;
        if done.is_err() {
            // Else the store keeps the parts, unless it has a rule for such.
            let _ = timeout(PATIENCE, upload.abort()).await;
        }
        done
    }

    /// The file's next part; nothing at its end.
    async fn part(&self, key: &str, file: File) -> Result<(Bytes, File), LogError> {
        let key = key.to_owned();
        blocking(move || {
            let mut content = Vec::new();
            let mut part = std::io::Read::take(file, PART as u64);
            std::io::Read::read_to_end(&mut part, &mut content).map_err(LogError::io("read", key.as_ref()))?;
            Ok((content.into(), part.into_inner()))
        })
        .await
    }

    /// An object's size; `None` when it is not there.
    pub(super) async fn size(&self, key: &str) -> Result<Option<u64>, LogError> {
        let found = self.call("look at", key, self.store.head(&Key::from(key))).await;
        present(found.map(|meta| meta.size))
    }

    /// A whole object, which has something in it; `None` when it is not there. None of ours that is read whole is larger
    /// than a part.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, LogError> {
        match self.get_range(key, 0..PART as u64).await? {
            Some((content, size)) if size > content.len() as u64 => {
                let (place, detail) = (format!("{}/{key}", self.place), format!("it has {size} bytes"));
                Err(LogError::Objects { operation: "read", place, fault: Fault::Foreign, detail })
            }
            found => Ok(found.map(|(content, _)| content)),
        }
    }

    /// A part of an object, or what there is of it, and the object's size; `None` when it is not there.
    pub(super) async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<(Bytes, u64)>, LogError> {
        let get = async {
            let options = object_store::GetOptions::new().with_range(Some(range));
            let found = self.store.get_opts(&Key::from(key), options).await?;
            let size = found.meta.size;
            Ok((found.bytes().await?, size))
        };
        present(self.call("read", key, get).await)
    }

    /// The names directly below a folder that come behind one of them, in order.
    pub(super) async fn names(&self, folder: &str, behind: Option<&str>) -> Result<Vec<String>, LogError> {
        let prefix = Key::from(folder);
        let found = match behind {
            Some(name) => self.store.list_with_offset(Some(&prefix), &Key::from(format!("{folder}/{name}"))),
            None => self.store.list(Some(&prefix)),
        };
        let name = |meta: object_store::ObjectMeta| meta.location.filename().map(str::to_owned);
        let listed = found.try_filter_map(|meta| std::future::ready(Ok(name(meta)))).try_collect();
        let mut names: Vec<String> = self.call("list", folder, listed).await?;
        // Not every server sorts, and the library promises nothing.
        names.sort_unstable();
        Ok(names)
    }

    /// All keys that there are.
    pub(super) async fn all(&self) -> Result<Vec<String>, LogError> {
        let keys = self.store.list(None).map_ok(|meta| meta.location.to_string()).try_collect();
        self.call("list", "", keys).await
    }

    /// The folders directly below a folder.
    pub(super) async fn folders(&self, folder: &str) -> Result<Vec<String>, LogError> {
        let listed = self.call("list", folder, self.store.list_with_delimiter(Some(&Key::from(folder)))).await?;
        Ok(listed.common_prefixes.iter().filter_map(|key| key.filename().map(str::to_owned)).collect())
    }

    /// Deletes objects. That one is missing is no failure.
    pub(super) async fn delete(&self, keys: Vec<String>) -> Result<(), LogError> {
        let first = keys.first().cloned().unwrap_or_default();
        let keys = stream::iter(keys).map(|key| Ok(Key::from(key))).boxed();
        let mut gone = self.store.delete_stream(keys);
        let all = async {
            while let Some(one) = gone.next().await {
                match one {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        self.call("delete", &first, all).await
    }
}

/// What is missing is an answer, unless the bucket is.
fn present<T>(found: Result<T, LogError>) -> Result<Option<T>, LogError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(LogError::Objects { fault: Fault::Missing, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
