//! A store that does not answer for a while.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};

use super::{InstallationId, LogSource, Objects, RunId, Service};

/// In memory, and now and then not there.
#[derive(Debug, Clone, Default)]
struct Fragile {
    inner: Arc<InMemory>,
    away: Arc<AtomicBool>,
}

impl Fragile {
    fn answers(&self) -> Result<()> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(Error::Generic { store: "test", source: "it is away".into() }),
            false => Ok(()),
        }
    }

    fn is_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn objects(&self) -> Objects {
        Objects::new(Arc::new(self.clone()), "logs".into(), "memory")
    }
}

impl fmt::Display for Fragile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fragile")
    }
}

#[async_trait]
impl ObjectStore for Fragile {
    async fn put_opts(&self, at: &Path, content: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.answers()?;
        self.inner.put_opts(at, content, options).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.answers()?;
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.answers()?;
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(&self, all: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(all)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.answers() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => Box::pin(futures::stream::iter([Err(error)])),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.answers()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.answers()?;
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn logs_wait_here_while_the_store_is_away() {
    let fragile = Fragile::default();
    fragile.is_away(true);
    let (one, run) = (Service::new(&fragile.objects()), RunId::generate());
    one.logs.claim_objects(InstallationId::generate()).await.unwrap();
    let writer = one.logs.new_writer(run).await.unwrap();
    writer.append(&super::line(1, "one"));
    writer.flush().await.unwrap();
    assert!(one.mirror(run).await.is_err());
    one.logs.finish(run).await.unwrap();
    assert_eq!(one.texts(run).await, ["one"]);
    assert!(!one.archive().round().await);
    let error = Service::new(&fragile.objects()).logs.read(run, 0, 100).await.unwrap_err();
    assert!(error.may_pass(), "{error}");

    fragile.is_away(false);
    one.put_away(run).await;
    assert_eq!(Service::new(&fragile.objects()).texts(run).await, ["one"]);
    assert!(fragile.objects().get(super::keys::OWNER).await.unwrap().is_some(), "whose they are was told late");
}

#[tokio::test]
async fn what_others_wrote_comes_before_what_was_written_while_the_store_was_away() {
    let fragile = Fragile::default();
    let (one, other, run) = (Service::new(&fragile.objects()), Service::new(&fragile.objects()), RunId::generate());
    one.write(run, [(1, "one"), (2, "two")]).await;
    assert!(one.mirror(run).await.unwrap());
    fragile.is_away(true);
    // All that the engine has is read again.
    let writer = other.write(run, [(1, "one"), (2, "two"), (3, "three")]).await;
    assert_eq!(other.texts(run).await, ["one", "two", "three"]);
    assert!(other.logs.finish(run).await.is_err(), "the first service's part would be lost");
    fragile.is_away(false);
    assert!(other.mirror(run).await.unwrap());
    assert_eq!(writer.resume_point(1, LogSource::Stdout).lines, 3);
    other.put_away(run).await;
    assert_eq!(one.restarted(&fragile.objects()).texts(run).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_workload_is_kept_for_its_log_while_there_is_hope() {
    let fragile = Fragile::default();
    let (one, run) = (Service::new(&fragile.objects()), RunId::generate());
    one.write(run, [(1, "one")]).await;
    fragile.is_away(true);
    let back = async { fragile.is_away(false) };
    tokio::join!(one.logs.until_safe(run, false), back);
    assert_eq!(Service::new(&fragile.objects()).texts(run).await, ["one"]);
    one.logs.finish(run).await.unwrap();
    let (away, ()) = tokio::join!(one.archive().round(), one.logs.until_safe(run, true));
    assert!(away && one.files().is_empty());
}
