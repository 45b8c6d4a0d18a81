//! The first page.

use std::time::Duration;

use axum::extract::State;
use indexmap::IndexMap;

use super::{
    Answer, Visitor, Web,
    engines::engine_rows,
    notices,
    pages::{FailedRow, NoticeRow, OverviewPage, RunRow, Section, Totals, WaitingRow},
};
use crate::{
    api::{Api, Problem, extract::InProject},
    domain::{JobId, Phase, Run, RunState, Scope, Timestamp},
    store::RunFilter,
    web::{
        activity::HOURS,
        plots::{ActivityPlot, Hour},
        refusal::page,
    },
};

/// Runs in each list.
const SHOWN: u32 = 8;
/// Notices that are shown.
const NOTICES: usize = 5;
/// Failed runs that are looked at to show the jobs they are of.
const LOOKED_AT: u32 = 50;
/// Live runs are counted up to this.
const MOST: u32 = 10_000;

/// What happens now, and what went wrong lately.
pub(in crate::web) async fn show(State(web): State<Web>, visitor: Visitor) -> Answer {
    let (api, at) = (&web.api, &visitor.at);
    at.require_runs()?;
    let shell = visitor.live_shell(api, Section::Overview, "Overview");
    let now = shell.now;
    let filter = api.filter_of(at, None).await?;
    let hours = web.hours.last(&api.store, &filter, now).await?;
    let in_states = |states: &[RunState]| RunFilter { states: states.to_vec(), ..filter.clone() };
    let active = in_states(&[RunState::Starting, RunState::Running, RunState::Cancelling]);
    let active = api.store.runs(&active, None, SHOWN).await?;
    let queued = api.store.runs(&in_states(&[RunState::Queued]), None, SHOWN).await?;
    let day = Duration::from_secs(HOURS.unsigned_abs() * 3600);
    let failed = api.store.went_wrong(&filter, now.minus(day), LOOKED_AT).await?;
    let mut waiting = Vec::new();
    for run in &queued.runs {
        waiting.push(WaitingRow::of(run, api.waiting(run).await?, now));
    }
    let has_jobs = !api.store.jobs(at.project.id, true, None, 1).await?.jobs.is_empty();
    page(&OverviewPage {
        totals: totals(api, &filter, &hours).await?,
        notices: open_notices(api, at, now).await?,
        failed: by_job(&failed, now),
        active: active.runs.iter().map(|run| RunRow::of(run, now)).collect(),
        more_active: active.next.is_some(),
        queued: waiting,
        more_queued: queued.next.is_some(),
        activity: ActivityPlot::of(&hours, now),
        engines: engine_rows(api, at, now).await?,
        has_jobs,
        shell,
    })
}

/// Those that nobody has taken note of, for whoever may read them.
async fn open_notices(api: &Api, at: &InProject, now: Timestamp) -> Result<Vec<NoticeRow>, Problem> {
    if at.require(Scope::Read).is_err() {
        return Ok(Vec::new());
    }
    let open = notices::rows(api, at, true, None, LOOKED_AT, now).await?;
    Ok(open.into_iter().filter(|notice| notice.acknowledged.is_none()).take(NOTICES).collect())
}

/// One row for each job, with its latest failed run: one job that keeps failing does not hide the others.
fn by_job(latest_first: &[Run], now: Timestamp) -> Vec<FailedRow> {
    let mut jobs: IndexMap<JobId, FailedRow> = IndexMap::new();
    for run in latest_first {
        jobs.entry(run.job)
            .and_modify(|row| row.others += 1)
            .or_insert_with(|| FailedRow { run: RunRow::of(run, now), others: 0 });
    }
    jobs.into_values().take(SHOWN as usize).collect()
}

async fn totals(api: &Api, filter: &RunFilter, hours: &[Hour]) -> Result<Totals, Problem> {
    let sum = |of: fn(&Hour) -> u64| hours.iter().map(of).sum();
    let day = Hour {
        succeeded: sum(|hour| hour.succeeded),
        failed: sum(|hour| hour.failed),
        cancelled: sum(|hour| hour.cancelled),
        capped: hours.iter().any(|hour| hour.capped),
    };
    let starting = api.store.count_in(filter, Phase::Starting, MOST).await?;
    let running = api.store.count_in(filter, Phase::Running, MOST).await?;
    let queued = api.store.count_in(filter, Phase::Queued, MOST).await?;
    Ok(Totals { active: starting + running, queued, day, cap: u64::from(MOST) })
}
