//! Listing runs: filters and a keyset cursor, the newest first.

use super::{
    Session, Store, StoreError,
    runs::{run_columns, run_from},
    session::Value,
};
use crate::domain::{JobId, Phase, ProjectId, Run, RunId, RunState, Timestamp};

/// Which runs are meant. What is left out does not matter.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of this project.
    pub project: Option<ProjectId>,
    /// Of these jobs; empty = all.
    pub jobs: Vec<JobId>,
    /// In one of these states; empty = all.
    pub states: Vec<RunState>,
    /// With all of these labels.
    pub labels: Vec<(String, String)>,
    /// With all of these in their source.
    pub source: Vec<(String, String)>,
    /// Triggered at or after.
    pub since: Option<Timestamp>,
    /// Triggered before.
    pub until: Option<Timestamp>,
    /// Live ones alone that nobody asked to end yet.
    pub unstopped: bool,
}

/// A page of runs.
#[derive(Debug)]
pub struct RunPage {
    /// The runs, the newest first.
    pub runs: Vec<Run>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<RunId>,
}

impl Store {
    /// Runs that match, the newest first, those made before `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn runs(&self, filter: &RunFilter, before: Option<RunId>, limit: u32) -> Result<RunPage, StoreError> {
        let mut session = self.read().await?;
        let mut runs = select(&mut session, filter, before, limit + 1).await?;
        let more = runs.len() > limit as usize;
        runs.truncate(limit as usize);
        let next = more.then(|| runs.last().map(|run| run.id)).flatten();
        Ok(RunPage { runs, next })
    }
}

pub(super) async fn select(
    session: &mut Session,
    filter: &RunFilter,
    before: Option<RunId>,
    limit: u32,
) -> Result<Vec<Run>, StoreError> {
    // Each phase has its range of an index, in the order of ids. Several phases in one statement would be sorted, or
    // looked for along the whole history.
    let ranges = ranges(filter);
    let mut runs = Vec::new();
    for range in &ranges {
        let (sql, values) = statement(filter, *range, before, limit);
        for row in session.all_built(sql, values).await? {
            runs.push(run_from(&row)?);
        }
    }
    if ranges.len() > 1 {
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        runs.truncate(limit as usize);
    }
    Ok(runs)
}

/// A phase, and whether the run is to have been asked to end, if that matters.
type Range = (Phase, Option<bool>);

/// The phases that are meant; `None` = all of them.
fn ranges(filter: &RunFilter) -> Vec<Option<Range>> {
    if filter.states.is_empty() {
        return vec![None];
    }
    let mut ranges = Vec::new();
    for range in filter.states.iter().flat_map(|state| ranges_of(*state)) {
        if !ranges.contains(&Some(*range)) {
            ranges.push(Some(*range));
        }
    }
    ranges
}

/// The inverse of `RunState::of`. A run that waits and is asked to end has ended.
const fn ranges_of(state: RunState) -> &'static [Range] {
    match state {
        RunState::Queued => &[(Phase::Queued, Some(false))],
        RunState::Starting => &[(Phase::Starting, Some(false))],
        RunState::Running => &[(Phase::Running, Some(false))],
        RunState::Cancelling => &[(Phase::Starting, Some(true)), (Phase::Running, Some(true))],
        RunState::Succeeded => &[(Phase::Succeeded, None)],
        RunState::Failed => &[(Phase::Failed, None)],
        RunState::Cancelled => &[(Phase::Cancelled, None)],
        RunState::TimedOut => &[(Phase::TimedOut, None)],
    }
}

/// Of which project and jobs, as a condition and its values.
pub(super) fn bounds(filter: &RunFilter) -> (String, Vec<Value>) {
    let (mut sql, mut all) = ("TRUE".to_owned(), Vec::new());
    bind_bounds(filter, &mut sql, &mut all);
    (sql, all)
}

fn bind_bounds(filter: &RunFilter, sql: &mut String, all: &mut Vec<Value>) {
    if let Some(project) = filter.project {
        all.push(project.into());
        *sql += &format!(" AND runs.project_id = ${}", all.len());
    }
    if !filter.jobs.is_empty() {
        let first = all.len() + 1;
        all.extend(filter.jobs.iter().map(|job| Value::from(*job)));
        let jobs: Vec<_> = (first..=all.len()).map(|number| format!("${number}")).collect();
        *sql += &format!(" AND runs.job_id IN ({})", jobs.join(", "));
    }
}

fn statement(filter: &RunFilter, range: Option<Range>, before: Option<RunId>, limit: u32) -> (String, Vec<Value>) {
    let mut all: Vec<Value> = Vec::new();
    let labels = labels(filter);
    // A label has its runs in the order of their ids: no more of them are read than are shown.
    let (chosen, others) = match filter.project {
        Some(_) if !labels.is_empty() => labels.split_at(1),
        _ => labels.split_at(0),
    };
    let (source, id) = match chosen.is_empty() {
        true => (" FROM runs WHERE TRUE", "runs.id"),
        // CROSS JOIN keeps SQLite from beginning with the runs.
        false => (" FROM run_labels AS chosen CROSS JOIN runs WHERE runs.id = chosen.run_id", "chosen.run_id"),
    };
    let mut sql = concat!("SELECT ", run_columns!()).to_owned() + source;
    bind_bounds(filter, &mut sql, &mut all);
    let mut bind = |value: Value| {
        all.push(value);
        format!("${}", all.len())
    };
    for (project, (label, value, prefix)) in filter.project.into_iter().zip(chosen) {
        let (project, value) = (bind(project.into()), bind((*value).into()));
        let label = bind(format!("{prefix}{label}").into());
        sql += &format!(" AND chosen.project_id = {project} AND chosen.label = {label} AND chosen.value = {value}");
    }
    if let Some((phase, stopped)) = range {
        sql += &format!(" AND runs.phase = '{}'", phase.as_str());
        sql += match stopped {
            None => "",
            Some(true) => " AND runs.stop IS NOT NULL",
            Some(false) => " AND runs.stop IS NULL",
        };
        if phase.is_terminal() {
            // Follows from the phase, and lets the index of ended runs be used.
            sql += " AND runs.finished_at IS NOT NULL";
        }
    }
    for (label, value, prefix) in others {
        let project = filter.project.map_or_else(|| "runs.project_id".to_owned(), |project| bind(project.into()));
        let (label, value) = (bind(format!("{prefix}{label}").into()), bind((*value).into()));
        sql += &format!(
            " AND EXISTS (SELECT 1 FROM run_labels WHERE run_labels.project_id = {project} AND label = {label} \
             AND value = {value} AND run_id = runs.id)"
        );
    }
    if filter.unstopped {
        sql += " AND runs.phase IN ('queued', 'starting', 'running') AND runs.stop IS NULL";
    }
    if let Some(since) = filter.since {
        sql += &format!(" AND runs.created_at >= {}", bind(since.into()));
    }
    if let Some(until) = filter.until {
        sql += &format!(" AND runs.created_at < {}", bind(until.into()));
    }
    if let Some(before) = before {
        sql += &format!(" AND {id} < {}", bind(before.into()));
    }
    sql += &format!(" ORDER BY {id} DESC LIMIT {}", bind(limit.into()));
    (sql, all)
}

fn labels(filter: &RunFilter) -> Vec<(&str, &str, &'static str)> {
    let labels = filter.labels.iter().map(|(label, value)| (label.as_str(), value.as_str(), ""));
    let source = filter.source.iter().map(|(label, value)| (label.as_str(), value.as_str(), "source:"));
    labels.chain(source).collect()
}
