//! Triggering runs.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ring::digest;
use uuid::Uuid;

use super::{
    Api, JobRef, Problem,
    extract::{Body, InProject, Part},
    resolve::ResolvedJob,
    spans::traceparent,
    types::RunView,
    views,
};
use crate::{
    callbacks::shown,
    domain::{CallbackKind, IfExists, Run, RunId, RunRequest, Scope, Timestamp},
    store::{NewCallback, NewRun, TriggerOutcome},
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// How often a trigger is tried anew when the job changes under it.
const TRIES: u32 = 5;

/// Triggers a run. With an `Idempotency-Key`, the same request again answers with the same run.
#[utoipa::path(post, path = "/jobs/{job}/runs", operation_id = "triggerRun", tag = "runs", request_body = RunRequest,
    params(("job" = String, Path, description = "Id or name"),
           ("Idempotency-Key" = Option<String>, Header, description = "At most 255 visible characters; kept as long as its run"),
           ("traceparent" = Option<String>, Header, description = "W3C Trace Context, for the script's TRACEPARENT")),
    responses((status = 202, body = RunView, description = "The run, new or known"),
              (status = 409, body = Problem, description = "Key reused, job full, disabled or archived"),
              (status = "default", body = Problem)))]
pub(crate) async fn trigger(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
    headers: HeaderMap,
    Body(request): Body<RunRequest>,
) -> Result<Response, Problem> {
    at.require(Scope::Trigger)?;
    views::checked(request.check())?;
    let key = idempotency_key(&headers)?;
    for _ in 0..TRIES {
        let resolved = api.find_job_fast(&at, &job).await?;
        let run = Run { traceparent: traceparent(&headers), ..api.new_run(&at, &resolved, &request) };
        let env = match request.env.is_empty() {
            true => None,
            false => Some(api.keys.seal_env(at.project.id, run.id, &request.env).await?),
        };
        let new = NewRun {
            callback: api.new_callback(&at, &request).await?,
            when_full: resolved.revision.spec.when_full,
            key: key.clone().map(|key| (key, fingerprint(&request), request.if_exists)),
            repeats: false,
            run,
            env,
        };
        if !resolved.revision.spec.enabled {
            // Perhaps it has been enabled since it was read.
            let (now, revision, _) = api.find_job(&at, &job).await?;
            if now.revision == resolved.job.revision && !revision.spec.enabled {
                return Err(Problem::conflict("job_disabled", "the job is disabled: set 'enabled' to true"));
            }
            api.forget_job(&at, &job);
            continue;
        }
        match api.store.trigger(new).await? {
            TriggerOutcome::Stale | TriggerOutcome::Gone => api.forget_job(&at, &job),
            outcome => {
                let called_back = request.callback_url.is_some() || request.call_back_uri.is_some();
                return api.answer(&at, outcome, called_back, &headers).await;
            }
        }
    }
    let (job, ..) = api.find_job(&at, &job).await?;
    if job.archived_at.is_some() {
        return Err(Problem::conflict("job_archived", "the job is archived: register it anew"));
    }
    Err(Problem::conflict("job_changing", "the job is being changed at the same time: try again"))
}

/// Makes a new run with the parameters, environment and revision of an earlier one that has ended.
#[utoipa::path(post, path = "/runs/{run}/retry", operation_id = "retryRun", tag = "runs",
    params(("run" = RunId, Path)),
    responses((status = 202, body = RunView), (status = 409, body = Problem), (status = "default", body = Problem)))]
pub(crate) async fn retry(
    State(api): State<Api>,
    at: InProject,
    Part(run): Part<RunId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    at.require(Scope::Trigger)?;
    let earlier = &api.find_run(&at, run).await?.run;
    if !earlier.life.phase.is_terminal() {
        return Err(Problem::conflict("run_active", "the run has not ended: cancel it first, or wait"));
    }
    let key = idempotency_key(&headers)?;
    let (_, present, _) = api.find_job(&at, &JobRef::Id(earlier.job)).await?;
    let now = api.clock.now();
    let (name, engine, by) = (earlier.job_name.clone(), earlier.engine.clone(), at.caller.name().to_owned());
    let run = Run {
        parameters: earlier.parameters.clone(),
        labels: earlier.labels.clone(),
        source: earlier.source.clone(),
        traceparent: traceparent(&headers),
        retry_of: Some(earlier.id),
        priority: earlier.priority,
        timeout_seconds: earlier.timeout_seconds,
        queue_deadline: queue_deadline(present.spec.queue_timeout_seconds, now),
        abandon_after_seconds: earlier.abandon_after_seconds,
        ..Run::fresh(at.project.id, earlier.job, name, earlier.revision, engine, by, now)
    };
    let env = match api.store.run_env(earlier.id).await? {
        None => None,
        Some(sealed) => {
            let env: serde_json::Value = api.keys.open_env(at.project.id, earlier.id, &sealed).await?;
            Some(api.keys.seal_env(at.project.id, run.id, &env).await?)
        }
    };
    let fingerprint = digest::digest(&digest::SHA256, earlier.id.0.as_bytes()).as_ref().to_vec();
    let key = key.map(|key| (key, fingerprint, IfExists::Return));
    let new = NewRun { run, env, when_full: present.spec.when_full, key, callback: None, repeats: true };
    match api.store.trigger(new).await? {
        TriggerOutcome::Gone | TriggerOutcome::Stale => {
            Err(Problem::conflict("job_archived", "the job is archived: register it anew"))
        }
        outcome => api.answer(&at, outcome, false, &headers).await,
    }
}

impl Api {
    fn new_run(&self, at: &InProject, resolved: &ResolvedJob, request: &RunRequest) -> Run {
        let (job, spec) = (&resolved.job, &resolved.revision.spec);
        let now = self.clock.now();
        let run = Run::of_job(job, spec, self.runner.engines().default_name(), at.caller.name().to_owned(), now);
        let mut labels = run.labels.clone();
        labels.extend(request.labels.clone());
        Run {
            parameters: serde_json::to_string(&request.parameters).unwrap_or_else(|_| "{}".to_owned()),
            labels,
            source: request.source.clone(),
            priority: request.priority,
            not_before: request.not_before,
            timeout_seconds: request.timeout_seconds.unwrap_or(run.timeout_seconds),
            queue_deadline: queue_deadline(spec.queue_timeout_seconds, request.not_before.unwrap_or(now).max(now)),
            abandon_after_seconds: request.abandon_after_seconds,
            ..run
        }
    }

    /// Carries out what was stored, and tells the caller.
    async fn answer(
        &self,
        at: &InProject,
        outcome: TriggerOutcome,
        called_back: bool,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let (run, replayed) = match outcome {
            TriggerOutcome::Created { run, admitted, stopped } => {
                self.runner.metrics().triggered(false);
                self.runner.hub().publish((*run).clone());
                self.runner.launch(admitted);
                self.runner.stopped(&stopped);
                if run.not_before.is_some() {
                    self.runner.queue_changed();
                }
                (*run, false)
            }
            TriggerOutcome::Existing(run) => {
                // It may have ended already: then whoever delivers callbacks must hear of it once more.
                if called_back {
                    self.runner.hub().publish((*run).clone());
                }
                (*run, true)
            }
            TriggerOutcome::KeyReused(earlier) => {
                let detail = format!(
                    "this Idempotency-Key was used for another request, which made run {earlier}: use a new key"
                );
                return Err(Problem::conflict("idempotency_key_reused", detail));
            }
            TriggerOutcome::Full(holders) => {
                let holders: Vec<_> = holders.iter().map(ToString::to_string).collect();
                let detail = format!(
                    "the job runs as often as max_parallel allows (when_full = reject): {}",
                    holders.join(", ")
                );
                return Err(Problem::conflict("job_full", detail));
            }
            TriggerOutcome::Stale | TriggerOutcome::Gone => return Err(Problem::not_found("job")),
        };
        if run.abandon_after_seconds.is_some() {
            self.runner.renew_lease(run.id);
        }
        let waiting = self.waiting(&run).await?;
        let view = views::run(&at.project.name, &run, waiting, self.clock.now());
        let location = match called_back {
            true => None,
            false => HeaderValue::try_from(self.await_link(run.project, run.id, headers).await?).ok(),
        };
        let mut response = (StatusCode::ACCEPTED, Json(view)).into_response();
        let to = response.headers_mut();
        // Who is called back must not follow a link besides: Data Factory would.
        if let Some(location) = location {
            to.insert(header::LOCATION, location);
        }
        to.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        to.insert(REPLAYED, HeaderValue::from_static(if replayed { "true" } else { "false" }));
        Ok(response)
    }

    /// The callback that a request asks for, its address checked and sealed.
    async fn new_callback(&self, at: &InProject, request: &RunRequest) -> Result<Option<NewCallback>, Problem> {
        let (kind, pointer, text) = match (&request.callback_url, &request.call_back_uri) {
            (Some(text), _) => (CallbackKind::Signed, "/callback_url", text),
            (None, Some(text)) => (CallbackKind::Adf, "/callBackUri", text),
            (None, None) => return Ok(None),
        };
        let url = self.callback_targets.check(text).map_err(|error| Problem::invalid_field(pointer, error))?;
        let delivery = Uuid::now_v7();
        let sealed = self.keys.seal_callback_url(at.project.id, delivery, url.as_str()).await?;
        Ok(Some(NewCallback { delivery, kind, url: sealed, target: shown(&url) }))
    }

    /// How the caller reaches the service: `https://host`.
    pub(crate) fn origin(&self, headers: &HeaderMap) -> String {
        if let Some(url) = &self.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let scheme = text(HeaderName::from_static("x-forwarded-proto")).filter(|scheme| *scheme == "https");
        format!("{}://{}", scheme.unwrap_or("http"), text(header::HOST).unwrap_or("localhost"))
    }
}

fn queue_deadline(seconds: Option<u32>, from: Timestamp) -> Option<Timestamp> {
    seconds.map(|seconds| from.plus(std::time::Duration::from_secs(u64::from(seconds))))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    let key = key.ok_or_else(|| Problem::malformed("Idempotency-Key has 1 to 255 visible ASCII characters"))?;
    Ok(Some(key.to_owned()))
}

/// What makes two requests the same: all that they ask for, whatever should happen when the run exists, and whoever is
/// told its end: Data Factory makes up another address each time.
fn fingerprint(request: &RunRequest) -> Vec<u8> {
    let asked =
        RunRequest { if_exists: IfExists::default(), callback_url: None, call_back_uri: None, ..request.clone() };
    let text = serde_json::to_vec(&asked).unwrap_or_default();
    digest::digest(&digest::SHA256, &text).as_ref().to_vec()
}
