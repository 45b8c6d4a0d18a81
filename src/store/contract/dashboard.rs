//! What the dashboard reads, and who is signed in at it.

use serde_json::json;

use super::fixtures::{START, Subject, after, name};
use crate::{
    domain::{Access, ErrorCode, Person, Phase, Scope, StopCause, Token, TokenId},
    store::{PersonSession, RunFilter},
};

/// A sign-in gives its token until its time is over or it is ended, also when the token was revoked: who may do what is
/// the token's own matter.
pub async fn sign_ins(subject: &Subject) {
    let store = &subject.store;
    let token = Token {
        id: TokenId::generate(),
        name: name("robot"),
        project: Some(subject.project),
        scopes: vec![Scope::Read],
        jobs: Vec::new(),
        created_at: START,
        expires_at: None,
        revoked_at: None,
    };
    store.create_token(&token, vec![1]).await.unwrap();
    store.sign_in(token.id, b"first", START, after(60)).await.unwrap();
    store.sign_in(token.id, b"second", START, after(90)).await.unwrap();
    assert_eq!(store.signed_in(b"first", after(59)).await.unwrap().as_ref(), Some(&token));
    assert_eq!(store.signed_in(b"first", after(60)).await.unwrap(), None);
    assert_eq!(store.signed_in(b"nobody", START).await.unwrap(), None);
    assert!(store.revoke_token(Some(subject.project), token.id, after(1)).await.unwrap());
    assert_eq!(store.signed_in(b"second", after(2)).await.unwrap().unwrap().revoked_at, Some(after(1)));
    // Whoever signs in sweeps away what is over.
    store.sign_in(token.id, b"third", after(61), after(120)).await.unwrap();
    assert_eq!(store.signed_in(b"first", START).await.unwrap(), None);
    store.sign_out(b"second", after(62)).await.unwrap();
    store.sign_out(b"second", after(62)).await.unwrap();
    assert_eq!(store.signed_in(b"second", START).await.unwrap(), None);
    assert!(store.signed_in(b"third", after(62)).await.unwrap().is_some());
}

/// A person is signed in under the settings that let them in, until the session's time is over or it is ended; and a
/// request leads to one session alone, also after its end.
pub async fn people_sign_in(subject: &Subject) {
    let store = &subject.store;
    let access = Access { project: Some(name("sales")), scopes: vec![Scope::Read, Scope::Trigger] };
    let person = Person { name: "anna@example.com".to_owned(), subject: "4711".to_owned(), access: vec![access] };
    let session = |hash: u8, request: u8, end: u64| PersonSession {
        hash: [hash; 32],
        request: [request; 32],
        settings: [9; 32],
        person: person.clone(),
        expires_at: after(end),
    };
    let find = |hash: u8, settings: u8, at: u64| async move {
        store.signed_in_person(&[hash; 32], &[settings; 32], after(at)).await.unwrap()
    };
    assert!(store.sign_in_person(session(1, 1, 60), START).await.unwrap());
    assert_eq!(find(1, 9, 59).await.as_ref(), Some(&person));
    assert_eq!(find(1, 9, 60).await, None);
    assert_eq!(find(1, 8, 0).await, None, "under other settings");
    assert_eq!(find(2, 9, 0).await, None);
    assert!(!store.sign_in_person(session(2, 1, 60), START).await.unwrap(), "the request was used");
    assert_eq!(find(2, 9, 0).await, None);
    assert!(store.sign_in_person(session(2, 2, 90), START).await.unwrap());

    store.sign_out(&[1; 32], after(1)).await.unwrap();
    store.sign_out(&[1; 32], after(1)).await.unwrap();
    assert_eq!(find(1, 9, 1).await, None);
    assert_eq!(find(2, 9, 1).await.as_ref(), Some(&person), "another session of theirs goes on");
    assert!(!store.sign_in_person(session(3, 1, 60), after(2)).await.unwrap(), "it is over, and used nevertheless");
    // Whoever signs in sweeps away what is over.
    assert!(store.sign_in_person(session(3, 1, 90), after(60)).await.unwrap());
}

/// What ended is counted by its end, up to a bound; what went wrong comes with the latest first.
pub async fn activity(subject: &Subject) {
    let store = &subject.store;
    let (job, other) = (subject.job(json!({"name": "a"})).await, subject.job(json!({"name": "b"})).await);
    let all = RunFilter { project: Some(subject.project), ..RunFilter::default() };
    let mut failed = Vec::new();
    for job in [&job, &job, &other] {
        subject.succeed(subject.start(job).await).await;
        let attempt = subject.start(job).await;
        subject.conclude(attempt, Err(ErrorCode::ExitCode)).await;
        failed.push(attempt.run);
    }
    let end = subject.read(failed[0]).await.finished_at.unwrap();
    let count = |filter: RunFilter, phase, from, to, most| async move {
        store.count_ended(&filter, phase, from, to, most).await.unwrap()
    };
    let second = std::time::Duration::from_secs(1);
    let (before, behind) = (end.minus(second), end.plus(second));
    assert_eq!(count(all.clone(), Phase::Succeeded, before, behind, 10).await, 3);
    assert_eq!(count(all.clone(), Phase::Failed, before, behind, 2).await, 2, "no more than is asked for");
    assert_eq!(count(all.clone(), Phase::Failed, before, end, 10).await, 0, "the end is not part of it");
    assert_eq!(count(all.clone(), Phase::TimedOut, before, behind, 10).await, 0);
    let one = RunFilter { jobs: vec![other.id], ..all.clone() };
    assert_eq!(count(one.clone(), Phase::Failed, before, behind, 10).await, 1);
    let elsewhere = RunFilter { project: Some(crate::domain::ProjectId::generate()), ..RunFilter::default() };
    assert_eq!(count(elsewhere, Phase::Failed, before, behind, 10).await, 0);

    let wrong = store.went_wrong(&all, before, 10).await.unwrap();
    assert_eq!(wrong.len(), 3);
    assert!(wrong.is_sorted_by_key(|run| std::cmp::Reverse(run.finished_at)));
    assert_eq!(store.went_wrong(&one, before, 10).await.unwrap()[0].id, failed[2]);
    assert!(store.went_wrong(&all, behind, 10).await.unwrap().is_empty());

    let active = subject.start(&job).await;
    assert_eq!(store.count_in(&all, Phase::Starting, 10).await.unwrap(), 1);
    assert_eq!(store.count_in(&one, Phase::Starting, 10).await.unwrap(), 0);
    let newest = store.newest_runs(job.id, 3).await.unwrap();
    assert_eq!((newest.len(), newest[0].id, newest[0].finished_at), (3, active.run, None));
    assert!(newest[1].finished_at.is_some());
}

/// The queue of a limit is that of all its jobs together.
pub async fn queues_of_limits(subject: &Subject) {
    subject.limit("api", 1).await;
    let limits = json!([{"name": "api"}]);
    let job = subject.job(json!({"name": "a", "limits": limits})).await;
    let other = subject.job(json!({"name": "b", "limits": limits})).await;
    let limit = subject.store.limit(subject.project, &name("api")).await.unwrap().unwrap().limit.id;
    subject.start(&job).await;
    let mut waiting = Vec::new();
    for (number, job) in [(1, &job), (2, &other), (3, &job)] {
        let new = job.run_with(|run| run.queued_at = after(number));
        waiting.push(subject.trigger(new).await.0);
    }
    let urgent = subject.trigger(other.run_with(|run| run.priority = 5)).await.0;
    let queue = |most| async move {
        let queue = subject.store.queue_of_limit(limit, most).await.unwrap();
        queue.iter().map(|run| run.id).collect::<Vec<_>>()
    };
    assert_eq!(queue(10).await, [urgent, waiting[0], waiting[1], waiting[2]]);
    assert_eq!(queue(2).await, [urgent, waiting[0]]);
    subject.store.stop(urgent, StopCause::Cancelled, "tester", after(9)).await.unwrap();
    assert_eq!(queue(1).await, [waiting[0]]);
}

/// Jobs are found by any part of their name, and no character means anything else.
pub async fn jobs_by_part_of_their_name(subject: &Subject) {
    for text in ["load-orders", "load-lines", "clean"] {
        subject.job(json!({"name": text})).await;
    }
    for (part, found) in [("", 3), ("load", 2), ("orders", 1), ("-", 2), ("%", 0), ("_", 0), ("!", 0), ("x", 0)] {
        let page = subject.store.jobs_named_like(subject.project, part, false, None, 10).await.unwrap();
        assert_eq!(page.jobs.len(), found, "{part}");
    }
}
