//! Ended runs, notices about them, and channels that are told.

use std::time::Duration;

use serde_json::json;

use super::fixtures::{START, Subject, TestJob, after, name};
use crate::{
    domain::{
        AttemptId, Change, ChannelId, ErrorCode, Finding, NoticeKind, Outcome, Phase, ProjectId, Sample, SampleFigures,
        Severity, StopCause, Timestamp,
    },
    store::{JudgedRun, NoticeFilter, Over, Sent, StoredChannel},
};

const HOLD: Duration = Duration::from_secs(100);

fn finding(job: &TestJob, kind: NoticeKind) -> Finding {
    Finding {
        kind,
        subject: job.id.to_string(),
        project: Some(job.project),
        job: Some((job.id, job.spec.name.clone())),
        run: None,
        summary: "something is wrong".to_owned(),
        figures: [("value", 7.5)].into(),
        channels: Vec::new(),
    }
}

fn over(job: &TestJob, kind: NoticeKind) -> Over {
    Over { kind, subject: job.id.to_string(), resolution: "it is well again".to_owned() }
}

fn judged(job: &TestJob, attempt: AttemptId, succeeded: bool) -> JudgedRun {
    let figures = SampleFigures { seconds: Some(1.5), queue_seconds: Some(0.25), rows: None };
    let found = if succeeded { Vec::new() } else { vec![finding(job, NoticeKind::Failed)] };
    let fine = vec![over(job, NoticeKind::Failed), over(job, NoticeKind::Failing)];
    JudgedRun {
        run: attempt.run,
        job: job.id,
        sample: Some(Sample { run: attempt.run, made_at: START, succeeded, figures }),
        expected_by: Some(after(1000)),
        failing: (!succeeded).then(|| (3, finding(job, NoticeKind::Failing))),
        found,
        over: if succeeded { fine } else { Vec::new() },
    }
}

async fn open(subject: &Subject) -> Vec<(NoticeKind, u32)> {
    subject.store.open_notices().await.unwrap().iter().map(|notice| (notice.kind, notice.times)).collect()
}

async fn channel(subject: &Subject, text: &str, spec: serde_json::Value) -> StoredChannel {
    let channel = StoredChannel {
        id: ChannelId::generate(),
        project: subject.project,
        name: name(text),
        spec: serde_json::from_value(spec).unwrap(),
        secret: b"sealed".to_vec(),
        target: "https://example.com".to_owned(),
        updated_at: START,
        due_at: None,
        last_error: None,
        delivered_at: None,
    };
    subject.store.set_channel(channel.clone()).await.unwrap();
    channel
}

/// Whatever ends a run leaves it to be looked at; who looks takes it off, once.
pub async fn ended_runs_are_judged_once(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({"max_parallel": 1})).await;
    let attempt = subject.start(&job).await;
    let (waiting, _) = subject.trigger(job.run()).await;
    assert_eq!(store.unjudged(10).await.unwrap().len(), 0);
    store.stop(waiting, StopCause::Cancelled, "tester", after(1)).await.unwrap();
    subject.succeed(attempt).await;
    let ended: Vec<_> = store.unjudged(10).await.unwrap().iter().map(|run| (run.id, run.life.phase)).collect();
    assert_eq!(ended, [(attempt.run, Phase::Succeeded), (waiting, Phase::Cancelled)]);
    // A run that says nothing about its job is taken off all the same.
    let cancelled = JudgedRun { run: waiting, sample: None, ..judged(&job, attempt, true) };
    store.judged(vec![judged(&job, attempt, true), cancelled], after(2)).await.unwrap();
    assert_eq!(store.unjudged(10).await.unwrap().len(), 0);
    let again = judged(&job, attempt, false);
    assert_eq!(store.judged(vec![again], after(3)).await.unwrap(), 0, "what was looked at does not count again");
    assert_eq!((open(subject).await, store.samples(job.id).await.unwrap().len()), (vec![], 1));
    assert_eq!(store.samples(job.id).await.unwrap()[0].figures.seconds, Some(1.5));
}

/// One failure, one notice; several in a row, another one in its place; a success, none.
pub async fn failures_in_a_row_are_one_notice(subject: &Subject) {
    let job = subject.job(json!({})).await;
    let end = async |succeeded: bool| {
        let attempt = subject.start(&job).await;
        let verdict = if succeeded { Ok(Outcome::Done) } else { Err(ErrorCode::ExitCode) };
        subject.conclude(attempt, verdict).await.unwrap();
        subject.store.judged(vec![judged(&job, attempt, succeeded)], after(2)).await.unwrap()
    };
    assert_eq!(end(true).await, 0);
    assert_eq!((end(false).await, open(subject).await), (1, vec![(NoticeKind::Failed, 1)]));
    assert_eq!((end(false).await, open(subject).await), (0, vec![(NoticeKind::Failed, 2)]));
    end(false).await;
    assert_eq!(open(subject).await, [(NoticeKind::Failing, 1)]);
    assert_eq!((end(false).await, open(subject).await), (0, vec![(NoticeKind::Failing, 2)]));
    assert_eq!((end(true).await, open(subject).await), (1, vec![]));
}

/// One notice of a kind and subject is open, whoever finds it; lists filter; acknowledged once; kept for a while.
pub async fn notices_are_opened_once_and_end(subject: &Subject) {
    let store = &subject.store;
    let (a, b) = (subject.job(json!({"name": "a"})).await, subject.job(json!({"name": "b"})).await);
    let other = subject.another().await;
    let slow = || vec![finding(&a, NoticeKind::Slow)];
    let (one, two) = tokio::join!(store.note(slow(), Vec::new(), START), other.note(slow(), Vec::new(), START));
    other.close().await;
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(open(subject).await, [(NoticeKind::Slow, 2)]);
    let disk = Finding { project: None, job: None, subject: "disk".into(), ..finding(&a, NoticeKind::DiskFull) };
    store.note(vec![finding(&b, NoticeKind::Overdue), disk], Vec::new(), after(1)).await.unwrap();
    let list = async |filter: NoticeFilter| {
        let found = store.notices(&filter, None, 10).await.unwrap();
        found.iter().map(|notice| notice.kind).collect::<Vec<_>>()
    };
    let mine = NoticeFilter { project: Some(subject.project), ..NoticeFilter::default() };
    assert_eq!(list(mine.clone()).await, [NoticeKind::Overdue, NoticeKind::Slow]);
    let all = NoticeFilter { with_instance: true, ..mine.clone() };
    assert_eq!(list(all).await, [NoticeKind::DiskFull, NoticeKind::Overdue, NoticeKind::Slow]);
    assert_eq!(list(NoticeFilter { project: Some(ProjectId::generate()), ..mine.clone() }).await, []);
    let bad = NoticeFilter { severity: Some(Severity::Error), ..mine.clone() };
    assert_eq!(list(bad).await, [NoticeKind::Overdue]);
    assert_eq!(list(NoticeFilter { jobs: vec![a.id], ..mine.clone() }).await, [NoticeKind::Slow]);
    assert_eq!(list(NoticeFilter { kinds: vec![NoticeKind::Short], ..mine.clone() }).await, []);
    let newest = store.notices(&mine, None, 1).await.unwrap().remove(0);
    assert_eq!(store.notices(&mine, Some(newest.id), 10).await.unwrap().len(), 1);
    assert_eq!(newest.figures["value"], 7.5);
    let first = store.acknowledge(Some(subject.project), newest.id, "anna", after(5)).await.unwrap().unwrap();
    let second = store.acknowledge(Some(subject.project), newest.id, "bert", after(6)).await.unwrap().unwrap();
    assert_eq!((first.acknowledged_by.as_deref(), second), (Some("anna"), first.clone()));
    assert_eq!(store.acknowledge(None, newest.id, "anna", after(6)).await.unwrap(), None);
    assert_eq!(store.note(Vec::new(), vec![over(&a, NoticeKind::Slow)], after(9)).await.unwrap(), 1);
    assert_eq!(store.note(Vec::new(), vec![over(&a, NoticeKind::Slow)], after(9)).await.unwrap(), 0);
    assert_eq!(list(NoticeFilter { open: Some(false), ..mine.clone() }).await, [NoticeKind::Slow]);
    // Found again, it is another one.
    assert_eq!(store.note(slow(), Vec::new(), after(10)).await.unwrap(), 1);
    assert_eq!(store.forget_notices(after(9)).await.unwrap(), 0);
    assert_eq!(store.forget_notices(after(10)).await.unwrap(), 1);
}

/// However long a job's history is, so many runs are remembered: the last.
pub async fn what_is_remembered_is_bounded(subject: &Subject) {
    let job = subject.job(json!({})).await;
    let mut last = None;
    for _ in 0..510 {
        let attempt = subject.start(&job).await;
        subject.succeed(attempt).await;
        subject.store.judged(vec![judged(&job, attempt, true)], after(2)).await.unwrap();
        last = Some(attempt.run);
    }
    let samples = subject.store.samples(job.id).await.unwrap();
    assert_eq!((samples.len(), samples.last().map(|sample| sample.run)), (500, last));
    assert!(samples.is_sorted_by_key(|sample| sample.run));
}

/// By when the next run is expected; archived jobs are not.
pub async fn late_jobs_are_found(subject: &Subject) {
    let store = &subject.store;
    let job = subject.job(json!({})).await;
    let expect = async |last: Timestamp, by| store.expect(job.id, last, by).await.unwrap();
    let due = async |now| store.due_expectations(now, 10).await.unwrap().into_iter().map(|late| late.expected_by);
    expect(after(10), Some(after(100))).await;
    expect(after(5), Some(after(50))).await;
    assert_eq!(due(after(99)).await.count(), 0, "an older run does not count");
    assert_eq!(due(after(100)).await.collect::<Vec<_>>(), [after(100)]);
    expect(after(10), None).await;
    assert_eq!(due(after(100)).await.count(), 0);
    expect(after(10), Some(after(100))).await;
    store.note(vec![finding(&job, NoticeKind::Overdue)], Vec::new(), after(10)).await.unwrap();
    store.archive(subject.project, job.id, "tester", after(11)).await.unwrap().unwrap();
    assert_eq!(open(subject).await, []);
    assert_eq!(due(after(100)).await.count(), 0);
    assert_eq!(store.last_made(job.id).await.unwrap(), None);
}

/// What happens at the same time goes as one; two services send it once; what is held back stays.
pub async fn channels_gather_what_they_are_told(subject: &Subject) {
    let store = &subject.store;
    let ops = channel(subject, "ops", json!({"kind": "slack"})).await;
    channel(subject, "quiet", json!({"kind": "slack"})).await;
    let mut jobs = Vec::new();
    for number in 0..30 {
        jobs.push(subject.job(json!({"name": format!("j{number}")})).await);
    }
    let only_ops = |job: &TestJob| Finding { channels: vec![name("ops")], ..finding(job, NoticeKind::Slow) };
    let found = jobs.iter().map(only_ops).collect();
    assert_eq!(store.note(found, Vec::new(), START).await.unwrap(), 30);
    assert_eq!(store.claim_channels(START, HOLD, 10).await.unwrap().len(), 0, "others may come");
    let due = store.next_message_at().await.unwrap().unwrap();
    let other = subject.another().await;
    let (a, b) = tokio::join!(store.claim_channels(due, HOLD, 10), other.claim_channels(due, HOLD, 10));
    other.close().await;
    let claimed: Vec<_> = a.unwrap().into_iter().chain(b.unwrap()).collect();
    assert_eq!(claimed.iter().map(|one| (one.channel.id, one.number)).collect::<Vec<_>>(), [(ops.id, 1)]);
    // What comes meanwhile goes with the next.
    let late = vec![over(&jobs[0], NoticeKind::Slow)];
    assert_eq!(store.note(Vec::new(), late, due).await.unwrap(), 1);
    let messages = store.messages(ops.id, claimed[0].up_to, 100).await.unwrap();
    assert_eq!(messages.len(), 30);
    let held = messages[29].id;
    let done = messages[..29].iter().map(|message| message.id).collect();
    let sent = Sent::Done { messages: done, delivered: true, rest_at: after(500) };
    store.channel_tried(&claimed[0], sent, after(20)).await.unwrap();
    let seen = store.channel(subject.project, &name("ops")).await.unwrap().unwrap();
    assert_eq!((seen.due_at, seen.delivered_at), (Some(after(20)), Some(after(20))), "what came meanwhile goes now");
    let again = store.claim_channels(after(20), HOLD, 10).await.unwrap().remove(0);
    let sent = Sent::Done { messages: Vec::new(), delivered: false, rest_at: after(500) };
    store.channel_tried(&again, sent, after(21)).await.unwrap();
    assert_eq!(store.next_message_at().await.unwrap(), Some(after(500)));
    // What is held back does not hold up what comes.
    store.note(vec![only_ops(&jobs[0])], Vec::new(), after(30)).await.unwrap();
    assert!(store.next_message_at().await.unwrap().unwrap() < after(60));
    store.note(Vec::new(), vec![over(&jobs[0], NoticeKind::Slow)], after(31)).await.unwrap();
    let next = store.claim_channels(after(60), HOLD, 10).await.unwrap().remove(0);
    let rest = store.messages(ops.id, next.up_to, 100).await.unwrap();
    let changes: Vec<_> = rest.iter().map(|message| message.change).collect();
    assert_eq!(changes, [Change::Opened, Change::Resolved, Change::Opened, Change::Resolved]);
    assert_eq!((rest[0].id, rest[1].notice.resolution.as_deref()), (held, Some("it is well again")));
    let all = rest.iter().map(|message| message.id).collect();
    let sent = Sent::Done { messages: all, delivered: false, rest_at: after(501) };
    store.channel_tried(&next, sent, after(501)).await.unwrap();
    assert_eq!(store.next_message_at().await.unwrap(), None);
    assert!(store.remove_channel(subject.project, &name("ops")).await.unwrap());
    assert!(!store.remove_channel(subject.project, &name("ops")).await.unwrap());
    assert_eq!(store.channels(subject.project, None, 10).await.unwrap().len(), 1);
}

/// Who takes a channel and dies leaves it to others, later, with the same messages; what is given up is gone.
pub async fn what_cannot_be_sent_is_tried_and_given_up(subject: &Subject) {
    let store = &subject.store;
    let mail = channel(subject, "mail", json!({"kind": "webhook"})).await;
    let job = subject.job(json!({})).await;
    store.note(vec![finding(&job, NoticeKind::Slow)], Vec::new(), START).await.unwrap();
    let dead = store.claim_channels(after(10), HOLD, 10).await.unwrap().remove(0);
    assert_eq!(store.claim_channels(after(109), HOLD, 10).await.unwrap().len(), 0);
    store.note(vec![finding(&job, NoticeKind::Short)], Vec::new(), after(50)).await.unwrap();
    let next = store.claim_channels(after(110), HOLD, 10).await.unwrap().remove(0);
    assert_eq!((next.number, next.up_to, next.since), (2, dead.up_to, after(10)));
    // What the dead one says now does not count.
    let failed = |next| Sent::Failed { error: "busy".to_owned(), next };
    store.channel_tried(&dead, failed(None), after(111)).await.unwrap();
    assert_eq!(store.messages(mail.id, next.up_to, 10).await.unwrap().len(), 1);
    store.channel_tried(&next, failed(Some(after(120))), after(112)).await.unwrap();
    let seen = store.channel(subject.project, &name("mail")).await.unwrap().unwrap();
    assert_eq!((seen.due_at, seen.last_error), (Some(after(120)), Some(("busy".to_owned(), after(112)))));
    let last = store.claim_channels(after(120), HOLD, 10).await.unwrap().remove(0);
    store.channel_tried(&last, failed(None), after(121)).await.unwrap();
    // The message that came later is still to be sent, from the first try on.
    let rest = store.claim_channels(after(121), HOLD, 10).await.unwrap().remove(0);
    assert_eq!((rest.number, store.messages(mail.id, rest.up_to, 10).await.unwrap().len()), (1, 1));
}

/// What Prometheus is told of the present.
pub async fn figures_are_of_the_present(subject: &Subject) {
    let store = &subject.store;
    subject.limit("api", 2).await;
    let job = subject.job(json!({"limits": [{"name": "api", "weight": 2}]})).await;
    let attempt = subject.start(&job).await;
    let (waiting, _) = subject.trigger(job.run()).await;
    store.note(vec![finding(&job, NoticeKind::Slow)], Vec::new(), START).await.unwrap();
    let figures = store.figures().await.unwrap();
    let mut runs = figures.runs.clone();
    runs.sort_by_key(|(_, phase, _)| phase.as_str());
    let engine = || "simulated".to_owned();
    assert_eq!(runs, [(engine(), Phase::Queued, 1), (engine(), Phase::Starting, 1)]);
    let limit = &figures.limits[0];
    assert_eq!((limit.name.as_str(), limit.capacity, limit.held, limit.waiting), ("api", 2, 2, 1));
    assert_eq!((figures.callbacks, figures.messages, figures.notices), (0, 0, vec![(NoticeKind::Slow, 1)]));
    let heads = store.heads_of_queues().await.unwrap();
    assert_eq!(heads.iter().map(|head| (head.run, head.since)).collect::<Vec<_>>(), [(waiting, START)]);
    assert_eq!((store.running().await.unwrap().len(), store.long_holders(after(9)).await.unwrap().len()), (0, 0));
    store.launched(attempt, "handle", after(3)).await.unwrap().unwrap();
    let running = store.running().await.unwrap();
    assert_eq!(running.iter().map(|run| (run.run, run.since)).collect::<Vec<_>>(), [(attempt.run, after(3))]);
    assert_eq!(store.long_holders(after(2)).await.unwrap().len(), 0);
    let holders = store.long_holders(after(9)).await.unwrap();
    assert_eq!(holders.iter().map(|one| (one.limit.as_str(), one.run.run)).collect::<Vec<_>>(), [("api", attempt.run)]);
}
