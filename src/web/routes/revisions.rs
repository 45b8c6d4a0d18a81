//! What a job was, and what changed.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Answer, Visitor, Web,
    job::{head, job_ref},
    jobs::path_of,
    pages::{Change, RevisionRow, RevisionsPage, Section, Tab},
};
use crate::{
    api::{Api, Problem, extract::InProject},
    domain::{Job, JobSpec, Scope, pointer_step},
    web::{format::Ago, refusal::page},
};

/// Revisions on one page.
const REVISIONS: u32 = 20;
/// The most characters of a value that are shown.
const LONGEST: usize = 400;

/// Which revisions, and which of them to compare with the one before.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct RevisionsQuery {
    before: Option<u32>,
    new: Option<u32>,
}

/// The list, and what one of them changed: the newest on the page, when nothing else is asked for.
pub(in crate::web) async fn show(
    State(web): State<Web>,
    visitor: Visitor,
    Path(job): Path<String>,
    Query(query): Query<RevisionsQuery>,
) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require(Scope::Read)?;
    let (job, revision, _) = api.find_job(at, &job_ref(&job)?).await?;
    let shell = visitor.shell(api, Section::Jobs, job.name.as_str());
    let mut found = api.store.revisions(job.id, query.before, REVISIONS + 1).await?;
    let more = found.len() > REVISIONS as usize;
    found.truncate(REVISIONS as usize);
    let next = found.last().filter(|_| more);
    let next = next.map(|(last, _)| format!("{}/revisions?before={}", path_of(&job), last.number));
    let new = query.new.or_else(|| found.first().map(|(first, _)| first.number)).filter(|new| *new > 1);
    let difference = match new {
        None => None,
        Some(new) => Some((new - 1, new, difference(api, at, &job, new).await?)),
    };
    let revisions = found.into_iter().map(|(revision, _)| RevisionRow {
        number: revision.number,
        created: Ago::new(revision.created_at, shell.now),
        by: revision.created_by,
        image: revision.spec.image,
    });
    let revisions = revisions.collect();
    page(&RevisionsPage { head: head(&job, &revision, Some(Tab::Revisions)), revisions, next, difference, shell })
}

/// What a revision changed of the one before it.
async fn difference(api: &Api, at: &InProject, job: &Job, new: u32) -> Result<Vec<Change>, Problem> {
    let found = api.store.revisions(job.id, new.checked_add(1), 2).await?;
    let mut documents = Vec::new();
    for (revision, sealed) in found {
        let config = api.keys.open_config(at.project.id, job.id, revision.number, &sealed).await?;
        let spec: JobSpec = revision.spec.join(config.without_secrets());
        documents.push((revision.number, serde_json::to_value(spec).map_err(|error| Problem::internal(&error))?));
    }
    let mut changes = Vec::new();
    match documents.as_slice() {
        [(number, after), (_, before)] if *number == new => compare("", before, after, &mut changes),
        _ => return Err(Problem::not_found("revision")),
    }
    Ok(changes)
}

fn compare(pointer: &str, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (old, new) = (old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null));
            compare(&format!("{pointer}/{}", pointer_step(name)), old, new, changes);
        }
    } else if old != new {
        changes.push(Change { field: pointer.to_owned(), old: shown(old), new: shown(new) });
    }
}

fn shown(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        None => Some(text),
        Some((end, _)) => Some(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let (old, new) = (
            json!({"image": "a:1", "env": {"A": "1", "B": "2"}, "args": ["x"], "max_parallel": null}),
            json!({"image": "a:2", "env": {"A": "1", "C/D": "3"}, "args": ["x"], "max_parallel": 2}),
        );
        let mut changes = Vec::new();
        compare("", &old, &new, &mut changes);
        let told: Vec<_> = changes
            .iter()
            .map(|change| (change.field.as_str(), change.old.as_deref(), change.new.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("/env/B", Some("2"), None),
                ("/env/C~1D", None, Some("3")),
                ("/image", Some("a:1"), Some("a:2")),
                ("/max_parallel", None, Some("2")),
            ]
        );
    }
}
