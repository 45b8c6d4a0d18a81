//! Projects and what belongs to them: tokens, secrets, registries, the audit log.

use super::fixtures::{START, Subject, after, name};
use crate::{
    domain::{JobId, Project, ProjectId, Registry, Scope, Token, TokenId},
    store::{StoredRegistry, StoredSecret},
};

/// Projects are made once, found by name and id, and keep their key.
pub async fn projects(subject: &Subject) {
    let store = &subject.store;
    let again = Project { id: ProjectId::generate(), name: name("project"), images: Vec::new(), created_at: START };
    assert!(!store.create_project(&again, b"other".to_vec()).await.unwrap(), "the name is taken");
    subject.add_project(ProjectId::generate(), "another").await;
    let names: Vec<_> = store.projects().await.unwrap().into_iter().map(|(project, _)| project.name).collect();
    assert_eq!(names, [name("another"), name("project")]);
    let images = vec!["r.example.com/*".parse().unwrap()];
    store.set_images(subject.project, &images).await.unwrap();
    let (found, key) = store.project(&name("project")).await.unwrap().unwrap();
    assert_eq!((found.id, &found.images, key.as_slice()), (subject.project, &images, &b"key"[..]));
    assert!(!store.replace_data_key(found.id, b"stale".to_vec(), b"new".to_vec()).await.unwrap());
    assert!(store.replace_data_key(found.id, b"key".to_vec(), b"new".to_vec()).await.unwrap());
    assert_eq!(store.project_by_id(found.id).await.unwrap().unwrap().1, b"new");
    assert!(store.project(&name("nobody")).await.unwrap().is_none());
}

/// Tokens are found by hash, listed apart from those of other projects, and revoked once.
pub async fn tokens(subject: &Subject) {
    let store = &subject.store;
    assert!(!store.has_tokens().await.unwrap());
    let token = |project, jobs| Token {
        id: TokenId::generate(),
        name: name("robot"),
        project,
        scopes: vec![Scope::Read, Scope::Trigger],
        jobs,
        created_at: START,
        expires_at: Some(after(60)),
        revoked_at: None,
    };
    let own = token(Some(subject.project), vec![JobId::generate()]);
    let all = token(None, Vec::new());
    store.create_token(&own, vec![1]).await.unwrap();
    store.create_token(&all, vec![2]).await.unwrap();
    store.create_token(&token(None, Vec::new()), vec![2]).await.unwrap();
    assert!(store.has_tokens().await.unwrap());
    assert_eq!(store.token_by_hash(&[1]).await.unwrap().as_ref(), Some(&own));
    assert_eq!(store.token_by_hash(&[2]).await.unwrap().as_ref(), Some(&all), "the first with a hash stays");
    assert_eq!(store.token_by_hash(&[3]).await.unwrap(), None);
    assert_eq!(store.tokens(Some(subject.project), None, 10).await.unwrap(), std::slice::from_ref(&own));
    assert_eq!(store.tokens(None, None, 10).await.unwrap(), std::slice::from_ref(&all));
    assert_eq!(store.tokens(None, Some(all.id), 10).await.unwrap(), []);
    assert!(!store.revoke_token(None, own.id, after(1)).await.unwrap(), "it belongs to a project");
    assert!(store.revoke_token(Some(subject.project), own.id, after(1)).await.unwrap());
    assert!(store.revoke_token(Some(subject.project), own.id, after(2)).await.unwrap());
    let revoked = store.token_by_hash(&[1]).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(after(1)), "the first time counts");
}

/// Secrets are set, replaced, listed by name and removed.
pub async fn secrets(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    for (secret, value) in [("b", "1"), ("a", "2"), ("c", "3"), ("b", "4")] {
        store.set_secret(project, &name(secret), value.as_bytes().to_vec(), None, START).await.unwrap();
    }
    assert_eq!(store.secret(project, &name("b")).await.unwrap(), Some(b"4".to_vec()));
    assert_eq!(store.secret(ProjectId::generate(), &name("b")).await.unwrap(), None);
    let page = async |after: Option<&str>, limit| {
        let page = store.secrets(project, after.map(name).as_ref(), limit).await.unwrap();
        page.into_iter().map(|secret| secret.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2).await, ["a", "b"]);
    assert_eq!(page(Some("b"), 2).await, ["c"]);
    assert!(store.remove_secret(project, &name("b")).await.unwrap());
    assert!(!store.remove_secret(project, &name("b")).await.unwrap());
    assert_eq!(page(None, 9).await, ["a", "c"]);
    store.set_secret(project, &name("a"), vec![1], Some(after(9)), after(1)).await.unwrap();
    let expected = StoredSecret { name: name("a"), updated_at: after(1), expires_at: Some(after(9)) };
    assert_eq!(store.secrets(project, None, 1).await.unwrap(), std::slice::from_ref(&expected));
    assert_eq!(store.expiring_secrets(after(9)).await.unwrap(), []);
    assert_eq!(store.expiring_secrets(after(10)).await.unwrap(), [(project, expected)]);
    store.set_secret(project, &name("a"), vec![1], None, after(2)).await.unwrap();
    assert_eq!(store.expiring_secrets(after(10)).await.unwrap(), []);
}

/// Registries are set, replaced, listed by name and removed.
pub async fn registries(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    let registry = |text: &str, server: &str| StoredRegistry {
        registry: Registry {
            name: name(text),
            server: server.to_owned(),
            username: "robot".to_owned(),
            updated_at: START,
        },
        password: server.as_bytes().to_vec(),
    };
    for stored in [registry("b", "b.example.com"), registry("a", "old"), registry("a", "a.example.com:5000")] {
        store.set_registry(project, stored).await.unwrap();
    }
    let found = store.registries(project).await.unwrap();
    let servers: Vec<_> = found.iter().map(|stored| stored.registry.server.as_str()).collect();
    assert_eq!(servers, ["a.example.com:5000", "b.example.com"]);
    assert_eq!(found[0].password, b"a.example.com:5000");
    assert!(store.remove_registry(project, &name("a")).await.unwrap());
    assert!(!store.remove_registry(project, &name("a")).await.unwrap());
    assert!(store.registries(ProjectId::generate()).await.unwrap().is_empty());
}

/// The audit log is read from its end, page by page.
pub async fn audit_log(subject: &Subject) {
    let (store, project) = (&subject.store, subject.project);
    for number in 0..5 {
        store.audit(Some(project), "tester", "job.apply", &format!("job-{number}"), after(number)).await.unwrap();
    }
    store.audit(None, "tester", "project.create", "other", START).await.unwrap();
    let first = store.audit_log(Some(project), None, 3).await.unwrap();
    let targets: Vec<_> = first.iter().map(|entry| entry.target.as_str()).collect();
    assert_eq!(targets, ["job-4", "job-3", "job-2"]);
    assert_eq!((first[0].actor.as_str(), first[0].action.as_str(), first[0].at), ("tester", "job.apply", after(4)));
    let rest = store.audit_log(Some(project), Some(first[2].id), 3).await.unwrap();
    let targets: Vec<_> = rest.iter().map(|entry| entry.target.as_str()).collect();
    assert_eq!(targets, ["job-1", "job-0"]);
    let everywhere = store.audit_log(None, None, 3).await.unwrap();
    assert_eq!(everywhere.iter().map(|entry| entry.target.as_str()).collect::<Vec<_>>(), ["other"]);
    assert_eq!(store.audit_log(None, Some(everywhere[0].id), 3).await.unwrap(), Vec::new());
}

/// The first value of a setting stays.
pub async fn settings(subject: &Subject) {
    let store = &subject.store;
    assert_eq!(store.setting_or("colour", "red".to_owned()).await.unwrap(), "red");
    assert_eq!(store.setting_or("colour", "blue".to_owned()).await.unwrap(), "red");
    assert_eq!(subject.another().await.installation(), store.installation());
    store.ping().await.unwrap();
}
