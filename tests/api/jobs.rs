use haulier::domain::{JobSpec, Name};
use serde_json::{Value, json};

use crate::support::{TestApp, pointers};

fn spec(value: Value) -> JobSpec {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn applying_twice_changes_nothing() {
    let app = TestApp::start().await;
    let job = spec(json!({"name": "a", "image": "sim/ok", "secrets": {"K": {"value": "one"}}}));
    let (first, created) = app.client.apply_job(&job).await.unwrap();
    assert!(created);
    let (second, created) = app.client.apply_job(&job).await.unwrap();
    assert!(!created);
    assert_eq!((first.id, first.revision), (second.id, second.revision));
    // What was read can be applied as it is: secrets keep their values.
    let (third, _) = app.client.apply_job(&second.spec).await.unwrap();
    assert_eq!(third.revision, 1);
}

#[tokio::test]
async fn every_change_is_a_revision_that_can_be_restored() {
    let app = TestApp::start().await;
    app.apply(
        json!({"name": "a", "image": "sim/ok", "args": ["echo-env=K"], "secrets": {"K": {"value": "old-value"}}}),
    )
    .await;
    app.client.patch_job("a", &json!({"secrets": {"K": {"value": "new-value"}}, "labels": {"x": "y"}})).await.unwrap();
    let job = app.client.patch_job("a", &json!({"labels": {"x": null}})).await.unwrap();
    assert_eq!((job.revision, job.spec.labels.len()), (3, 0));
    let restored = app.client.restore_revision("a", 1).await.unwrap();
    assert_eq!(restored.revision, 4);
    let revisions = app.client.revisions("a", None).await.unwrap();
    assert_eq!(revisions.items.iter().map(|revision| revision.number).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(revisions.items[0].spec, revisions.items[3].spec);
    let (status, _) = app.raw("POST", "/jobs/a/revisions/9/restore", "").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn secrets_never_come_back() {
    let app = TestApp::start().await;
    app.client.set_secret("shared", &"a-shared-secret-value".into(), None).await.unwrap();
    let job = json!({"name": "a", "image": "sim/ok", "args": ["echo-env=OWN", "echo-env=SHARED"],
        "secrets": {"OWN": {"value": "an-own-secret-value"}, "SHARED": {"from": "shared"}}});
    let (_, created) = app.raw("POST", "/jobs", job.to_string()).await;
    let run = app.outcome("a").await;
    let mut everything = created.to_string();
    for path in ["/jobs", "/jobs/a", "/jobs/a/revisions", "/jobs/a/revisions/1", "/secrets", "/audit"] {
        everything += &app.get(path).await.1.to_string();
    }
    for path in ["", "/logs", "/events"] {
        everything += &app.get(&format!("/runs/{}{path}", run.id)).await.1.to_string();
    }
    assert!(everything.contains("***"), "the script printed its secrets, masked");
    assert!(!everything.contains("secret-value"));
}

#[tokio::test]
async fn nothing_confidential_lies_in_the_data_directory() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().to_owned();
    let database = format!("sqlite:{}", path.join("haulier.db").display());
    let mut app = TestApp::start_on(dir, database, Default::default()).await;
    app.client.set_secret("shared", &"very-confidential".into(), None).await.unwrap();
    app.apply(
        json!({"name": "a", "image": "sim/ok", "args": ["echo-env=A", "echo-env=B"], "env": {"X": "very-confidential"},
        "secrets": {"A": {"value": "very-confidential"}, "B": {"from": "shared"}},
        "files": {"/etc/x": {"content": "very-confidential"}}, "config": {"x": "very-confidential"}}),
    )
    .await;
    app.outcome("a").await;
    app.stop().await;
    let mut files = vec![path];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            read += bytes.len();
            assert!(!bytes.windows(17).any(|window| window == b"very-confidential"), "{}", path.display());
            assert!(!bytes.windows(15).any(|window| window == b"an-admin-token-"), "{}", path.display());
        }
    }
    assert!(read > 10_000);
}

#[tokio::test]
async fn archiving_keeps_history_and_frees_the_name() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    let run = app.outcome("a").await;
    app.client.archive_job("a").await.unwrap();
    assert_eq!(app.client.job("a").await.unwrap_err().status(), Some(404));
    assert!(app.client.job(&run.job_id.to_string()).await.unwrap().archived_at.is_some());
    assert!(app.client.run(run.id, 0).await.unwrap().finished);
    let (status, problem) = app.raw("POST", &format!("/jobs/{}/runs", run.job_id), "").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("job_archived")));
    app.script("a", &["exit=1"]).await;
    assert_ne!(app.client.job("a").await.unwrap().id, run.job_id);
    assert_eq!(app.client.jobs(true, None).await.unwrap().items.len(), 2);
    assert_eq!(app.client.jobs(false, None).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_job_can_be_renamed_by_its_id_but_not_to_a_taken_name() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    app.script("b", &[]).await;
    let id = app.client.job("a").await.unwrap().id;
    let (status, problem) = app.raw("PATCH", &format!("/jobs/{id}"), r#"{"name": "b"}"#).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("name_taken")));
    let (status, _) = app.raw("PATCH", &format!("/jobs/{id}"), r#"{"name": "c"}"#).await;
    assert_eq!(status, 200);
    assert_eq!(app.client.job("c").await.unwrap().id, id);
    assert!(app.outcome("c").await.error.is_none());
    let (status, problem) = app.raw("PUT", "/jobs/c", r#"{"name": "d", "image": "sim/ok"}"#).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/name"]));
}

#[tokio::test]
async fn disabled_jobs_start_nothing() {
    let app = TestApp::start().await;
    app.script("a", &[]).await;
    app.outcome("a").await;
    app.client.patch_job("a", &json!({"enabled": false})).await.unwrap();
    let (status, problem) = app.raw("POST", "/jobs/a/runs", "").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("job_disabled")));
    app.client.patch_job("a", &json!({"enabled": true})).await.unwrap();
    app.outcome("a").await;
}

#[tokio::test]
async fn what_does_not_exist_is_named_when_a_job_is_applied() {
    let app = TestApp::start().await;
    app.client.set_limit("small", 1).await.unwrap();
    let job = json!({"name": "a", "image": "sim/ok", "engine": "nowhere"});
    let (status, problem) = app.raw("POST", "/jobs", job.to_string()).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/engine"]));
    let job = json!({"name": "a", "image": "sim/ok", "limits": [{"name": "none"}, {"name": "small", "weight": 2}]});
    let (status, problem) = app.raw("POST", "/jobs", job.to_string()).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/limits/0/name", "/limits/1/weight"]));
    let job = json!({"name": "a", "image": "sim/ok", "secrets": {"K": {"from": "none"}, "L": {}}});
    let (status, problem) = app.raw("POST", "/jobs", job.to_string()).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/secrets/L"]));
    assert!(app.client.jobs(true, None).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn jobs_are_listed_by_pages() {
    let app = TestApp::start().await;
    let names: Vec<String> = (0..7).map(|n| format!("job-{n}")).collect();
    for name in names.iter().rev() {
        app.script(name, &[]).await;
    }
    let (mut seen, mut cursor) = (Vec::<Name>::new(), None::<String>);
    loop {
        let path = cursor.map_or_else(|| "/jobs?limit=3".to_owned(), |cursor| format!("/jobs?limit=3&cursor={cursor}"));
        let (status, page) = app.get(&path).await;
        assert_eq!(status, 200);
        for item in page["items"].as_array().unwrap() {
            seen.push(item["spec"]["name"].as_str().unwrap().parse().unwrap());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen.iter().map(ToString::to_string).collect::<Vec<_>>(), names);
    assert_eq!(app.get("/jobs?limit=0").await.0, 400);
    assert_eq!(app.get("/jobs?cursor=what").await.0, 400);
}
