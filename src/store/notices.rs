//! Notices: opened, found again, acknowledged, over. One is open for each kind and subject.

use super::{
    Session, Store, StoreError, channels, samples,
    session::{Row, Statement, Value, json_text, values},
};
use crate::domain::{
    Change, Finding, JobId, Notice, NoticeId, NoticeKind, ProjectId, RunId, Sample, Severity, Timestamp,
};

/// How many open notices are looked at.
const MOST_OPEN: u32 = 10_000;

/// What a look at an ended run came to.
#[derive(Debug, Clone)]
pub struct JudgedRun {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub job: JobId,
    /// What is remembered of it, if it says anything about the job.
    pub sample: Option<Sample>,
    /// By when the next run should be made.
    pub expected_by: Option<Timestamp>,
    /// What is wrong.
    pub found: Vec<Finding>,
    /// That the job goes on failing, should it be so, and after how many failures it counts. Takes the place of the
    /// single failure.
    pub failing: Option<(u32, Finding)>,
    /// What is as it should be.
    pub over: Vec<Over>,
}

/// Something that is as it should be: a notice about it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// What it was.
    pub kind: NoticeKind,
    /// What it was about.
    pub subject: String,
    /// How it came to be over, in words.
    pub resolution: String,
}

/// Which notices are meant. What is left out does not matter.
#[derive(Debug, Clone, Default)]
pub struct NoticeFilter {
    /// Of this project.
    pub project: Option<ProjectId>,
    /// Those of the whole installation too.
    pub with_instance: bool,
    /// Open ones, or those that are over.
    pub open: Option<bool>,
    /// About these jobs; empty = all.
    pub jobs: Vec<JobId>,
    /// Of these kinds; empty = all.
    pub kinds: Vec<NoticeKind>,
    /// This bad, or worse.
    pub severity: Option<Severity>,
}

macro_rules! notice_columns {
    () => {
        "id, project_id, kind, subject, job_id, job_name, run_id, summary, figures, times, opened_at, seen_at, \
         acknowledged_at, acknowledged_by, resolved_at, resolution"
    };
}
pub(super) use notice_columns;

pub(super) fn notice_from(row: &Row) -> Result<Notice, StoreError> {
    let job = row.get::<Option<uuid::Uuid>>("job_id")?.map(JobId);
    Ok(Notice {
        id: NoticeId(row.get("id")?),
        project: row.get::<Option<uuid::Uuid>>("project_id")?.map(ProjectId),
        kind: row.word("kind", NoticeKind::parse)?,
        subject: row.get("subject")?,
        job: job.zip(row.word_opt("job_name", |text| text.parse().ok())?),
        run: row.get::<Option<uuid::Uuid>>("run_id")?.map(RunId),
        summary: row.get("summary")?,
        figures: row.json("figures")?,
        times: row.number("times")?,
        opened_at: row.time("opened_at")?,
        seen_at: row.time("seen_at")?,
        acknowledged_at: row.time_opt("acknowledged_at")?,
        acknowledged_by: row.get("acknowledged_by")?,
        resolved_at: row.time_opt("resolved_at")?,
        resolution: row.get("resolution")?,
    })
}

impl Store {
    /// Keeps what looks at ended runs came to, each once. How many notices were opened or are over by it.
    ///
    /// # Errors
    /// The database failed; then nothing of it holds.
    pub async fn judged(&self, runs: Vec<JudgedRun>, now: Timestamp) -> Result<u32, StoreError> {
        let runs = std::sync::Arc::new(runs);
        self.write(move |session| {
            let runs = std::sync::Arc::clone(&runs);
            Box::pin(async move {
                let mut changes = 0;
                for run in runs.iter() {
                    changes += keep(session, run, now).await?;
                }
                Ok(changes)
            })
        })
        .await
    }

    /// Keeps what was found, and what is over. How many notices were opened or are over by it.
    ///
    /// # Errors
    /// The database failed; then nothing of it holds.
    pub async fn note(&self, found: Vec<Finding>, over: Vec<Over>, now: Timestamp) -> Result<u32, StoreError> {
        if found.is_empty() && over.is_empty() {
            return Ok(0);
        }
        let changes = std::sync::Arc::new((found, over));
        self.write(move |session| {
            let changes = std::sync::Arc::clone(&changes);
            Box::pin(async move { note(session, &changes.0, &changes.1, now).await })
        })
        .await
    }

    /// All notices that are open, the oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn open_notices(&self) -> Result<Vec<Notice>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", notice_columns!(), " FROM notices WHERE resolved_at IS NULL ORDER BY id LIMIT $1");
        self.read().await?.all(SQL, values![MOST_OPEN]).await?.iter().map(notice_from).collect()
    }

    /// Notices that match, the newest first, those opened before `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn notices(
        &self,
        filter: &NoticeFilter,
        before: Option<NoticeId>,
        limit: u32,
    ) -> Result<Vec<Notice>, StoreError> {
        let (sql, values) = statement(filter, before, limit);
        self.read().await?.all_built(sql, values).await?.iter().map(notice_from).collect()
    }

    /// Somebody has taken note. The notice as it is then; `None` when there is none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn acknowledge(
        &self,
        project: Option<ProjectId>,
        notice: NoticeId,
        by: &str,
        now: Timestamp,
    ) -> Result<Option<Notice>, StoreError> {
        const OF_PROJECT: &str = concat!(
            "UPDATE notices SET acknowledged_at = COALESCE(acknowledged_at, $1), \
             acknowledged_by = COALESCE(acknowledged_by, $2) WHERE id = $3 AND project_id = $4 RETURNING ",
            notice_columns!()
        );
        const OF_ALL: &str = concat!(
            "UPDATE notices SET acknowledged_at = COALESCE(acknowledged_at, $1), \
             acknowledged_by = COALESCE(acknowledged_by, $2) WHERE id = $3 AND project_id IS NULL RETURNING ",
            notice_columns!()
        );
        let by = by.to_owned();
        self.write(move |session| {
            let by = by.clone();
            Box::pin(async move {
                let row = match project {
                    Some(project) => session.first(OF_PROJECT, values![now, by, notice, project]).await?,
                    None => session.first(OF_ALL, values![now, by, notice]).await?,
                };
                row.as_ref().map(notice_from).transpose()
            })
        })
        .await
    }

    /// Forgets notices that were over before a moment, a batch of them; how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_notices(&self, before: Timestamp) -> Result<u64, StoreError> {
        // There is mostly nothing to do, and a write is dear.
        let any = "SELECT id FROM notices WHERE resolved_at IS NOT NULL AND resolved_at < $1 LIMIT 1";
        if self.read().await?.first(any, values![before]).await?.is_none() {
            return Ok(0);
        }
        let sql = "DELETE FROM notices WHERE id IN (SELECT id FROM notices WHERE resolved_at IS NOT NULL \
                   AND resolved_at < $1 LIMIT 500)";
        self.write(move |session| Box::pin(async move { session.execute(sql, values![before]).await })).await
    }
}

/// A job that is archived has no trouble any more. Nobody is told.
pub(super) fn ending_with(job: JobId, now: Timestamp) -> Statement {
    let sql = "UPDATE notices SET resolved_at = $1, resolution = 'the job was archived' \
               WHERE job_id = $2 AND resolved_at IS NULL";
    (sql, values![now, job])
}

async fn keep(session: &mut Session, judged: &JudgedRun, now: Timestamp) -> Result<u32, StoreError> {
    if !samples::take(session, judged.run).await? {
        return Ok(0);
    }
    let Some(sample) = &judged.sample else { return Ok(0) };
    let mut statements = samples::remembering(judged.job, sample)?;
    statements.extend(samples::expecting(judged.job, sample.made_at, judged.expected_by));
    session.execute_all(statements).await?;
    let (mut found, mut over) = (judged.found.clone(), judged.over.clone());
    if let Some((after, failing)) = &judged.failing
        && samples::failures_in_a_row(session, judged.job, *after).await? >= *after
    {
        let single = found.iter().position(|finding| finding.kind == NoticeKind::Failed);
        let single = single.map(|index| found.remove(index));
        let resolution = "it goes on: see the notice 'failing'".to_owned();
        over.extend(single.map(|one| Over { kind: one.kind, subject: one.subject, resolution }));
        found.push(failing.clone());
    }
    note(session, &found, &over, now).await
}

async fn note(session: &mut Session, found: &[Finding], over: &[Over], now: Timestamp) -> Result<u32, StoreError> {
    let mut changes = 0;
    for finding in found {
        let (notice, times) = open(session, finding, now).await?;
        if times == 1 {
            channels::tell(session, finding.project, &finding.channels, notice, Change::Opened, now).await?;
            changes += 1;
        }
    }
    for one in over {
        let sql = "UPDATE notices SET resolved_at = $1, resolution = $2 \
                   WHERE kind = $3 AND subject = $4 AND resolved_at IS NULL RETURNING id, project_id, channels";
        let values = values![now, one.resolution.as_str(), one.kind.as_str(), one.subject.as_str()];
        let Some(row) = session.first(sql, values).await? else { continue };
        let project = row.get::<Option<uuid::Uuid>>("project_id")?.map(ProjectId);
        let (notice, chosen) = (NoticeId(row.get("id")?), row.json::<Vec<_>>("channels")?);
        channels::tell(session, project, &chosen, notice, Change::Resolved, now).await?;
        changes += 1;
    }
    Ok(changes)
}

/// Opens a notice, or keeps that it was found again: its id, and how often it was found.
async fn open(session: &mut Session, finding: &Finding, now: Timestamp) -> Result<(NoticeId, u32), StoreError> {
    let sql = "INSERT INTO notices (id, project_id, kind, subject, job_id, job_name, run_id, summary, figures, \
               channels, times, opened_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $11) \
               ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO UPDATE SET times = notices.times + 1, \
               seen_at = excluded.seen_at, run_id = excluded.run_id, summary = excluded.summary, \
               figures = excluded.figures RETURNING id, times";
    let (job, name) = finding.job.as_ref().map_or((None, None), |(job, name)| (Some(*job), Some(name.to_string())));
    let values = values![
        NoticeId::generate(),
        finding.project,
        finding.kind.as_str(),
        finding.subject.as_str(),
        job,
        name,
        finding.run,
        finding.summary.as_str(),
        json_text(&finding.figures)?,
        json_text(&finding.channels)?,
        now,
    ];
    let row = session.first(sql, values).await?.ok_or_else(|| StoreError::corrupt("notice"))?;
    Ok((NoticeId(row.get("id")?), row.number("times")?))
}

fn statement(filter: &NoticeFilter, before: Option<NoticeId>, limit: u32) -> (String, Vec<Value>) {
    let mut sql = concat!("SELECT ", notice_columns!(), " FROM notices WHERE TRUE").to_owned();
    let mut all: Vec<Value> = Vec::new();
    let mut bind = |value: Value| {
        all.push(value);
        format!("${}", all.len())
    };
    if let Some(project) = filter.project {
        let project = bind(project.into());
        // Not `OR … IS NULL`, nor `IS NOT NULL` below: SQLite would take an index for them and sort all that it finds,
        // instead of walking from the latest until there are enough.
        let is =
            if filter.with_instance { format!("COALESCE(project_id, {project})") } else { "project_id".to_owned() };
        sql += &format!(" AND {is} = {project}");
    }
    if let Some(open) = filter.open {
        // The few that are open have an index of their own.
        let open_ones = " AND id IN (SELECT id FROM notices WHERE resolved_at IS NULL)";
        sql += if open { open_ones } else { " AND COALESCE(resolved_at, 0) > 0" };
    }
    if !filter.jobs.is_empty() {
        let jobs: Vec<_> = filter.jobs.iter().map(|job| bind((*job).into())).collect();
        sql += &format!(" AND job_id IN ({})", jobs.join(", "));
    }
    let wanted = |kind: &NoticeKind| {
        filter.severity.is_none_or(|least| kind.severity() >= least)
            && (filter.kinds.is_empty() || filter.kinds.contains(kind))
    };
    if filter.severity.is_some() || !filter.kinds.is_empty() {
        let kinds: Vec<_> =
            NoticeKind::ALL.iter().filter(|kind| wanted(kind)).map(|kind| bind(kind.as_str().into())).collect();
        sql += &if kinds.is_empty() { " AND FALSE".to_owned() } else { format!(" AND kind IN ({})", kinds.join(", ")) };
    }
    if let Some(before) = before {
        sql += &format!(" AND id < {}", bind(before.into()));
    }
    sql += &format!(" ORDER BY id DESC LIMIT {}", bind(limit.into()));
    (sql, all)
}
