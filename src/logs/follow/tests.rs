use bytes::Bytes;
use futures::{Stream, stream};
use secrecy::SecretString;

use super::*;
use crate::{
    domain::{Outcome, RunId, Timestamp},
    engines::{EngineErrorKind, LogFrame, Persistence},
    logs::{LogLimits, LogStore},
};

struct Fixture {
    store: LogStore,
    _dir: tempfile::TempDir,
    attempt: AttemptId,
    shared: Arc<Collecting>,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path(), LogLimits::default()).unwrap();
    let shared = Arc::<Collecting>::default();
    shared.stage.set(Stage::Ended);
    let attempt = AttemptId { run: RunId::generate(), number: 1 };
    Fixture { store, _dir: dir, attempt, shared }
}

impl Fixture {
    async fn collect(&self, frames: impl Stream<Item = Result<LogFrame, EngineError>> + Send + 'static) -> Collected {
        let with = Collect {
            attempt: self.attempt,
            nonce: "n1".into(),
            redactor: Redactor::new([SecretString::from("hunter2")].iter()),
            shared: Arc::clone(&self.shared),
        };
        collect(Box::pin(frames), &with, &self.store.writer(self.attempt.run).await.unwrap()).await
    }

    fn reported(&self) -> Arc<Reports> {
        self.shared.reports.get().expect("something was reported")
    }

    async fn texts(&self) -> Vec<String> {
        let page = self.store.read(self.attempt.run, 0, usize::MAX).await.unwrap();
        let lines = page.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice::<LogRecord>(line).unwrap().text).collect()
    }
}

fn frame(n: i64, text: &str) -> Result<LogFrame, EngineError> {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Ok(LogFrame { time: Timestamp::from_micros(n), source: LogSource::Stdout, bytes })
}

fn broken() -> EngineError {
    EngineError::new(EngineErrorKind::Unreachable, Persistence::Unreachable, "read logs", "connection lost")
}

#[tokio::test]
async fn output_becomes_log_and_reports() {
    let f = fixture();
    let frames = stream::iter([
        frame(1, "start with hun"),
        frame(2, "ter2\n::haulier:n1:{\"metrics\": {\"rows\": 3}}\n"),
        frame(3, "::haulier:n1:{\"outcome\": \"continue\"}\n::haulier:n2:{}\nend"),
    ]);
    let collected = f.collect(frames).await;
    assert!(matches!(collected, Collected { end: CollectEnd::Complete, unwritten: None }));
    assert_eq!(f.texts().await, ["start with ***", "::haulier:n2:{}", "end"]);
    let reports = f.reported();
    assert_eq!(reports.metrics["rows"], 3.0);
    assert_eq!(reports.outcome, Some(Outcome::Continue));
    assert_eq!(reports.invalid, None);
}

#[tokio::test]
async fn a_bad_report_is_told_and_taken_out() {
    let f = fixture();
    let frames = stream::iter([frame(1, "::haulier:n1:{hunter2\n::haulier:n1:{\"output\": 1}\n")]);
    f.collect(frames).await;
    assert!(f.reported().invalid.is_some());
    assert_eq!(f.reported().output, Some(1.into()));
    assert_eq!(f.texts().await, [""; 0]);
}

#[tokio::test]
async fn a_replay_adds_only_what_is_new() {
    let f = fixture();
    let first = stream::iter([frame(1, "one\ntwo\n::haulier:n1:{\"output\": 1}\nthr"), Err(broken())]);
    let collected = f.collect(first).await;
    assert!(matches!(collected.end, CollectEnd::Broken(_)));
    assert_eq!(f.texts().await, ["one", "two"], "an unfinished line waits for the replay");
    let replay =
        stream::iter([frame(1, "one\n"), frame(1, "two\n::haulier:n1:{\"output\": 1}\nthr"), frame(1, "ee\n")]);
    f.collect(replay).await;
    assert_eq!(f.texts().await, ["one", "two", "three"]);
    assert_eq!(f.reported().output, Some(1.into()));
}

#[tokio::test]
async fn a_replay_of_one_stream_after_the_other_adds_only_what_is_new() {
    let f = fixture();
    let on_stderr = |text| frame(1, text).map(|frame| LogFrame { source: LogSource::Stderr, ..frame });
    let first = [frame(1, "one\n"), on_stderr("a\n"), frame(1, "two\n"), Err(broken())];
    f.collect(stream::iter(first)).await;
    f.collect(stream::iter([frame(1, "one\ntwo\nthree\n"), on_stderr("a\nb\n")])).await;
    assert_eq!(f.texts().await, ["one", "a", "two", "three", "b"]);
}

#[tokio::test]
async fn lines_are_seen_while_the_output_goes_on() {
    let f = Arc::new(fixture());
    let mut tail = f.store.subscribe(f.attempt.run);
    let frames = stream::iter([frame(1, "one\n::haulier:n1:{\"progress\": {\"done\": 1}}\n")]).chain(stream::pending());
    let collecting = Arc::clone(&f);
    let task = tokio::spawn(async move { collecting.collect(frames).await });
    tail.changed().await.unwrap();
    f.shared.reports.changed().await;
    assert_eq!(f.texts().await, ["one"]);
    f.shared.stage.set(Stage::Stopped);
    assert!(matches!(task.await.unwrap().end, CollectEnd::Stopped));
}

#[tokio::test]
async fn a_secret_over_the_pieces_of_a_long_line_is_masked() {
    let f = fixture();
    let line = "x".repeat(64 * 1024 - 3) + "hunter2 and the rest\n";
    f.collect(stream::iter([frame(1, &line)])).await;
    let texts = f.texts().await;
    assert_eq!(texts.len(), 2);
    assert_eq!(texts.concat(), "x".repeat(64 * 1024 - 3) + "*** and the rest");
}
