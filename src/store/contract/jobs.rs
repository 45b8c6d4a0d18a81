//! Jobs, their revisions and the limits they name.

use serde_json::json;

use super::fixtures::{START, Subject, after, name};
use crate::{
    domain::{JobId, LimitUse, Phase, ProjectId, WhenFull},
    store::{Applied, Removal},
};

/// A revision follows the one before it, or is stale.
pub async fn jobs_are_applied(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    let mut job = subject.job(json!({"name": "load", "image": "a:1", "max_parallel": 2})).await;
    let (found, revision, config) = store.job_named(project, &name("load")).await.unwrap().unwrap();
    assert_eq!((found.id, found.revision, found.created_at), (job.id, 1, START));
    assert_eq!((revision.spec, config.as_slice()), (job.spec.clone(), &b"sealed"[..]));

    let second = job.next("editor", |spec| spec.image = "a:2".to_owned());
    let Applied::Done(applied) = store.apply(second.clone()).await.unwrap() else { panic!("it is the next one") };
    assert_eq!((applied.revision, applied.updated_at, applied.created_at), (2, after(1), START));
    assert_eq!(store.apply(second).await.unwrap(), Applied::Stale, "the second revision was made already");
    job.revision = 4;
    assert_eq!(store.apply(job.next("editor", |_| {})).await.unwrap(), Applied::Stale, "the third is missing");
    let (_, revision, config) = store.job(project, job.id).await.unwrap().unwrap();
    assert_eq!((revision.number, revision.spec.image.as_str()), (2, "a:2"));
    assert_eq!((revision.created_by.as_str(), config.as_slice()), ("editor", &b"sealed anew"[..]));
    assert!(store.job(ProjectId::generate(), job.id).await.unwrap().is_none());
    assert!(store.job(project, JobId::generate()).await.unwrap().is_none());
}

/// A name belongs to one job that is not archived; a job may be renamed to a free one.
pub async fn names_are_unique_among_the_living(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    let mut a = subject.job(json!({"name": "a"})).await;
    let b = subject.job(json!({"name": "b"})).await;
    let taken = store.apply(subject.first_revision(json!({"name": "a"}))).await.unwrap();
    assert_eq!(taken, Applied::NameTaken);
    let renamed = store.apply(b.next("editor", |spec| spec.name = name("a"))).await.unwrap();
    assert_eq!(renamed, Applied::NameTaken);
    let renamed = store.apply(a.next("editor", |spec| spec.name = name("c"))).await.unwrap();
    assert!(matches!(renamed, Applied::Done(_)));
    assert!(store.job_named(project, &name("a")).await.unwrap().is_none());
    let renamed = store.apply(b.next("editor", |spec| spec.name = name("a"))).await.unwrap();
    assert!(matches!(renamed, Applied::Done(_)), "the name has become free");
    a.revision = 2;
    store.archive(project, a.id, "editor", after(2)).await.unwrap().unwrap();
    subject.job(json!({"name": "c"})).await;
    assert_eq!(store.apply(a.next("editor", |_| {})).await.unwrap(), Applied::Stale, "an archived job stays as it is");
}

/// What would come of a revision is what comes of it, and asking changes nothing.
pub async fn dry_runs_tell_and_keep_nothing(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    let (a, b) = (subject.job(json!({"name": "a"})).await, subject.job(json!({"name": "b"})).await);
    subject.limit("api", 5).await;
    let weight = |weight| vec![LimitUse { name: name("api"), weight }];
    let mut ahead = b.next("editor", |_| {});
    ahead.number = 3;
    for new in [
        subject.first_revision(json!({"name": "new"})),
        subject.first_revision(json!({"name": "a"})),
        a.next("editor", |spec| spec.limits = weight(6)),
        a.next("editor", |spec| spec.name = name("b")),
        ahead,
        a.next("editor", |spec| spec.limits = weight(5)),
    ] {
        let told = store.would_apply(&new).await.unwrap();
        let (present, ..) = store.job(project, a.id).await.unwrap().unwrap();
        assert_eq!(present.revision, 1, "asking has changed it");
        assert_eq!(told, store.apply(new).await.unwrap());
    }
}

/// Archiving ends what waits, leaves what runs, and keeps the job for its history.
pub async fn jobs_are_archived(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    subject.limit("api", 5).await;
    let job = subject.job(json!({"max_parallel": 1, "limits": [{"name": "api"}]})).await;
    let running = subject.start(&job).await;
    let (waiting, _) = subject.trigger(job.run()).await;
    assert!(store.archive(ProjectId::generate(), job.id, "editor", after(1)).await.unwrap().is_none());
    let stopped = store.archive(project, job.id, "editor", after(1)).await.unwrap().unwrap();
    assert_eq!(stopped.iter().map(|one| one.run.id).collect::<Vec<_>>(), [waiting]);
    assert_eq!(subject.phase(waiting).await, Phase::Cancelled);
    assert_eq!(subject.phase(running.run).await, Phase::Starting);
    assert_eq!(store.archive(project, job.id, "editor", after(9)).await.unwrap().unwrap().len(), 0);
    let (archived, ..) = store.job(project, job.id).await.unwrap().unwrap();
    assert_eq!(archived.archived_at, Some(after(1)), "the first time counts");
    assert_eq!(store.remove_limit(project, &name("api")).await.unwrap(), Removal::InUse(1), "a run holds it still");
    subject.succeed(running).await;
    assert_eq!(store.remove_limit(project, &name("api")).await.unwrap(), Removal::Removed);
}

/// Any page size gives all jobs once, by name.
pub async fn jobs_are_paged(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    for text in ["d", "b", "a", "e", "c"] {
        let job = subject.job(json!({"name": text})).await;
        if text == "b" {
            store.archive(project, job.id, "editor", after(1)).await.unwrap().unwrap();
        }
    }
    subject.job(json!({"name": "b"})).await;
    for (archived, expected) in [(false, "abcde"), (true, "abbcde")] {
        for size in 1..=7 {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = store.jobs(project, archived, cursor, size).await.unwrap();
                seen.extend(page.jobs.into_iter().map(|(job, _)| (job.name.to_string(), job.id)));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert!(seen.is_sorted(), "{seen:?}");
            assert_eq!(seen.iter().map(|(name, _)| name.as_str()).collect::<String>(), expected, "pages of {size}");
        }
    }
}

/// All revisions stay readable, the newest first.
pub async fn revisions_are_kept(subject: &Subject) {
    let mut job = subject.job(json!({"image": "a:1"})).await;
    for number in 2..=4 {
        let next = job.next("editor", |spec| spec.image = format!("a:{number}"));
        assert!(matches!(subject.store.apply(next).await.unwrap(), Applied::Done(_)));
        job.revision = number;
    }
    let images = |before, limit| async move {
        let revisions = subject.store.revisions(job.id, before, limit).await.unwrap();
        revisions.into_iter().map(|(revision, _)| revision.spec.image).collect::<Vec<_>>()
    };
    assert_eq!(images(None, 9).await, ["a:4", "a:3", "a:2", "a:1"]);
    assert_eq!(images(Some(4), 2).await, ["a:3", "a:2"]);
    assert_eq!(images(Some(2), 2).await, ["a:1"]);
}

/// A job may name limits of its project alone, and no more of them than there is.
pub async fn limits_of_a_job_must_exist(subject: &Subject) {
    let store = &subject.store;
    subject.limit("api", 2).await;
    let elsewhere = ProjectId::generate();
    subject.add_project(elsewhere, "elsewhere").await;
    store.set_limit(elsewhere, &name("theirs"), 9, START).await.unwrap();
    let limits = json!([{"name": "api", "weight": 3}, {"name": "theirs"}, {"name": "api", "weight": 2}]);
    let applied = store.apply(subject.first_revision(json!({"limits": limits}))).await.unwrap();
    assert_eq!(applied, Applied::BadLimits(vec![(0, Some(2)), (1, None)]));
    assert!(store.job_named(subject.project, &name("job")).await.unwrap().is_none(), "nothing of it was kept");
    subject.job(json!({"limits": [{"name": "api", "weight": 2}]})).await;
}

/// A limit is listed with its use, and stays for as long as a job names it.
pub async fn limits_in_use_stay(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    subject.limit("api", 3).await;
    subject.limit("bulk", 1).await;
    let job = subject.job(json!({"limits": [{"name": "api", "weight": 2}]})).await;
    let running = subject.start(&job).await;
    subject.trigger(job.run()).await;
    let usage = store.limit(project, &name("api")).await.unwrap().unwrap();
    assert_eq!((usage.limit.capacity, usage.held, usage.waiting), (3, 2, 1));
    assert_eq!(usage.holders, [(running.run, 2)]);
    let list = store.limits(project, None, 9).await.unwrap();
    let list: Vec<_> = list.iter().map(|(limit, held)| (limit.name.as_str(), limit.capacity, *held)).collect();
    assert_eq!(list, [("api", 3, 2), ("bulk", 1, 0)]);
    assert_eq!(store.limits(project, Some(&name("api")), 9).await.unwrap().len(), 1);
    assert_eq!(store.remove_limit(project, &name("api")).await.unwrap(), Removal::InUse(2));
    assert_eq!(store.remove_limit(project, &name("none")).await.unwrap(), Removal::NotFound);
    assert_eq!(store.remove_limit(project, &name("bulk")).await.unwrap(), Removal::Removed);
    assert!(store.limit(project, &name("bulk")).await.unwrap().is_none());
    // A revision that names it no more lets it go.
    let next = job.next("editor", |spec| {
        spec.limits = Vec::<LimitUse>::new();
        spec.when_full = WhenFull::Queue;
    });
    store.apply(next).await.unwrap();
    assert_eq!(store.remove_limit(project, &name("api")).await.unwrap(), Removal::InUse(1));
}
