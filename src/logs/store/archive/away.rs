//! Puts finished logs into the object store.

use std::{collections::HashSet, sync::atomic::AtomicUsize};

use super::{
    Arc, Archive, Duration, File, LogError, Notify, Ordering, Put, RunId, StreamExt, blocking, files, keys, stream,
    timeout,
};
use tokio_util::sync::CancellationToken;

/// How many are put at once.
const AT_ONCE: usize = 4;
/// After so many failures, a round is over: the store is away.
const ENOUGH: usize = 8;
/// Pauses after failures, from the first to the longest; without any, it is looked as often as that.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long the last round of a service that ends may take.
const LAST: Duration = Duration::from_secs(4);

impl Archive {
    /// A log was finished: it lies here, if there is anything in it.
    pub(in super::super) async fn was_finished(&self, run: RunId) {
        let done = self.files.done(run);
        match blocking(move || Ok(done.exists())).await {
            Ok(false) => self.forget(run),
            _ => self.finished.notify_one(),
        }
    }

    /// Puts away what lies here, whenever there is something, until the service ends.
    pub(in super::super) async fn put_logs_away(&self, end: CancellationToken) {
        let mut pause = PAUSES.0;
        loop {
            let wake = async {
                match self.round().await {
                    true => {
                        pause = PAUSES.0;
                        let _ = timeout(PAUSES.1, self.finished.notified()).await;
                    }
                    false => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSES.1);
                    }
                }
            };
            if end.run_until_cancelled(wake).await.is_none() {
                if timeout(LAST, self.round()).await.is_err() {
                    tracing::warn!("some logs still lie here: they are put into the object store at the next start");
                }
                return;
            }
        }
    }

    /// Puts away what lies here, and what comes meanwhile; whether all of it.
    pub(in super::super) async fn round(&self) -> bool {
        let (under_way, failures, one_ended) = (AtomicUsize::new(0), AtomicUsize::new(0), Notify::new());
        let failed = |error: &LogError| {
            failures.fetch_add(1, Ordering::Relaxed);
            self.failed(error);
        };
        let next = async |(mut waiting, mut seen): (Vec<RunId>, HashSet<RunId>)| loop {
            // What failed is tried again by the next round, which is not to wait for long.
            let failures = failures.load(Ordering::Relaxed);
            if failures >= ENOUGH || (failures > 0 && waiting.is_empty()) {
                return None;
            }
            if let Some(run) = waiting.pop() {
                under_way.fetch_add(1, Ordering::Relaxed);
                return Some((run, (waiting, seen)));
            }
            let idle = under_way.load(Ordering::Relaxed) == 0;
            waiting = self.waiting().await.inspect_err(failed).ok()?;
            waiting.retain(|run| seen.insert(*run));
            if waiting.is_empty() {
                if idle {
                    return None;
                }
                // A large one is no reason for others to wait.
                tokio::select! {
                    () = self.finished.notified() => {}
                    () = one_ended.notified() => {}
                }
            }
        };
        let one = async |run| {
            match self.put_one_away(run).await {
                Ok(()) => self.succeeded(),
                Err(error) => failed(&error),
            }
            under_way.fetch_sub(1, Ordering::Relaxed);
            one_ended.notify_one();
        };
        stream::unfold(Default::default(), next).for_each_concurrent(AT_ONCE, one).await;
        failures.into_inner() == 0
    }

    /// The finished logs that lie here. From another one on each time: some that can never be put must not be in the way
    /// of all others.
    async fn waiting(&self) -> Result<Vec<RunId>, LogError> {
        let files = Arc::clone(&self.files);
        let mut waiting = blocking(move || files.done_runs()).await?;
        self.metrics.waiting(waiting.len());
        if !waiting.is_empty() {
            self.ensure_claimed().await?;
            let first = rand::random_range(0..waiting.len());
            waiting.rotate_left(first);
        }
        Ok(waiting)
    }

    async fn put_one_away(&self, run: RunId) -> Result<(), LogError> {
        let progress = self.progress(run);
        let progress = progress.lock().await;
        let key = keys::done(run);
        if self.put_finished(run, &key).await? == Put::Exists
            && self.is_longer_here(run).await?
            && let Some((file, size)) = self.finished_file(run).await?
        {
            self.objects.put_file(&key, file, size).await?;
        }
        // A log that nobody but this process had, and no segment was put of, has none.
        if !progress.verified || progress.segments > 0 {
            self.clear(run).await?;
        }
        let files = Arc::clone(&self.files);
        blocking(move || files.remove_done(run)).await?;
        self.forget(run);
        self.put_away.send_modify(|count| *count += 1);
        Ok(())
    }

    pub(super) async fn put_finished(&self, run: RunId, key: &str) -> Result<Put, LogError> {
        match self.finished_file(run).await? {
            Some((file, size)) => self.objects.put_new_file(key, file, size).await,
            // Another service that has the same directory was faster.
            None => Ok(Put::Exists),
        }
    }

    pub(super) async fn finished_file(&self, run: RunId) -> Result<Option<(File, u64)>, LogError> {
        let path = self.files.done(run);
        blocking(move || {
            let Some(file) = files::open(&path)? else { return Ok(None) };
            let size = file.metadata().map_err(LogError::io("read", &path))?.len();
            Ok(Some((file, size)))
        })
        .await
    }

    /// A service that took over could not have all: of two finished logs, the longer one is whole.
    async fn is_longer_here(&self, run: RunId) -> Result<bool, LogError> {
        let files = Arc::clone(&self.files);
        let here = blocking(move || files.done_source(run)).await?.map_or(0, |done| done.length());
        let there = self.done(run).await?.map_or(0, |done| done.length());
        Ok(here > there)
    }

    /// Waits until nothing of a finished log lies here alone.
    pub(in super::super) async fn until_away(&self, run: RunId) {
        let mut put_away = self.put_away.subscribe();
        loop {
            let (live, done) = (self.files.live(run), self.files.done(run));
            if !blocking(move || Ok(live.exists() || done.exists())).await.unwrap_or(false) {
                return;
            }
            let _ = timeout(Duration::from_secs(1), put_away.changed()).await;
        }
    }
}
