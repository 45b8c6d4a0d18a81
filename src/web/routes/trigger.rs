//! Triggering a run by hand: a field for each parameter that the last run had, and room for more.

use axum::{
    body::to_bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{
    Answer, Visitor, Web,
    forms::{Fields, Posted},
    job::{head, job_ref},
    pages::{Field, FieldKind, Section, TriggerPage},
};
use crate::{
    api::{
        Api, Problem,
        extract::{Body, Part},
        trigger,
        types::RunView,
    },
    domain::{Job, Revision, RunId, RunRequest, Scope},
    store::RunFilter,
    web::refusal::page,
};

/// The most fields; what is beyond is given as JSON.
const MOST_FIELDS: usize = 30;
/// The largest answer of the API, in bytes.
const LARGEST_ANSWER: usize = 4 << 20;

/// The form, filled with what the last run was triggered with.
pub(in crate::web) async fn form(State(web): State<Web>, visitor: Visitor, Path(job): Path<String>) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require(Scope::Trigger)?;
    let (job, revision, _) = api.find_job(at, &job_ref(&job)?).await?;
    let filter = RunFilter { project: Some(at.project.id), jobs: vec![job.id], ..RunFilter::default() };
    let last = api.store.runs(&filter, None, 1).await?.runs.pop();
    let parameters: Map<String, Value> =
        last.and_then(|run| serde_json::from_str(&run.parameters).ok()).unwrap_or_default();
    let shown = parameters.iter().take(MOST_FIELDS).map(|(name, value)| field(name, value)).collect();
    let more: Map<_, _> =
        parameters.iter().skip(MOST_FIELDS).map(|(name, value)| (name.clone(), value.clone())).collect();
    let more = serde_json::to_string_pretty(&more).unwrap_or_default();
    page(&form_page(api, &visitor, (&job, &revision), shown, more, Vec::new(), RunId::generate().to_string()))
}

fn form_page(
    api: &Api,
    visitor: &Visitor,
    (job, revision): (&Job, &Revision),
    fields: Vec<Field>,
    more: String,
    errors: Vec<String>,
    key: String,
) -> TriggerPage {
    TriggerPage {
        shell: visitor.shell(api, Section::Jobs, job.name.as_str()),
        head: head(job, revision, None),
        fields,
        more,
        errors,
        timeout_seconds: revision.spec.timeout_seconds,
        key,
    }
}

fn field(name: &str, value: &Value) -> Field {
    let (kind, value) = match value {
        Value::String(text) if !text.contains('\n') => (FieldKind::Text, text.clone()),
        Value::Number(number) => (FieldKind::Number, number.to_string()),
        Value::Bool(yes) => (FieldKind::Switch, yes.to_string()),
        other => (FieldKind::Json, other.to_string()),
    };
    Field { name: name.to_owned(), kind, value }
}

/// Triggers a run as the API does. The form names the request, so that sending it twice makes one run.
pub(in crate::web) async fn trigger(State(web): State<Web>, Path(job): Path<String>, posted: Posted) -> Answer {
    let (api, Posted { visitor, fields }) = (&web.api, posted);
    let at = &visitor.at;
    at.require(Scope::Trigger)?;
    let reference = job_ref(&job)?;
    let (job, revision, _) = api.find_job(at, &reference).await?;
    let key = fields.text("key").to_owned();
    let answer = match request(&fields) {
        Err(problem) => Err(problem),
        Ok(request) => {
            let mut headers = HeaderMap::new();
            if let Ok(key) = HeaderValue::from_str(&key) {
                headers.insert("idempotency-key", key);
            }
            trigger::trigger(State(api.clone()), at.clone(), Part(reference), headers, Body(request)).await
        }
    };
    match answer {
        Ok(response) => Ok(Redirect::to(&format!("/runs/{}", run_of(response).await?)).into_response()),
        Err(problem) if problem.status < 500 => {
            let mut errors: Vec<_> =
                problem.errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
            if errors.is_empty() {
                errors.push(problem.detail);
            }
            let more = fields.text("more").to_owned();
            let mut response = page(&form_page(
                api,
                &visitor,
                (&job, &revision),
                sent(&fields),
                more,
                errors,
                RunId::generate().to_string(),
            ))?;
            *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            Ok(response)
        }
        Err(problem) => Err(problem.into()),
    }
}

/// The run that the API answered with.
pub(super) async fn run_of(answer: Response) -> Result<RunId, Problem> {
    let body = to_bytes(answer.into_body(), LARGEST_ANSWER).await.map_err(|error| Problem::internal(&error))?;
    let run: RunView = serde_json::from_slice(&body).map_err(|error| Problem::internal(&error))?;
    Ok(run.id)
}

/// The form's fields as they were sent.
fn sent(fields: &Fields) -> Vec<Field> {
    let values: IndexMap<_, _> = fields.beginning("value.").collect();
    let field = |(name, kind): (&str, &str)| {
        let value = values.get(name).copied().unwrap_or_default().to_owned();
        Some(Field { name: name.to_owned(), kind: FieldKind::parse(kind)?, value })
    };
    fields.beginning("kind.").filter_map(field).take(MOST_FIELDS).collect()
}

fn request(fields: &Fields) -> Result<RunRequest, Problem> {
    let invalid = |name: &str, detail: &str| Problem::invalid_field(format!("/parameters/{name}"), detail);
    let mut parameters = match fields.text("more") {
        "" => Map::new(),
        text => serde_json::from_str(text)
            .map_err(|error| Problem::invalid_field("/parameters", format!("not a JSON object: {error}")))?,
    };
    for field in sent(fields) {
        let name = &field.name;
        let value = match field.kind {
            FieldKind::Text => Value::String(field.value),
            FieldKind::Switch => Value::Bool(field.value == "true"),
            // An empty field is one that is not given.
            FieldKind::Number | FieldKind::Json if field.value.trim().is_empty() => continue,
            FieldKind::Number => serde_json::from_str(field.value.trim())
                .ok()
                .filter(Value::is_number)
                .ok_or_else(|| invalid(name, "not a number"))?,
            FieldKind::Json => {
                serde_json::from_str(&field.value).map_err(|error| invalid(name, &format!("not JSON: {error}")))?
            }
        };
        parameters.insert(field.name, value);
    }
    Ok(RunRequest {
        parameters,
        timeout_seconds: fields.number("timeout_seconds")?,
        priority: fields.number("priority")?.unwrap_or_default(),
        source: IndexMap::from([("kind".to_owned(), "dashboard".to_owned())]),
        ..RunRequest::default()
    })
}
