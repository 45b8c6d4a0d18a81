//! When a job starts by itself. What the schedule says is part of the job's specification.

use axum::{Json, extract::State};

use super::{
    Api, JobRef, Problem,
    extract::{InProject, Part},
    types::ScheduleView,
};

/// How many times ahead are told.
const AHEAD: usize = 5;

/// When a job starts by itself next, and what came of the last time.
#[utoipa::path(get, path = "/jobs/{job}/schedule", operation_id = "readSchedule", tag = "jobs",
    params(("job" = String, Path, description = "Id or name")),
    responses((status = 200, body = ScheduleView), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(api): State<Api>,
    at: InProject,
    Part(job): Part<JobRef>,
) -> Result<Json<ScheduleView>, Problem> {
    at.require_runs()?;
    let (job, revision, _) = api.find_job(&at, &job).await?;
    let spec = revision.spec.schedule;
    let state = api.store.schedule(job.id).await?;
    let first = state.as_ref().and_then(|state| state.next_time);
    let schedule = spec.as_ref().and_then(|spec| spec.of_job(job.id));
    let next = first.zip(schedule).map_or_else(Vec::new, |(first, schedule)| {
        std::iter::once(first).chain(schedule.upcoming(first)).take(AHEAD).collect()
    });
    let (last_time, last_run, last_problem) =
        state.map_or((None, None, None), |state| (state.last_time, state.last_run, state.last_problem));
    Ok(Json(ScheduleView { schedule: spec, next, last_time, last_run, last_problem }))
}
