//! Puts into the object store what was written to open logs.

use super::{
    AT_A_TIME, Arc, Archive, Duration, Files, Instant, Live, LogError, Progress, Put, RunId, Source, StreamExt,
    blocking, files, keys, stream, timeout,
};

/// The shortest time between a log's segments.
pub(super) const PAUSE: Duration = Duration::from_secs(5);
/// The longest.
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// From so many segments on they come less often: what is read whole should not be thousands of objects.
const MANY: u32 = 50;
/// How long a log waits after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(20);
/// Content of one segment at the most, in bytes. No record is nearly as long.
pub(super) const SEGMENT: usize = 4 * 1024 * 1024;
const LEVEL: i32 = 3;

/// Whole records of a live log, plain and compressed.
struct Piece {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Archive {
    /// Puts there what is due of these logs.
    pub(in super::super) async fn mirror_due(&self, logs: Vec<Arc<Live>>) {
        let now = Instant::now();
        let due = logs.into_iter().filter(|live| {
            let Some(visible) = live.visible() else { return false };
            let progress = self.progress(live.run());
            // Whoever holds it is at it.
            progress
                .try_lock()
                .is_ok_and(|progress| (visible > progress.put || !progress.verified) && progress.due <= now)
        });
        self.mirror_each(due.collect()).await;
    }

    /// Puts there all that there is of these logs; gives up after a while.
    pub(in super::super) async fn mirror_all(&self, logs: Vec<Arc<Live>>, within: Duration) {
        if timeout(within, self.mirror_each(logs)).await.is_err() {
            tracing::warn!("the object store is slow: the ends of some logs are read again from their engines");
        }
    }

    async fn mirror_each(&self, logs: Vec<Arc<Live>>) {
        let one = async |live: Arc<Live>| match self.mirror(&live).await {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(&error),
        };
        stream::iter(logs).for_each_concurrent(AT_A_TIME, one).await;
    }

    /// Puts there what there is of a log; whether all of it is there.
    pub(in super::super) async fn mirror(&self, live: &Arc<Live>) -> Result<bool, LogError> {
        let progress = self.progress(live.run());
        let mut progress = progress.lock().await;
        progress.due = Instant::now() + AFTER_FAILURE;
        self.ensure_claimed().await?;
        if !progress.verified && live.visible().is_some() {
            self.take_over(live, &mut progress).await?;
        }
        let whole = loop {
            let Some(visible) = live.visible() else { break false };
            if visible <= progress.put {
                break true;
            }
            let (files, run, from) = (Arc::clone(&self.files), live.run(), progress.put);
            let Some(piece) = blocking(move || piece(&files, run, from, visible)).await? else { break false };
            if !self.put_segment(run, &mut progress, piece).await? {
                break false;
            }
        };
        progress.due = Instant::now() + pause(progress.segments);
        Ok(whole)
    }

    /// Whether nobody else had put something else there.
    async fn put_segment(&self, run: RunId, progress: &mut Progress, piece: Piece) -> Result<bool, LogError> {
        let put = self.objects.put_new(&keys::segment(run, progress.put), piece.packed.into()).await?;
        // An earlier try may have done it, unheard.
        if put == Put::Exists && self.segment(run, progress.put).await?.is_none_or(|found| found != piece.plain) {
            progress.verified = false;
            tracing::error!(%run, "another service writes to the same log: what it wrote is put before what is here");
            return Ok(false);
        }
        progress.put += piece.plain.len() as u64;
        progress.segments += 1;
        Ok(true)
    }

    /// A segment's content.
    pub(super) async fn segment(&self, run: RunId, begin: u64) -> Result<Option<Vec<u8>>, LogError> {
        let key = keys::segment(run, begin);
        let Some(packed) = self.objects.get(&key).await? else { return Ok(None) };
        blocking(move || {
            zstd::bulk::decompress(&packed, SEGMENT).map(Some).map_err(LogError::io("unpack", key.as_ref()))
        })
        .await
    }
}

/// The next whole records of a live file; `None` when it is no longer there. Blocks.
fn piece(files: &Files, run: RunId, from: u64, to: u64) -> Result<Option<Piece>, LogError> {
    let Some(Source::Live { file, .. }) = files.live_source(run)? else { return Ok(None) };
    let path = files.live(run);
    let length = usize::try_from(to - from).unwrap_or(SEGMENT).min(SEGMENT);
    let mut plain = files::read_file_at(&file, from, length).map_err(LogError::io("read", &path))?;
    plain.truncate(plain.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
    if plain.is_empty() {
        return Ok(None);
    }
    let packed = zstd::bulk::compress(&plain, LEVEL).map_err(LogError::io("read", &path))?;
    Ok(Some(Piece { plain, packed }))
}

fn pause(segments: u32) -> Duration {
    (PAUSE * segments / MANY).clamp(PAUSE, LONG_PAUSE)
}
