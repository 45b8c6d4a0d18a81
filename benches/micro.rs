//! Pieces that every run goes through, each by itself: `cargo bench --bench micro`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::StreamExt;
use haulier::{
    domain::{IfExists, JobId, Report},
    logs::Redactor,
    store::{
        NewRun,
        contract::{Subject, TestDatabase, TestJob, after},
    },
    vault::{Binding, Keyring, MasterKey},
};
use secrecy::SecretString;
use serde_json::json;
use tokio::runtime::Runtime;

/// How many runs wait while others are admitted.
const QUEUE: u32 = 100_000;

fn sealing(c: &mut Criterion) {
    let keyring = Keyring::new(MasterKey::generate().unwrap(), Vec::new());
    let (key, sealed_key) = keyring.new_data_key("project").unwrap();
    let config = vec![b'x'; 4096];
    let job = JobId::generate().to_string();
    let binding = Binding { table: "revisions", row: &job, name: "config" };
    let sealed = key.seal(&config, &binding).unwrap();
    let mut group = c.benchmark_group("vault");
    group.throughput(Throughput::Bytes(4096));
    group.bench_function("seal 4 KiB", |b| b.iter(|| key.seal(&config, &binding).unwrap()));
    group.bench_function("open 4 KiB", |b| b.iter(|| key.open(&sealed, &binding).unwrap()));
    group.finish();
    c.bench_function("vault/open a data key", |b| b.iter(|| keyring.open_data_key(&sealed_key, "project").unwrap()));
}

fn redaction(c: &mut Criterion) {
    let secrets: Vec<SecretString> = (0..20).map(|n| format!("s3cret-value-number-{n:04}!").into()).collect();
    let redactor = Redactor::new(secrets.iter());
    let clean = "2026-01-31 07:00:00 INFO loaded 1532 rows of orders from https://api.example.com/v2/orders?page=17";
    let dirty = format!("{clean}&token=s3cret-value-number-0007!");
    let mut group = c.benchmark_group("redaction");
    for (what, line) in [("a line without secrets", clean), ("a line with one", dirty.as_str())] {
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(what, |b| b.iter(|| redactor.redact_str(std::hint::black_box(line))));
    }
    group.finish();
}

fn reports(c: &mut Criterion) {
    let small = br#"{"progress": {"done": 3, "total": 10, "text": "pages"}, "metrics": {"rows": 42}}"#;
    let rows: Vec<_> = (0..1000).map(|n| json!({"id": n, "name": format!("row {n}")})).collect();
    let large = json!({"output": rows}).to_string();
    let mut group = c.benchmark_group("reports");
    for (what, line) in [("progress", &small[..]), ("an output of 1,000 rows", large.as_bytes())] {
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(what, |b| b.iter(|| Report::parse(std::hint::black_box(line)).unwrap()));
    }
    group.finish();
}

fn store(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let database = TestDatabase::sqlite();
    let (subject, later, full) = runtime.block_on(jobs(&database));
    let mut group = c.benchmark_group("store");
    group.measurement_time(Duration::from_secs(5)).sample_size(30);
    let keys = AtomicU64::new(0);
    let trigger = |new: NewRun| async { subject.store.trigger(new).await.unwrap() };
    group.bench_function("trigger for later", |b| {
        b.to_async(&runtime).iter_batched(
            || later.run_with(|run| run.not_before = Some(after(1_000_000_000))),
            trigger,
            BatchSize::SmallInput,
        );
    });
    group.bench_function("trigger for later, by key", |b| {
        let new = || NewRun {
            key: Some((keys.fetch_add(1, Ordering::Relaxed).to_string(), vec![0; 32], IfExists::Return)),
            ..later.run_with(|run| run.not_before = Some(after(1_000_000_000)))
        };
        b.to_async(&runtime).iter_batched(new, trigger, BatchSize::SmallInput);
    });
    runtime.block_on(fill_queue(&subject, &full));
    group.bench_function("trigger of a full job, 100,000 wait", |b| {
        b.to_async(&runtime).iter_batched(|| full.run(), trigger, BatchSize::SmallInput);
    });
    group.bench_function("admission of none, 100,000 wait", |b| {
        b.to_async(&runtime).iter(async || assert!(subject.store.admit(after(1)).await.unwrap().is_empty()));
    });
    group.bench_function("end of one, admission of the next, 100,000 wait", |b| {
        b.to_async(&runtime).iter(async || {
            let live = subject.store.live_attempts(|_| true).await.unwrap()[0].id;
            assert_eq!(subject.succeed(live).await.admitted.len(), 1);
        });
    });
    group.finish();
    runtime.block_on(subject.store.close());
}

/// Makes a long queue, many triggers at a time so that they share commits.
async fn fill_queue(subject: &Subject, job: &TestJob) {
    let triggers = (0..QUEUE).map(|_| subject.trigger(job.run()));
    futures::stream::iter(triggers).buffer_unordered(128).for_each(|_| async {}).await;
}

/// A job that is never full, and one whose only slot is held.
async fn jobs(database: &TestDatabase) -> (Subject, TestJob, TestJob) {
    let subject = Subject::new(database).await;
    let later = subject.job(json!({"name": "later"})).await;
    let full = subject.job(json!({"name": "full", "max_parallel": 1})).await;
    subject.start(&full).await;
    (subject, later, full)
}

criterion_group!(benches, sealing, redaction, reports, store);
criterion_main!(benches);
