//! One try.

use std::{sync::Arc, time::Duration};

use reqwest::{StatusCode, header};

use super::{payload, target::TargetPolicy};
use crate::{
    domain::{CallbackKind, CallbackOutcome, CallbackTry, Clock, ProjectId, RunId, Timestamp},
    outgoing,
    store::Store,
    vault::ProjectKeys,
};

/// How long a receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends callbacks.
#[derive(Debug)]
pub(super) struct Sender {
    store: Store,
    keys: ProjectKeys,
    clock: Arc<dyn Clock>,
    policy: TargetPolicy,
    http: reqwest::Client,
}

impl Sender {
    pub(super) fn new(
        store: Store,
        keys: ProjectKeys,
        clock: Arc<dyn Clock>,
        policy: TargetPolicy,
    ) -> anyhow::Result<Self> {
        let http = http_client(&policy)?;
        Ok(Self { store, keys, clock, policy, http })
    }

    /// Tries once, and stores what came of it.
    pub(super) async fn try_once(&self, one: CallbackTry) {
        fail::fail_point!("callback_claimed", |_| std::process::abort());
        let outcome = match self.send(&one).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(run = %one.run, error = error.as_ref() as &dyn std::error::Error, "a callback cannot be made");
                CallbackOutcome::Failed { status: None, error: "the service could not make the request".to_owned() }
            }
        };
        fail::fail_point!("called_back", |_| std::process::abort());
        let now = self.clock.now();
        let next = one.next(now, rand::random());
        match &outcome {
            CallbackOutcome::Delivered { .. } => tracing::info!(run = %one.run, tries = one.number, "called back"),
            CallbackOutcome::Failed { error, .. } if next.is_some() => {
                tracing::info!(run = %one.run, tries = one.number, error, "the callback is tried again");
            }
            CallbackOutcome::Failed { error, .. } | CallbackOutcome::Refused { error, .. } => {
                tracing::warn!(run = %one.run, tries = one.number, error, "the callback is given up");
            }
        }
        // When this fails, the try is made again once its hold is over: twice is better than never.
        if let Err(error) = self.store.callback_tried(&one, outcome, next, now).await {
            tracing::error!(run = %one.run, error = &error as &dyn std::error::Error, "a callback's outcome could not be stored");
        }
    }

    async fn send(&self, one: &CallbackTry) -> anyhow::Result<CallbackOutcome> {
        let url = self.keys.open_callback_url(one.project, one.delivery_id, &one.url).await?;
        let url = match self.policy.check(&url) {
            Ok(url) => url,
            // It may have been allowed when it was given.
            Err(error) => return Ok(CallbackOutcome::Refused { status: None, error }),
        };
        let body = self.body(one.kind, one.project, one.run).await?;
        let mut request = self.http.post(url).header(header::CONTENT_TYPE, "application/json");
        if one.kind == CallbackKind::Signed {
            let key = self.keys.webhook_key(one.project).await?;
            request = signed(request, &key, one.delivery_id, self.clock.now(), &body);
        }
        Ok(match request.body(body).send().await {
            Ok(answer) => judge(answer.status()),
            Err(error) => CallbackOutcome::Failed { status: None, error: in_words(error) },
        })
    }

    async fn body(&self, kind: CallbackKind, project: ProjectId, run: RunId) -> anyhow::Result<Vec<u8>> {
        let (project, _) =
            self.store.project_by_id(project).await?.ok_or_else(|| anyhow::anyhow!("the project is gone"))?;
        let run = self.store.run(project.id, run).await?.ok_or_else(|| anyhow::anyhow!("the run is gone"))?;
        let body = match kind {
            CallbackKind::Signed => payload::signed(&project, &run),
            CallbackKind::Adf => payload::adf(&project, &run),
        };
        Ok(serde_json::to_vec(&body)?)
    }
}

/// A client that goes where the policy permits, and nowhere else.
pub(crate) fn http_client(policy: &TargetPolicy) -> reqwest::Result<reqwest::Client> {
    outgoing::client()
        .connect_timeout(Duration::from_secs(10))
        .timeout(TIMEOUT)
        .no_proxy()
        .dns_resolver(policy.clone())
        .pool_max_idle_per_host(2)
        .build()
}

/// The headers of a signed request, as the Standard Webhooks specification has them.
pub(crate) fn signed(
    request: reqwest::RequestBuilder,
    key: &ring::hmac::Key,
    delivery: uuid::Uuid,
    now: Timestamp,
    body: &[u8],
) -> reqwest::RequestBuilder {
    let seconds = now.as_micros().div_euclid(1_000_000);
    request
        .header("webhook-id", delivery.to_string())
        .header("webhook-timestamp", seconds.to_string())
        .header("webhook-signature", payload::signature(key, delivery, seconds, body))
}

/// Why there was no answer, without the address, which is secret.
pub(crate) fn in_words(error: reqwest::Error) -> String {
    crate::with_causes(&error.without_url()).chars().take(500).collect()
}

fn judge(status: StatusCode) -> CallbackOutcome {
    let number = status.as_u16();
    if status.is_success() {
        return CallbackOutcome::Delivered { status: number };
    }
    let error = format!("the receiver answered {status}");
    match status {
        StatusCode::GONE => CallbackOutcome::Refused { status: Some(number), error },
        _ if status.is_redirection() => {
            let error = format!("{error}: redirects are not followed, give the final address");
            CallbackOutcome::Failed { status: Some(number), error }
        }
        _ => CallbackOutcome::Failed { status: Some(number), error },
    }
}
