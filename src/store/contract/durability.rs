//! What is stored stays, whatever fails beside it.

use futures::future::join_all;
use serde_json::json;

use super::fixtures::{Subject, after, name};
use crate::{
    domain::{IfExists, RunState},
    store::{Applied, Store, StoreError, TriggerOutcome, session::values},
};

/// Writes that fail undo nothing of those that go on at the same time.
pub async fn a_failed_write_undoes_only_its_own(subject: &Subject) {
    subject.job(json!({"name": "taken"})).await;
    let writes = (0..60).map(|number| {
        let (store, project) = (subject.store.clone(), subject.project);
        let new = subject.first_revision(json!({"name": "taken"}));
        tokio::spawn(async move {
            match number % 3 {
                0 => assert_eq!(store.apply(new).await.unwrap(), Applied::NameTaken),
                1 => {
                    let half = store.write(move |session| {
                        Box::pin(async move {
                            let sql = "INSERT INTO settings (name, value) VALUES ($1, $2)";
                            session.execute(sql, values![format!("half-{number}"), "kept?"]).await?;
                            Err::<(), _>(StoreError::corrupt("on purpose"))
                        })
                    });
                    assert!(matches!(half.await, Err(StoreError::Corrupt(_))));
                }
                _ => {
                    let secret = name(&format!("secret-{number}"));
                    store.set_secret(project, &secret, b"sealed".to_vec(), None, after(1)).await.unwrap();
                }
            }
        })
    });
    for write in join_all(writes).await {
        write.unwrap();
    }
    let kept = subject.store.secrets(subject.project, None, 100).await.unwrap();
    assert_eq!(kept.len(), 20, "all that succeeded is there");
    let half = "SELECT COUNT(*) AS n FROM settings WHERE value = 'kept?'";
    assert_eq!(subject.store.read().await.unwrap().count(half, Vec::new()).await.unwrap(), 0);
    let jobs = subject.store.jobs(subject.project, true, None, 100).await.unwrap().jobs;
    assert_eq!(jobs.len(), 1);
}

/// A service that is started anew finds everything as it was.
pub async fn everything_outlives_a_restart(subject: &Subject) {
    subject.limit("api", 2).await;
    let job = subject.job(json!({"max_parallel": 1, "limits": [{"name": "api", "weight": 2}]})).await;
    let running = subject.start(&job).await;
    subject.store.launched(running, "container", after(1)).await.unwrap();
    let (waiting, _) = subject.trigger(job.keyed("k", b"same", IfExists::Return)).await;
    let before = (subject.read(running.run).await, subject.read(waiting).await);
    subject.store.close().await;
    assert!(subject.store.set_state(job.id, &Default::default(), None, "tester", after(1)).await.is_err());

    let store = subject.another().await;
    assert_eq!(store.installation(), subject.store.installation());
    let read = async |run| store.run(subject.project, run).await.unwrap().unwrap();
    assert_eq!((read(running.run).await, read(waiting).await), before);
    let live = store.live_attempts(|_| true).await.unwrap();
    assert_eq!((live.len(), live[0].id), (1, running));
    let plan = store.launch_plan(running).await.unwrap().unwrap();
    assert_eq!(plan.attempt.handle.as_deref(), Some("container"));
    let known = store.trigger(job.keyed("k", b"same", IfExists::Return)).await.unwrap();
    assert!(matches!(known, TriggerOutcome::Existing(run) if run.id == waiting));
    assert!(store.admit(after(2)).await.unwrap().is_empty(), "the slots are held still");
    let again = subject.reopened(store);
    let next = again.succeed(running).await.admitted;
    assert_eq!(next[0].attempt.run, waiting);
    assert_eq!(again.read(waiting).await.life.state(), RunState::Starting);
    again.store.close().await;
}

/// A database that a newer version has been at work on is left alone, and it is said why.
pub async fn a_newer_schema_is_refused(subject: &Subject) {
    let sql = "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
               SELECT 9999, 'from the future', installed_on, success, checksum, 0 FROM _sqlx_migrations \
               WHERE version = 1";
    let written = subject.store.write(move |session| Box::pin(session.execute(sql, Vec::new()))).await.unwrap();
    assert_eq!(written, 1);
    let refused = Store::open(subject.url()).await.unwrap_err();
    assert!(matches!(refused, StoreError::NewerSchema(9999)), "{refused:?}");
    assert!(refused.to_string().contains("newer"), "{refused}");
}
