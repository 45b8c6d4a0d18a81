//! What cases are made of.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::TestDatabase;
use crate::{
    domain::{
        AttemptId, AttemptResult, ErrorCode, IfExists, JobId, JobSpec, LogSummary, Name, Outcome, Phase, Project,
        ProjectId, Reports, Run, RunError, RunId, Timestamp, WhenFull,
    },
    store::{Admitted, Applied, Concluded, NewRevision, NewRun, Store, TriggerOutcome},
};

/// When all cases begin.
pub const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// So many seconds after the beginning.
#[must_use]
pub fn after(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// A store on a database of a case's own, with one project in it.
#[derive(Debug)]
pub struct Subject {
    /// The store.
    pub store: Store,
    /// The project.
    pub project: ProjectId,
    url: SecretString,
}

/// A job that was registered.
#[derive(Debug, Clone)]
pub struct TestJob {
    /// Its id.
    pub id: JobId,
    /// Its project.
    pub project: ProjectId,
    /// Its present specification.
    pub spec: JobSpec,
    /// The present revision's number.
    pub revision: u32,
}

pub(super) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

impl Subject {
    /// Opens a store.
    ///
    /// # Panics
    /// The database cannot be opened.
    pub async fn new(database: &TestDatabase) -> Self {
        let url = SecretString::from(database.url());
        let store = Store::open(&url).await.expect("the database opens");
        let subject = Self { project: ProjectId::generate(), store, url };
        subject.add_project(subject.project, "project").await;
        subject
    }

    /// Another store on the same database, as another service would open it.
    pub(super) async fn another(&self) -> Store {
        Store::open(&self.url).await.expect("the database opens once more")
    }

    /// The same case after the service was started anew.
    pub(super) fn reopened(&self, store: Store) -> Self {
        Self { store, project: self.project, url: self.url.clone() }
    }

    pub(super) const fn url(&self) -> &SecretString {
        &self.url
    }

    pub(super) async fn add_project(&self, id: ProjectId, text: &str) {
        let project = Project { id, name: name(text), images: Vec::new(), created_at: START };
        assert!(self.store.create_project(&project, b"key".to_vec()).await.unwrap());
    }

    /// Registers a job; `spec` needs nothing but what matters to the case.
    ///
    /// # Panics
    /// It cannot be registered.
    pub async fn job(&self, spec: Value) -> TestJob {
        let new = self.first_revision(spec);
        let job = TestJob { id: new.job, project: self.project, spec: new.spec.clone(), revision: 1 };
        let applied = self.store.apply(new).await.unwrap();
        assert!(matches!(applied, Applied::Done(_)), "{applied:?}");
        job
    }

    pub(super) fn first_revision(&self, spec: Value) -> NewRevision {
        NewRevision {
            project: self.project,
            job: JobId::generate(),
            number: 1,
            spec: complete(spec),
            config: b"sealed".to_vec(),
            by: "tester".to_owned(),
            now: START,
        }
    }

    pub(super) async fn limit(&self, text: &str, capacity: u32) {
        self.store.set_limit(self.project, &name(text), capacity, START).await.unwrap();
    }

    /// The run as it is stored.
    pub(super) async fn read(&self, run: RunId) -> Run {
        self.store.run(self.project, run).await.unwrap().expect("the run exists")
    }

    pub(super) async fn phase(&self, run: RunId) -> Phase {
        self.read(run).await.life.phase
    }

    /// Triggers a run that must be made; its id, and what was admitted.
    ///
    /// # Panics
    /// It is not made.
    pub async fn trigger(&self, new: NewRun) -> (RunId, Vec<Admitted>) {
        match self.store.trigger(new).await.unwrap() {
            TriggerOutcome::Created { run, admitted, .. } => (run.id, admitted),
            other => panic!("no run was made: {other:?}"),
        }
    }

    /// Triggers a run that must start at once.
    ///
    /// # Panics
    /// It does not.
    pub async fn start(&self, job: &TestJob) -> AttemptId {
        let (run, admitted) = self.trigger(job.run()).await;
        let mine = admitted.into_iter().find(|one| one.attempt.run == run).expect("the run starts at once");
        mine.attempt
    }

    pub(super) async fn conclude(&self, id: AttemptId, verdict: Result<Outcome, ErrorCode>) -> Option<Concluded> {
        conclude(&self.store, id, verdict, Reports::default(), after(1)).await
    }

    /// Concludes an attempt that succeeded.
    ///
    /// # Panics
    /// It is not the present one.
    pub async fn succeed(&self, id: AttemptId) -> Concluded {
        self.conclude(id, Ok(Outcome::Done)).await.expect("the attempt is the present one")
    }
}

pub(super) async fn conclude(
    store: &Store,
    id: AttemptId,
    verdict: Result<Outcome, ErrorCode>,
    reports: Reports,
    now: Timestamp,
) -> Option<Concluded> {
    let exit_code = Some(i32::from(verdict.is_err()));
    let result = AttemptResult { exit_code, verdict: verdict.map_err(|code| RunError::new(code, "it went wrong")) };
    store.conclude(id, result, reports, LogSummary { bytes: 7, complete: true, truncated: false }, now).await.unwrap()
}

fn complete(mut spec: Value) -> JobSpec {
    let given = spec.as_object_mut().expect("an object");
    given.entry("name").or_insert(json!("job"));
    given.entry("image").or_insert(json!("busybox"));
    serde_json::from_value(spec).expect("a specification")
}

impl TestJob {
    /// A run of the job that waits in the queue since the beginning.
    #[must_use]
    pub fn run(&self) -> NewRun {
        let (name, engine, by) = (self.spec.name.clone(), "simulated".to_owned(), "tester".to_owned());
        let run = Run {
            labels: self.spec.labels.clone(),
            timeout_seconds: self.spec.timeout_seconds,
            ..Run::fresh(self.project, self.id, name, self.revision, engine, by, START)
        };
        NewRun { run, env: None, when_full: self.spec.when_full, key: None, callback: None, repeats: false }
    }

    /// A run that is told apart by its key and what was asked for.
    pub(super) fn keyed(&self, key: &str, asked: &[u8], if_exists: IfExists) -> NewRun {
        NewRun { key: Some((key.to_owned(), asked.to_vec(), if_exists)), ..self.run() }
    }

    /// A run with one thing about it changed.
    #[must_use]
    pub fn run_with(&self, change: impl FnOnce(&mut Run)) -> NewRun {
        let mut new = self.run();
        change(&mut new.run);
        new
    }

    /// The job under another rule, without a new revision.
    pub(super) fn when_full(&self, when_full: WhenFull) -> NewRun {
        NewRun { when_full, ..self.run() }
    }

    /// The job's next revision.
    pub(super) fn next(&self, by: &str, change: impl FnOnce(&mut JobSpec)) -> NewRevision {
        let mut spec = self.spec.clone();
        change(&mut spec);
        NewRevision {
            project: self.project,
            job: self.id,
            number: self.revision + 1,
            spec,
            config: b"sealed anew".to_vec(),
            by: by.to_owned(),
            now: after(1),
        }
    }
}
