//! What receivers are told.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

use crate::domain::{Name, Project, Run, RunError, RunId, RunState, Timestamp};

/// An ended run, as its receiver sees it.
#[derive(Debug, Serialize)]
struct EndedRun<'r> {
    id: RunId,
    project: &'r Name,
    job: &'r Name,
    state: RunState,
    exit_code: Option<i32>,
    error: Option<&'r RunError>,
    output: Value,
    metrics: &'r BTreeMap<String, f64>,
    labels: &'r indexmap::IndexMap<String, String>,
    source: &'r indexmap::IndexMap<String, String>,
    attempt: u32,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

impl<'r> EndedRun<'r> {
    fn new(project: &'r Project, run: &'r Run) -> Self {
        Self {
            id: run.id,
            project: &project.name,
            job: &run.job_name,
            state: run.life.state(),
            exit_code: run.exit_code,
            error: run.error.as_ref(),
            output: run.output.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null),
            metrics: &run.metrics,
            labels: &run.labels,
            source: &run.source,
            attempt: run.life.attempt,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

/// Haulier's own form.
pub(super) fn signed(project: &Project, run: &Run) -> Value {
    json!({"type": "run.finished", "timestamp": run.finished_at, "data": EndedRun::new(project, run)})
}

/// What Data Factory's WebHook activity reads with `reportStatusOnCallBack` (control-flow-webhook-activity in its
/// documentation): `Output` for the pipeline, `Error` only for a failure, and a status of 400 or more for one.
pub(super) fn adf(project: &Project, run: &Run) -> Value {
    let ended = EndedRun::new(project, run);
    match ended.error {
        None => json!({"Output": ended, "StatusCode": "200"}),
        Some(error) => json!({
            "Error": {"ErrorCode": error.code, "Message": format!("{} (run {})", error.message, run.id)},
            "Output": ended,
            "StatusCode": "500",
        }),
    }
}

/// The value of `webhook-signature`: HMAC-SHA256 over delivery id, time and body, as the Standard Webhooks
/// specification writes it.
pub(super) fn signature(key: &hmac::Key, delivery: Uuid, seconds: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{delivery}.{seconds}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed apart: the three parts joined by dots, through `openssl dgst -sha256 -hmac 0123456789abcdef`.
    #[test]
    fn signatures_are_hmac_over_id_time_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let delivery = Uuid::parse_str("018bcfe5-6800-7000-8000-000000000000").unwrap();
        assert_eq!(signature(&key, delivery, 1_700_000_000, b"{}"), "v1,qr0bIaaQYg+m47fisjLR4PpgC50QGyCZoapNvaLWXJ8=");
    }
}
