//! Lists of runs and a run's timeline.

use serde_json::json;

use super::fixtures::{START, Subject, after};
use crate::{
    domain::{ErrorCode, RunEventKind, RunId, RunState, StopCause},
    store::RunFilter,
};

/// Runs of two jobs in many states, with labels and sources, the oldest first.
async fn history(subject: &Subject) -> (RunFilter, Vec<RunId>) {
    let job = subject.job(json!({"name": "a", "max_parallel": 2, "labels": {"team": "sales"}})).await;
    let other = subject.job(json!({"name": "b"})).await;
    let mut all = Vec::new();
    for number in 0..12_u64 {
        let job = if number % 4 == 3 { &other } else { &job };
        let new = job.run_with(|run| {
            run.created_at = after(number);
            run.labels.insert("parity".to_owned(), if number % 2 == 0 { "even" } else { "odd" }.to_owned());
            run.source.insert("parity".to_owned(), "of the source".to_owned());
            if number < 6 {
                run.source.insert("kind".to_owned(), "adf".to_owned());
            }
        });
        let (run, admitted) = subject.trigger(new).await;
        all.push(run);
        match (number, admitted.first()) {
            (0 | 3, Some(one)) => drop(subject.succeed(one.attempt).await),
            (1, Some(one)) => drop(subject.conclude(one.attempt, Err(ErrorCode::ExitCode)).await),
            (2, Some(one)) => drop(subject.store.launched(one.attempt, "container", after(1)).await.unwrap()),
            (4 | 8, _) => drop(subject.store.stop(run, StopCause::Cancelled, "tester", after(1)).await.unwrap()),
            (9, _) => drop(subject.store.stop(run, StopCause::QueueTimeout, "haulier", after(1)).await.unwrap()),
            _ => {}
        }
    }
    let elsewhere = crate::domain::ProjectId::generate();
    subject.add_project(elsewhere, "elsewhere").await;
    (RunFilter { project: Some(subject.project), ..RunFilter::default() }, all)
}

fn filters(all: &RunFilter, job: crate::domain::JobId) -> Vec<(RunFilter, &'static str)> {
    let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let with = |change: &dyn Fn(&mut RunFilter)| {
        let mut filter = all.clone();
        change(&mut filter);
        filter
    };
    use RunState as S;
    vec![
        (with(&|_| {}), "0 1 2 3 4 5 6 7 8 9 10 11"),
        (with(&|f| f.project = Some(crate::domain::ProjectId::generate())), ""),
        (with(&|f| f.jobs = vec![job]), "3 7 11"),
        (with(&|f| f.states = vec![S::Succeeded]), "0 3"),
        (with(&|f| f.states = vec![S::Failed, S::TimedOut]), "1 9"),
        (with(&|f| f.states = vec![S::Running]), "2"),
        (with(&|f| f.states = vec![S::Cancelling]), "4"),
        (with(&|f| f.states = vec![S::Cancelled]), "8"),
        (with(&|f| f.states = vec![S::Queued]), "5 6 10"),
        (with(&|f| f.states = vec![S::Starting]), "7 11"),
        (with(&|f| f.unstopped = true), "2 5 6 7 10 11"),
        (with(&|f| f.labels = pair("parity", "even")), "0 2 4 6 8 10"),
        (with(&|f| f.labels = pair("parity", "of the source")), ""),
        (with(&|f| f.labels = [pair("parity", "even"), pair("team", "sales")].concat()), "0 2 4 6 8 10"),
        (with(&|f| f.labels = [pair("parity", "odd"), pair("team", "sales")].concat()), "1 5 9"),
        (with(&|f| f.source = pair("kind", "adf")), "0 1 2 3 4 5"),
        (with(&|f| f.source = [pair("kind", "adf"), pair("parity", "of the source")].concat()), "0 1 2 3 4 5"),
        (with(&|f| (f.since, f.until) = (Some(after(3)), Some(after(9)))), "3 4 5 6 7 8"),
        (with(&|f| (f.jobs, f.states, f.since) = (vec![job], vec![S::Succeeded, S::Starting], Some(after(4)))), "7 11"),
    ]
}

/// Each filter gives what it says, together with others too.
pub async fn lists_filter(subject: &Subject) {
    let (all, runs) = history(subject).await;
    let other = subject.read(runs[3]).await.job;
    for (filter, expected) in filters(&all, other) {
        let found = subject.store.runs(&filter, None, 100).await.unwrap();
        assert_eq!(found.next, None);
        let mut found: Vec<_> =
            found.runs.iter().map(|run| runs.iter().position(|id| *id == run.id).unwrap()).collect();
        found.reverse();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), expected, "{filter:?}");
    }
}

/// Whatever the filter, pages of any size put together are the list, each run once, the newest first.
pub async fn any_page_size_gives_the_same(subject: &Subject) {
    let (all, runs) = history(subject).await;
    let other = subject.read(runs[3]).await.job;
    for (filter, _) in filters(&all, other) {
        let whole = subject.store.runs(&filter, None, 100).await.unwrap().runs;
        assert!(whole.is_sorted_by(|a, b| a.id > b.id));
        for size in 1..=13 {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = subject.store.runs(&filter, cursor, size).await.unwrap();
                assert!(page.runs.len() <= size as usize);
                assert!(page.next.is_none() || page.runs.len() == size as usize, "only the last page is short");
                seen.extend(page.runs);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, whole, "pages of {size} with {filter:?}");
        }
    }
}

/// Everything that happened to a run, in order.
pub async fn timeline(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"retry": {"max_attempts": 2, "backoff": {"seconds": 0}}})).await;
    let first = subject.start(&job).await;
    store.launched(first, "container", START).await.unwrap();
    let second = subject.conclude(first, Err(ErrorCode::ExitCode)).await.unwrap().admitted[0].attempt;
    store.warn(second, after(1), "look here").await.unwrap();
    subject.succeed(second).await;
    let events = store.timeline(&subject.read(first.run).await).await.unwrap();
    assert!(events.is_sorted_by_key(|event| event.at));
    let count = |kind| events.iter().filter(|event| event.kind == kind).count();
    use RunEventKind as K;
    let kinds = [K::Triggered, K::Admitted, K::Started, K::AttemptEnded, K::Retrying, K::Warning, K::Finished];
    assert_eq!(kinds.map(count), [1, 2, 1, 2, 1, 1, 1]);
    assert_eq!(events.iter().find(|event| event.kind == K::Warning).unwrap().detail, "look here");
}
