use std::fs;

use proptest::prelude::*;

use super::*;
use crate::{
    domain::AttemptId,
    engines::LogSource,
    logs::{LogChannel, LogRecord, ResumePoint},
};

struct Fixture {
    store: LogStore,
    dir: tempfile::TempDir,
    run: RunId,
}

fn fixture(max_bytes_per_run: u64) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path(), LogLimits { max_bytes_per_run }).unwrap();
    Fixture { store, dir, run: RunId::generate() }
}

impl Fixture {
    /// The store as the next process finds it.
    fn restarted(&mut self) {
        self.store = LogStore::open(self.dir.path(), self.store.limits).unwrap();
    }

    fn live_path(&self) -> std::path::PathBuf {
        self.store.files.live(self.run)
    }

    async fn write(&self, texts: impl IntoIterator<Item = impl Into<String>>) -> RunLogWriter {
        let writer = self.store.writer(self.run).await.unwrap();
        for (n, text) in texts.into_iter().enumerate() {
            writer.append(&record(n, text));
        }
        writer.flush().await.unwrap();
        writer
    }

    async fn page(&self, offset: u64, max: usize) -> LogPage {
        self.store.read(self.run, offset, max).await.unwrap()
    }

    async fn texts(&self) -> Vec<String> {
        records(&self.page(0, usize::MAX).await.bytes).into_iter().map(|record| record.text).collect()
    }
}

fn record(n: usize, text: impl Into<String>) -> LogRecord {
    let time = Timestamp::from_micros(i64::try_from(n).unwrap());
    LogRecord { time, stream: LogChannel::Stdout, attempt: 1, text: text.into(), partial: false }
}

fn records(bytes: &[u8]) -> Vec<LogRecord> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test]
async fn a_log_reads_the_same_live_and_finished() {
    let f = fixture(1 << 20);
    f.write(["one", "two"]).await;
    let live = f.page(0, 1 << 20).await;
    assert!(!live.end, "it may grow");
    let stats = f.store.finish(f.run).await.unwrap();
    let done = f.page(0, 1 << 20).await;
    assert_eq!((done.bytes, done.next_offset, done.end), (live.bytes, stats.bytes, true));
    assert!(!f.live_path().exists());
    assert_eq!(f.texts().await, ["one", "two"]);
}

#[tokio::test]
async fn finishing_again_changes_nothing() {
    let mut f = fixture(1 << 20);
    let writer = f.write(["one"]).await;
    let stats = f.store.finish(f.run).await.unwrap();
    writer.append(&record(1, "too late"));
    writer.flush().await.unwrap();
    assert_eq!(f.store.finish(f.run).await.unwrap(), stats);
    f.restarted();
    f.write(["too late too"]).await;
    assert_eq!(f.store.finish(f.run).await.unwrap().bytes, stats.bytes);
    assert_eq!(f.texts().await, ["one"]);
}

#[tokio::test]
async fn a_log_without_records_costs_no_file() {
    let f = fixture(1 << 20);
    f.store.writer(f.run).await.unwrap();
    assert!(!f.page(0, 100).await.end, "someone may write");
    assert_eq!(f.store.finish(f.run).await.unwrap(), LogStats::default());
    assert!(f.page(0, 100).await.end);
    assert!(!f.live_path().exists() && !f.store.files.done(f.run).exists());
}

#[tokio::test]
async fn unflushed_records_are_finished_too() {
    let f = fixture(1 << 20);
    f.store.writer(f.run).await.unwrap().append(&record(0, "only in memory"));
    f.store.finish(f.run).await.unwrap();
    assert_eq!(f.texts().await, ["only in memory"]);
}

#[tokio::test]
async fn a_half_written_record_is_cut_when_the_service_comes_back() {
    let mut f = fixture(1 << 20);
    f.write(["one", "two"]).await;
    let whole = fs::read(f.live_path()).unwrap();
    let torn = &whole[..whole.len() - 3];
    fs::write(f.live_path(), torn).unwrap();
    f.restarted();
    assert_eq!(f.store.leftovers().await.unwrap(), [f.run]);
    assert_eq!(f.texts().await, ["one"], "readers see whole records alone");
    let point = f.store.writer(f.run).await.unwrap().resume_point(1, LogSource::Stdout);
    assert_eq!(point, ResumePoint { lines: 1, last_time: Some(Timestamp::from_micros(0)) });
    f.write(["again"]).await;
    f.store.finish(f.run).await.unwrap();
    assert_eq!(f.texts().await, ["one", "again"]);
    assert_eq!(f.store.leftovers().await.unwrap(), []);
}

#[tokio::test]
async fn a_crash_before_the_live_file_went_is_finished() {
    let mut f = fixture(1 << 20);
    f.write(["one"]).await;
    let live = fs::read(f.live_path()).unwrap();
    f.store.finish(f.run).await.unwrap();
    fs::write(f.live_path(), live).unwrap();
    f.restarted();
    f.store.finish(f.run).await.unwrap();
    assert!(!f.live_path().exists());
    assert_eq!(f.texts().await, ["one"]);
}

#[tokio::test]
async fn the_limit_leaves_one_mark() {
    let mut f = fixture(1000);
    let writer = f.write((0..100).map(|n| format!("line {n}"))).await;
    let stats = writer.stats();
    assert!(stats.truncated && stats.dropped > 80, "{stats:?}");
    f.restarted();
    let writer = f.write(["more"]).await;
    let attempt = AttemptId { run: f.run, number: 1 };
    writer.note(Timestamp::from_micros(9), attempt, "the run ended").await.unwrap();
    assert!(f.store.finish(f.run).await.unwrap().truncated);
    f.restarted();
    assert!(f.store.finish(f.run).await.unwrap().truncated, "the finished file tells it too");
    let texts = f.texts().await;
    let marks: Vec<_> = texts.iter().filter(|text| text.starts_with("log truncated")).collect();
    assert_eq!(marks, ["log truncated: the limit of 1000 bytes was reached"]);
    assert_eq!(texts.last().unwrap(), "the run ended");
    assert!(!texts.contains(&"more".to_owned()));
}

#[tokio::test]
async fn followers_are_woken_without_reading() {
    let f = fixture(1 << 20);
    let mut tail = f.store.subscribe(f.run);
    let writer = f.write(["one"]).await;
    tail.changed().await.unwrap();
    let seen = *tail.borrow_and_update();
    assert_eq!(seen, LogTail { bytes: writer.stats().bytes, finished: false });
    f.store.finish(f.run).await.unwrap();
    tail.changed().await.unwrap();
    assert!(tail.borrow().finished);
}

#[tokio::test]
async fn forgotten_followers_are_swept() {
    let f = fixture(1 << 20);
    let kept = f.store.subscribe(f.run);
    for _ in 0..5000 {
        drop(f.store.subscribe(RunId::generate()));
    }
    assert!(f.store.registry().live.len() < 3000);
    assert!(f.store.registry().live.contains_key(&f.run));
    drop(kept);
}

#[tokio::test]
async fn deleting_leaves_nothing() {
    let f = fixture(1 << 20);
    f.write(["one"]).await;
    f.store.finish(f.run).await.unwrap();
    let writer = f.write(["x"]).await;
    f.store.delete(f.run).await.unwrap();
    writer.append(&record(0, "late"));
    writer.flush().await.unwrap();
    f.store.delete(f.run).await.unwrap();
    assert_eq!(f.page(0, 100).await, LogPage { bytes: Vec::new(), next_offset: 0, end: true });
    assert_eq!(fs::read_dir(f.dir.path().join("done")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_the_disk_refuses_is_written_later() {
    let f = fixture(1 << 20);
    let writer = f.store.writer(f.run).await.unwrap();
    let live = f.dir.path().join("live");
    fs::rename(&live, f.dir.path().join("away")).unwrap();
    writer.append(&record(0, "one"));
    assert!(writer.flush().await.is_err());
    fs::rename(f.dir.path().join("away"), &live).unwrap();
    writer.append(&record(1, "two"));
    writer.flush().await.unwrap();
    assert_eq!(f.texts().await, ["one", "two"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_way_of_paging_gives_the_same_bytes(
        lengths in proptest::collection::vec(0..3000_usize, 1..60),
        big in 0..200_000_usize,
        sizes in proptest::collection::vec(1..20_000_usize, 1..8),
        odd in 0..400_000_u64,
        finish: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let f = fixture(1 << 20);
            f.write(lengths.iter().chain([&big]).map(|length| "x".repeat(*length))).await;
            let all = fs::read(f.live_path()).unwrap();
            if finish {
                f.store.finish(f.run).await.unwrap();
            }
            let (mut read, mut offset) = (Vec::new(), 0);
            for size in sizes.iter().cycle() {
                let page = f.page(offset, *size).await;
                assert!(page.bytes.is_empty() || page.bytes.ends_with(b"\n"));
                assert_eq!(page.end, finish && page.next_offset == all.len() as u64);
                offset = page.next_offset;
                if page.bytes.is_empty() { break; }
                read.extend(page.bytes);
            }
            assert!(read == all, "{} of {} bytes", read.len(), all.len());
            // From anywhere, reading begins with a record.
            let page = f.page(odd, 1 << 20).await;
            let begin = usize::try_from(page.next_offset).unwrap() - page.bytes.len();
            assert!(begin == 0 || all[begin - 1] == b'\n');
            assert!(page.bytes[..] == all[begin..]);
        });
    }
}

#[tokio::test]
async fn a_directory_belongs_to_one_installation() {
    let f = fixture(1 << 20);
    let owner = InstallationId::generate();
    f.store.claim_directory(owner).unwrap();
    f.store.claim_directory(owner).unwrap();
    let error = f.store.claim_directory(InstallationId::generate()).unwrap_err().to_string();
    assert!(error.contains(&owner.to_string()) && error.contains("choose another place"), "{error}");
    // Somebody made the file, and died.
    fs::write(f.dir.path().join("installation"), "").unwrap();
    f.store.claim_directory(owner).unwrap();
    assert!(f.store.claim_directory(InstallationId::generate()).is_err());
}

#[tokio::test]
async fn services_go_on_with_each_others_logs() {
    let mut f = fixture(1 << 20);
    let one = f.store.clone();
    let writer = f.write(["one"]).await;
    writer.append(&record(1, "two"));
    one.let_go().await;
    // The second process goes on, and then the first one again.
    f.restarted();
    f.write(["three"]).await;
    f.store.let_go().await;
    f.store = one;
    f.write(["four"]).await;
    assert_eq!(f.texts().await, ["one", "two", "three", "four"]);
    assert_eq!(f.store.finish(f.run).await.unwrap().bytes, f.page(0, usize::MAX).await.next_offset);
    f.restarted();
    assert_eq!(f.texts().await, ["one", "two", "three", "four"]);
}
