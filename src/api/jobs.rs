//! Jobs: register, apply, read, patch, archive.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    Api, JobRef, Problem,
    extract::{Body, InProject, Part, Query, parse},
    types::{JobView, Page},
    views,
};
use crate::{
    domain::{Job, JobConfig, JobId, JobSpec, Name, Problems, Revision, Scope, SecretDelivery},
    store::{Applied, NewRevision},
};

/// How often an apply is tried anew when others change the same job.
const TRIES: u32 = 5;

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Archived jobs too.
    #[serde(default)]
    archived: bool,
    /// How many, 1 to 500; 50 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// How to apply.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ApplyQuery {
    /// Check everything and change nothing. The answer is what would hold then; the id of a job that is not there yet
    /// means nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Whether a change is made, or only checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Really,
    DryRun,
}

/// The project's jobs by name.
#[utoipa::path(get, path = "/jobs", operation_id = "listJobs", tag = "jobs", params(ListQuery),
    responses((status = 200, body = Page<JobView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<JobView>>, Problem> {
    at.require_runs()?;
    let limit = views::page_size(query.limit)?;
    let after = match query.cursor.as_deref() {
        None => None,
        Some(cursor) => {
            let (name, id) = cursor.split_once('.').unwrap_or_default();
            views::cursor::<Name>(Some(name))?.zip(views::cursor::<JobId>(Some(id))?)
        }
    };
    let page = api.store.jobs(at.project.id, query.archived, after, limit).await?;
    // Lists leave the configuration out: opening every job's would cost much and is rarely looked at.
    let items = page.jobs.iter().filter(|(job, _)| at.caller.reaches(job.id));
    let items = items.map(|(job, revision)| views::job(&at.project, job, revision, JobConfig::default())).collect();
    let next_cursor = page.next.map(|(name, id)| format!("{name}.{id}"));
    Ok(Json(Page { items, next_cursor }))
}

/// Registers a job. Its name must be free.
#[utoipa::path(post, path = "/jobs", operation_id = "createJob", tag = "jobs", request_body = JobSpec, responses(
    (status = 201, body = JobView), (status = 409, body = Problem), (status = "default", body = Problem)))]
pub(super) async fn create(
    State(api): State<Api>,
    at: InProject,
    Body(spec): Body<JobSpec>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    let (view, _) = api.register(&at, spec, How::Really).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// Applies a whole specification: registers the job, or makes a new revision if anything differs. Doing it twice
/// changes nothing.
#[utoipa::path(put, path = "/jobs/{job}", operation_id = "applyJob", tag = "jobs", request_body = JobSpec,
    params(("job" = String, Path, description = "Id or name"), ApplyQuery), responses(
    (status = 200, body = JobView), (status = 201, body = JobView), (status = "default", body = Problem)))]
pub(super) async fn apply(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
    Query(query): Query<ApplyQuery>,
    Body(spec): Body<JobSpec>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    at.require(Scope::Write)?;
    let how = if query.dry_run { How::DryRun } else { How::Really };
    if let JobRef::Name(name) = &job
        && *name != spec.name
    {
        let detail = format!("the address says {name}: write the same name, or use the job's id to rename it");
        return Err(Problem::invalid_field("/name", detail));
    }
    let existing = match api.find_job(&at, &job).await {
        Err(problem) if problem.status == 404 && matches!(job, JobRef::Name(_)) => None,
        found => Some(found?),
    };
    match existing {
        None => {
            at.require_whole_project()?;
            let (view, _) = api.register(&at, spec, how).await?;
            Ok((if query.dry_run { StatusCode::OK } else { StatusCode::CREATED }, Json(view)))
        }
        Some(_) => api.change(&at, &job, how, |_| Ok(spec.clone())).await.map(|view| (StatusCode::OK, Json(view))),
    }
}

/// A job with its present revision.
#[utoipa::path(get, path = "/jobs/{job}", operation_id = "readJob", tag = "jobs",
    params(("job" = String, Path, description = "Id or name")), responses(
    (status = 200, body = JobView), (status = "default", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
) -> Result<Json<JobView>, Problem> {
    at.require_runs()?;
    let (job, revision, sealed) = api.find_job(&at, &job).await?;
    let config = api.keys.open_config(at.project.id, job.id, revision.number, &sealed).await?;
    Ok(Json(views::job(&at.project, &job, &revision, config)))
}

/// Changes some fields (JSON Merge Patch, RFC 7396): null removes a field.
#[utoipa::path(patch, path = "/jobs/{job}", operation_id = "patchJob", tag = "jobs", request_body = Object,
    params(("job" = String, Path, description = "Id or name")), responses(
    (status = 200, body = JobView), (status = "default", body = Problem)))]
pub(super) async fn patch(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
    Body(patch): Body<serde_json::Map<String, Value>>,
) -> Result<Json<JobView>, Problem> {
    at.require(Scope::Write)?;
    let patch = Value::Object(patch);
    let change = |current: JobSpec| {
        let mut document = serde_json::to_value(current).map_err(|error| Problem::internal(&error))?;
        merge(&mut document, &patch);
        parse(document.to_string().as_bytes())
    };
    api.change(&at, &job, How::Really, change).await.map(Json)
}

/// Archives a job: it starts no more runs, what waits in its queue is cancelled, its history stays, its name is free.
#[utoipa::path(delete, path = "/jobs/{job}", operation_id = "archiveJob", tag = "jobs",
    params(("job" = String, Path, description = "Id or name")), responses(
    (status = 204, description = "Archived"), (status = "default", body = Problem)))]
pub(super) async fn archive(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
) -> Result<StatusCode, Problem> {
    at.require(Scope::Write)?;
    let (found, ..) = api.find_job(&at, &job).await?;
    let now = api.clock.now();
    let stopped = api.store.archive(at.project.id, found.id, at.caller.name(), now).await?;
    api.runner.stopped(&stopped.ok_or_else(|| Problem::not_found("job"))?);
    api.forget_job(&at, &job);
    api.audit(&at, "job.archive", &found.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Api {
    /// Registers a job's first revision.
    async fn register(&self, at: &InProject, spec: JobSpec, how: How) -> Result<(JobView, Job), Problem> {
        self.check_spec(at, &spec)?;
        let spec = self.pinned(at, spec).await?;
        self.store_revision(at, JobId::generate(), 1, spec, how).await?.ok_or_else(name_taken)
    }

    /// Makes a new revision of what `change` makes of the present one; none if nothing differs.
    pub(super) async fn change(
        &self,
        at: &InProject,
        job: &JobRef,
        how: How,
        change: impl Fn(JobSpec) -> Result<JobSpec, Problem>,
    ) -> Result<JobView, Problem> {
        // The name may be what is changed: hold on to the job itself.
        let (found, ..) = self.find_job(at, job).await?;
        for _ in 0..TRIES {
            let (job_now, revision, sealed) = self.find_job(at, &JobRef::Id(found.id)).await?;
            if job_now.archived_at.is_some() {
                return Err(Problem::conflict("job_archived", "the job is archived: register it anew"));
            }
            let config = self.keys.open_config(at.project.id, found.id, revision.number, &sealed).await?;
            let shown = revision.spec.clone().join(config.clone().without_secrets());
            let spec = change(shown)?;
            self.check_spec(at, &spec)?;
            let spec = self.pinned(at, spec).await?;
            let (bare, mut wanted) = spec.split();
            wanted.keep_values_of(&config);
            if bare == revision.spec && wanted == config {
                return Ok(views::job(&at.project, &job_now, &revision, config));
            }
            let next = self.store_revision(at, found.id, revision.number + 1, bare.join(wanted), how).await?;
            self.forget_job(at, job);
            self.forget_job(at, &JobRef::Id(found.id));
            if let Some((view, _)) = next {
                return Ok(view);
            }
        }
        Err(Problem::conflict("job_changing", "the job is being changed by others at the same time: try again"))
    }

    /// Stores a checked revision; `None` when another was stored meanwhile.
    async fn store_revision(
        &self,
        at: &InProject,
        job: JobId,
        number: u32,
        spec: JobSpec,
        how: How,
    ) -> Result<Option<(JobView, Job)>, Problem> {
        let (spec, config) = spec.split();
        views::checked(match config.check_complete() {
            missing if missing.is_empty() => Ok(()),
            missing => Err(missing),
        })?;
        self.check_named_secrets(at, &config).await?;
        let sealed = self.keys.seal_config(at.project.id, job, number, &config).await?;
        let now = self.clock.now();
        let by = at.caller.name().to_owned();
        let new = NewRevision { project: at.project.id, job, number, spec, config: sealed, by: by.clone(), now };
        let spec = new.spec.clone();
        let applied = match how {
            How::Really => self.store.apply(new).await?,
            How::DryRun => self.store.would_apply(&new).await?,
        };
        match applied {
            Applied::Done(job) => {
                if how == How::Really {
                    self.runner.job_changed();
                    self.audit(at, "job.apply", &format!("{} revision {number}", job.name)).await?;
                }
                let revision = Revision { job: job.id, number, spec, created_at: now, created_by: by };
                Ok(Some((views::job(&at.project, &job, &revision, config), job)))
            }
            Applied::Stale => Ok(None),
            Applied::NameTaken => Err(name_taken()),
            Applied::BadLimits(bad) => {
                let mut problems = Problems::default();
                for (index, capacity) in bad {
                    let name = &spec.limits[index].name;
                    match capacity {
                        None => problems.add(
                            format!("/limits/{index}/name"),
                            format!("there is no limit {name}: make it first with PUT /api/v1/limits/{name}"),
                        ),
                        Some(capacity) => problems.add(
                            format!("/limits/{index}/weight"),
                            format!(
                                "the limit {name} has a capacity of {capacity} only: such a run would wait for ever"
                            ),
                        ),
                    }
                }
                problems.into_result().map_err(Problem::invalid)?;
                Ok(None)
            }
        }
    }

    /// Everything that can be wrong with a specification in this project and on its engine.
    fn check_spec(&self, at: &InProject, spec: &JobSpec) -> Result<(), Problem> {
        views::checked(spec.check())?;
        let mut problems = Problems::default();
        let p = &mut problems;
        let allowed: Vec<_> = at.project.images.iter().map(ToString::to_string).collect();
        let detail = format!(
            "the project does not allow this image, only {}: use one of those, or let an admin add it (haulier project \
             images {})",
            allowed.join(", "),
            at.project.name
        );
        p.require(at.project.allows(&spec.image), "/image", detail);
        let engines = self.runner.engines();
        let name = spec.engine.as_ref().map_or(engines.default_name(), |name| name.as_str());
        match engines.get(name) {
            None => {
                let known: Vec<_> = engines.iter().map(|(name, _)| name).collect();
                p.add("/engine", format!("there is no engine {name}: there are {}", known.join(", ")));
            }
            Some(entry) => {
                let can = entry.capabilities();
                let resources = &spec.resources;
                let cannot = |what: &str| {
                    format!(
                        "the engine {name} cannot {what} (haulier engine list says what it lacks): leave this out, or \
                         choose another engine"
                    )
                };
                let fits = |asked: bool, able: bool| !asked || able;
                p.require(
                    fits(resources.memory_mb.is_some(), can.memory_limit),
                    "/resources/memory_mb",
                    cannot("limit memory"),
                );
                p.require(fits(resources.cpu.is_some(), can.cpu_limit), "/resources/cpu", cannot("limit processors"));
                p.require(fits(resources.pids.is_some(), can.pids_limit), "/resources/pids", cannot("limit processes"));
                p.require(fits(!spec.files.is_empty(), can.files), "/files", cannot("place files"));
                let as_files = spec.secrets.values().any(|secret| secret.delivery == SecretDelivery::File);
                p.require(fits(as_files, can.secret_files), "/secrets", cannot("give secrets as files"));
            }
        }
        problems.into_result().map_err(Problem::invalid)
    }

    async fn check_named_secrets(&self, at: &InProject, config: &JobConfig) -> Result<(), Problem> {
        let mut problems = Problems::default();
        for (name, secret) in &config.secrets {
            if let Some(from) = &secret.from
                && self.store.secret(at.project.id, from).await?.is_none()
            {
                let detail = format!("the project has no secret {from}: set it first with PUT /api/v1/secrets/{from}");
                problems.add(format!("/secrets/{name}/from"), detail);
            }
        }
        if let Some(name) = config.secrets.keys().find(|name| config.env.contains_key(*name)) {
            problems.add(format!("/secrets/{name}"), "stands in env too: choose one");
        }
        problems.into_result().map_err(Problem::invalid)
    }

    /// Keeps who changed what.
    pub(super) async fn audit(&self, at: &InProject, action: &'static str, target: &str) -> Result<(), Problem> {
        Ok(self.store.audit(Some(at.project.id), at.caller.name(), action, target, self.clock.now()).await?)
    }
}

fn name_taken() -> Problem {
    Problem::conflict("name_taken", "another job of the project has this name: choose another, or apply with PUT")
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(fields) = target {
        for (name, value) in patch {
            if value.is_null() {
                fields.remove(name);
            } else {
                merge(fields.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merges_like_the_rfc_says() {
        let mut document = json!({"a": "b", "c": {"d": "e", "f": "g"}});
        merge(&mut document, &json!({"a": "z", "c": {"f": null, "h": {"i": null, "j": 1}}}));
        assert_eq!(document, json!({"a": "z", "c": {"d": "e", "h": {"j": 1}}}));
    }
}
