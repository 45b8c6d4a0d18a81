//! One suite for every object store: in memory, and what [`contract`](crate::logs::contract) finds.

mod broken;

use object_store::memory::InMemory;
use tokio_util::sync::CancellationToken;

use super::{super::LogPage, *};
use crate::{
    domain::InstallationId,
    engines::LogSource,
    logs::{LogChannel, LogLimits, LogRecord, LogStore, Objects, RunLogWriter, contract::TestStore},
};

/// Runs a case on a store of each kind.
async fn on_each(case: &str, run: impl AsyncFn(Objects)) {
    run(Objects::new(Arc::new(InMemory::new()), "logs".into(), "memory")).await;
    for store in TestStore::all(&format!("logs: {case}")) {
        run(Objects::open(&store.settings()).unwrap()).await;
        store.clean_up().await.unwrap();
    }
}

/// A service: a directory of its own, and the store that all have.
struct Service {
    logs: LogStore,
    dir: tempfile::TempDir,
}

impl Service {
    fn new(objects: &Objects) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { logs: open(dir.path(), objects), dir }
    }

    fn restarted(self, objects: &Objects) -> Self {
        Self { logs: open(self.dir.path(), objects), ..self }
    }

    fn archive(&self) -> &Archive {
        self.logs.archive.as_ref().unwrap()
    }

    async fn write(&self, run: RunId, lines: impl IntoIterator<Item = (i64, &str)>) -> RunLogWriter {
        let writer = self.logs.writer(run).await.unwrap();
        for (time, text) in lines {
            writer.append(&line(time, text));
        }
        writer.flush().await.unwrap();
        writer
    }

    /// As the leader does every few seconds.
    async fn mirror(&self, run: RunId) -> Result<bool, LogError> {
        self.archive().mirror(&self.logs.live(run)).await
    }

    async fn put_away(&self, run: RunId) {
        self.logs.finish(run).await.unwrap();
        assert!(self.archive().round().await);
        assert!(self.files().is_empty(), "{:?}", self.files());
    }

    async fn page(&self, run: RunId, offset: u64) -> LogPage {
        self.logs.read(run, offset, 1 << 20).await.unwrap()
    }

    async fn texts(&self, run: RunId) -> Vec<String> {
        let page = self.page(run, 0).await;
        let lines = page.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice::<LogRecord>(line).unwrap().text).collect()
    }

    /// All that lies in its directory.
    fn files(&self) -> Vec<String> {
        let files = &self.logs.files;
        let runs = files.live_runs().unwrap().into_iter().chain(files.done_runs().unwrap());
        runs.map(|run| run.to_string()).collect()
    }
}

fn open(dir: &std::path::Path, objects: &Objects) -> LogStore {
    let limits = LogLimits { max_bytes_per_run: 64 << 20 };
    LogStore::open(dir, limits).unwrap().with_objects(objects.clone())
}

fn line(time: i64, text: &str) -> LogRecord {
    let time = Timestamp::from_micros(time);
    LogRecord { time, stream: LogChannel::Stdout, attempt: 1, text: text.to_owned(), partial: false }
}

#[tokio::test]
async fn a_finished_log_lies_in_the_store_alone() {
    on_each("a finished log", async |objects| {
        let (one, other, run) = (Service::new(&objects), Service::new(&objects), RunId::generate());
        one.write(run, [(1, "one"), (2, "two")]).await;
        assert!(one.mirror(run).await.unwrap());
        let stats = one.logs.finish(run).await.unwrap();
        assert_eq!(one.texts(run).await, ["one", "two"], "it is read where it waits");
        one.put_away(run).await;
        for service in [&one, &other] {
            let page = service.page(run, 0).await;
            assert_eq!(
                (service.texts(run).await, page.next_offset, page.end),
                (vec!["one".into(), "two".into()], stats.bytes, true)
            );
        }
        assert_eq!(one.logs.leftovers().await.unwrap(), [], "no segment is left");
        assert_eq!(other.logs.finish(run).await.unwrap(), stats, "it was finished elsewhere");
        let writer = other.write(run, [(3, "too late")]).await;
        assert_eq!(writer.stats().bytes, stats.bytes);
        let tomorrow =
            Timestamp::from_micros(i64::try_from(run.0.get_timestamp().unwrap().to_unix().0).unwrap() * 1_000_000)
                .plus(Duration::from_secs(86_400));
        let days = other.logs.days_before(tomorrow).await.unwrap();
        assert_eq!(other.logs.finished_on(days[0].clone()).await.unwrap(), [run]);
        other.logs.delete(run).await.unwrap();
        other.logs.delete(run).await.unwrap();
        assert_eq!(one.page(run, 7).await, LogPage { bytes: Vec::new(), next_offset: 7, end: true });
    })
    .await;
}

#[tokio::test]
async fn another_service_goes_on_where_one_was_lost() {
    on_each("going on", async |objects| {
        let (one, other, run) = (Service::new(&objects), Service::new(&objects), RunId::generate());
        one.write(run, [(1, "one"), (2, "two")]).await;
        assert!(one.mirror(run).await.unwrap());
        one.write(run, [(3, "lost with its machine")]).await;
        assert_eq!(other.logs.leftovers().await.unwrap(), [run]);
        let writer = other.write(run, []).await;
        assert_eq!(writer.resume_point(1, LogSource::Stdout).lines, 2);
        other.write(run, [(3, "three")]).await;
        // The first one comes back, and finds that others went on.
        assert!(other.mirror(run).await.unwrap());
        let one = one.restarted(&objects);
        assert_eq!(one.texts(run).await, ["one", "two", "three"], "its own file is an old one");
        one.put_away(run).await;
        assert_eq!(one.texts(run).await, ["one", "two", "three"]);
        assert_eq!(one.logs.leftovers().await.unwrap(), []);
        // The other one never leads again.
        let other = other.restarted(&objects);
        other.logs.drop_finished_elsewhere().await.unwrap();
        assert!(other.files().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_a_restarted_service_has_beyond_the_store_is_kept() {
    on_each("a restart", async |objects| {
        let (one, run) = (Service::new(&objects), RunId::generate());
        one.write(run, [(1, "one")]).await;
        assert!(one.mirror(run).await.unwrap());
        one.write(run, [(2, "two")]).await;
        let one = one.restarted(&objects);
        let writer = one.write(run, [(3, "three")]).await;
        assert_eq!(writer.resume_point(1, LogSource::Stdout).lines, 3);
        one.logs.let_go().await;
        assert_eq!(Service::new(&objects).texts(run).await, ["one", "two", "three"]);
        one.put_away(run).await;
        assert_eq!(Service::new(&objects).texts(run).await, ["one", "two", "three"]);
    })
    .await;
}

#[tokio::test]
async fn a_live_log_is_followed_elsewhere() {
    on_each("following", async |objects| {
        let (one, other, run) = (Service::new(&objects), Service::new(&objects), RunId::generate());
        assert_eq!(other.page(run, 0).await, LogPage { bytes: Vec::new(), next_offset: 0, end: true });
        let (mut offset, mut seen) = (0, Vec::new());
        for time in 1..=20 {
            one.write(run, [(time, "line")]).await;
            assert!(one.mirror(run).await.unwrap());
            // Sometimes there is more to read than the last segment.
            if time % 3 == 0 {
                let page = other.page(run, offset).await;
                assert!(!page.end && !page.bytes.is_empty());
                assert_eq!(other.page(run, page.next_offset).await.bytes, b"");
                seen.extend(page.bytes);
                offset = page.next_offset;
            }
        }
        // Whoever followed the log where it is written is ahead.
        one.write(run, [(21, "line")]).await;
        let ahead = one.page(run, offset).await.next_offset;
        let page = other.page(run, ahead).await;
        assert_eq!((page.bytes.len(), page.next_offset, page.end), (0, ahead, false));
        one.put_away(run).await;
        seen.extend(other.page(run, offset).await.bytes);
        assert!(seen == one.page(run, 0).await.bytes);
        assert!(other.page(run, ahead).await.end);
        // From within a record, and from within a segment.
        let page = other.page(run, 3).await;
        assert!(page.bytes == seen[seen.len() - page.bytes.len()..] && page.bytes.starts_with(b"{"));
    })
    .await;
}

#[tokio::test]
async fn of_two_that_write_each_line_stays_once() {
    on_each("two writers", async |objects| {
        let (old, new, run) = (Service::new(&objects), Service::new(&objects), RunId::generate());
        old.write(run, [(1, "one")]).await;
        assert!(old.mirror(run).await.unwrap());
        new.write(run, []).await;
        // The old one does not know yet that it leads no more; both read the same output.
        old.write(run, [(2, "two"), (3, "three")]).await;
        assert!(old.mirror(run).await.unwrap());
        let writer = new.write(run, [(2, "two")]).await;
        assert!(!new.mirror(run).await.unwrap(), "there is something else");
        assert!(new.mirror(run).await.unwrap());
        // What the new one reads now is there; what comes then is not.
        writer.append(&line(3, "three"));
        writer.append(&line(4, "four"));
        writer.flush().await.unwrap();
        assert!(new.mirror(run).await.unwrap());
        assert_eq!(new.texts(run).await, ["one", "two", "three", "four"]);
        assert_eq!(old.restarted(&objects).texts(run).await, ["one", "two", "three", "four"]);
        new.put_away(run).await;
        assert_eq!(new.texts(run).await, ["one", "two", "three", "four"]);
    })
    .await;
}

#[tokio::test]
async fn a_large_log_is_sent_in_parts_and_read_in_ranges() {
    on_each("a large one", async |objects| {
        let (one, other, run) = (Service::new(&objects), Service::new(&objects), RunId::generate());
        let writer = one.logs.new_writer(run).await.unwrap();
        let mut state = 1_u64;
        for n in 0..240 {
            // Hardly to be compressed.
            let text = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'0' + u8::try_from(state >> 58).unwrap())
            });
            writer.append(&line(n, &text.take(50_000).collect::<String>()));
            writer.flush().await.unwrap();
        }
        one.logs.finish(run).await.unwrap();
        let length = writer.stats().bytes;
        let offsets = [0, 1, 300_000, length / 2, length - 60_000, length - 1, length];
        let mut here = Vec::new();
        for offset in offsets {
            here.push(one.page(run, offset).await);
        }
        let size = one.archive().finished_file(run).await.unwrap().unwrap().1;
        assert!(size > 8 << 20, "{size} bytes are one part");
        one.put_away(run).await;
        for (offset, here) in offsets.into_iter().zip(here) {
            assert!(other.page(run, offset).await == here, "{offset}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_broke_off_is_done_again() {
    on_each("breaking off", async |objects| {
        let (one, run) = (Service::new(&objects), RunId::generate());
        one.write(run, [(1, "one")]).await;
        assert!(one.mirror(run).await.unwrap());
        one.logs.finish(run).await.unwrap();
        // It is put there, and the service dies.
        assert_eq!(one.archive().put_finished(run, &keys::done(run)).await.unwrap(), Put::Made);
        assert_eq!(one.texts(run).await, ["one"]);
        let one = one.restarted(&objects);
        assert!(one.archive().round().await);
        assert!(one.files().is_empty() && one.logs.leftovers().await.unwrap().is_empty());
        assert_eq!(one.texts(run).await, ["one"]);
    })
    .await;
}

#[tokio::test]
async fn the_whole_log_takes_the_place_of_what_another_saved_of_it() {
    on_each("saving", async |objects| {
        let (one, other, run) = (Service::new(&objects), Service::new(&objects), RunId::generate());
        one.write(run, [(1, "one")]).await;
        assert!(one.mirror(run).await.unwrap());
        one.write(run, [(2, "two")]).await;
        one.logs.finish(run).await.unwrap();
        // The other one leads before the first comes to put it away.
        other.put_away(run).await;
        assert_eq!(other.texts(run).await, ["one"]);
        assert!(one.archive().round().await);
        assert_eq!(other.texts(run).await, ["one", "two"]);
    })
    .await;
}

#[tokio::test]
async fn logs_are_put_away_as_they_come() {
    on_each("one after the other", async |objects| {
        let service = Service::new(&objects);
        let (end, runs) = (CancellationToken::new(), [(); 20].map(|()| RunId::generate()));
        let finish = async {
            for run in runs {
                service.write(run, [(1, "one")]).await;
                service.logs.finish(run).await.unwrap();
            }
            for run in runs {
                service.logs.until_safe(run, true).await;
            }
            end.cancel();
        };
        tokio::join!(service.logs.put_away(end.clone()), finish);
        assert!(service.files().is_empty());
        assert_eq!(Service::new(&objects).texts(runs[7]).await, ["one"]);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_knows_no_conditions_will_do() {
    for store in TestStore::all("logs: no conditions").iter().filter(|store| store.url.starts_with("s3:")) {
        let mut settings = store.settings();
        assert!(settings.set("conditional_put", "disabled".into()));
        let objects = Objects::open(&settings).unwrap();
        let (one, other, run) = (Service::new(&objects), Service::new(&objects), RunId::generate());
        one.logs.claim_objects(InstallationId::generate()).await.unwrap();
        assert!(Service::new(&objects).logs.claim_objects(InstallationId::generate()).await.is_err());
        one.write(run, [(1, "one")]).await;
        assert!(one.mirror(run).await.unwrap());
        other.write(run, [(2, "two")]).await;
        other.put_away(run).await;
        assert_eq!(one.restarted(&objects).texts(run).await, ["one", "two"]);
        store.clean_up().await.unwrap();
    }
}

#[tokio::test]
async fn a_prefix_belongs_to_one_installation() {
    on_each("owners", async |objects| {
        let (one, other, owner) = (Service::new(&objects), Service::new(&objects), InstallationId::generate());
        one.logs.claim_objects(owner).await.unwrap();
        other.logs.claim_objects(owner).await.unwrap();
        let stranger = Service::new(&objects);
        let error = stranger.logs.claim_objects(InstallationId::generate()).await.unwrap_err().to_string();
        assert!(error.contains(&owner.to_string()) && error.contains("choose another place"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_told_at_the_start() {
    for store in TestStore::all("logs: wrong settings") {
        let mut settings = store.settings();
        let secret = if format!("{settings:?}").contains("s3:") { "secret_access_key" } else { "account_key" };
        assert!(settings.set(secret, "aHVudGVyMg==".into()));
        let service = Service::new(&Objects::open(&settings).unwrap());
        let error = service.logs.claim_objects(InstallationId::generate()).await.unwrap_err();
        let text = crate::with_causes(&error);
        assert!(text.contains("check the credentials") && !text.contains("aHVudGVyMg"), "{text}");
    }
}
