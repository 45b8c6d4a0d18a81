//! A runner that does nothing by itself, on a clock that stands still, to test one reconciler at a time.

use std::sync::Arc;

use tempfile::TempDir;

use super::{EngineEntry, Engines, HistoryLimits, Runner, Shared};
use crate::{
    domain::{
        AttemptEnd, AttemptResult, Clock, JobId, JobSpec, LogSummary, ManualClock, Name, Project, ProjectId, Reports,
        Run, RunId, Timestamp,
    },
    engines::simulated::SimulatedEngine,
    logs::{LogLimits, LogStore},
    store::{Applied, NewRevision, NewRun, Store, TriggerOutcome},
    telemetry::Tracer,
    vault::{Keyring, MasterKey, ProjectKeys},
};

pub(super) struct Fixture {
    pub(super) clock: Arc<ManualClock>,
    runner: Runner,
    project: ProjectId,
    job: JobId,
    spec: JobSpec,
    dir: TempDir,
}

impl Fixture {
    /// A service with one job, which is admitted at once and never launched.
    pub(super) async fn new() -> Self {
        Self::keeping(HistoryLimits::default()).await
    }

    /// The same, with a history that is kept for so long.
    pub(super) async fn keeping(history: HistoryLimits) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("haulier.db").display()).into()).await.unwrap();
        // The present, so that identifiers, which carry the machine's time, agree with it.
        let clock = Arc::new(ManualClock::new(crate::domain::SystemClock.now()));
        let keys = ProjectKeys::new(Keyring::new(MasterKey::generate().unwrap(), Vec::new()), store.clone());
        let logs = LogStore::open(dir.path().join("logs"), LogLimits::default()).unwrap();
        let (engine, _) = SimulatedEngine::alone(store.installation());
        let engines = Engines::new("sim".into(), [("sim".into(), EngineEntry::new("simulated", Arc::new(engine)))]);
        let (project, job, now) = (ProjectId::generate(), JobId::generate(), clock.now());
        let tenant = Project { id: project, name: Name::default_project(), images: Vec::new(), created_at: now };
        store.create_project(&tenant, keys.new_data_key(project).unwrap()).await.unwrap();
        let spec: JobSpec = serde_json::from_value(serde_json::json!({"name": "a", "image": "sim/ok"})).unwrap();
        let config = keys.seal_config(project, job, 1, &Default::default()).await.unwrap();
        let revision = NewRevision { project, job, number: 1, spec: spec.clone(), config, by: "test".into(), now };
        assert!(matches!(store.apply(revision).await.unwrap(), Applied::Done(_)));
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let runner = Runner::new(store, engines, keys, logs, history, time, Tracer::default());
        Self { clock, runner, project, job, spec, dir }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.runner.0
    }

    /// Where it keeps its data.
    pub(super) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Registers another job; `spec` needs no name and no image.
    pub(super) async fn job(&self, mut spec: serde_json::Value) -> JobId {
        let (job, keys) = (JobId::generate(), &self.shared().keys);
        let config = keys.seal_config(self.project, job, 1, &Default::default()).await.unwrap();
        spec["name"] = format!("j-{job}").into();
        spec["image"] = "sim/ok".into();
        let (project, by, now) = (self.project, "test".to_owned(), self.clock.now());
        let spec = serde_json::from_value(spec).unwrap();
        let revision = NewRevision { project, job, number: 1, spec, config, by, now };
        assert!(matches!(self.shared().store.apply(revision).await.unwrap(), Applied::Done(_)));
        job
    }

    /// A job's runs, the newest first.
    pub(super) async fn runs(&self, job: JobId) -> Vec<Run> {
        let filter = crate::store::RunFilter { jobs: vec![job], ..Default::default() };
        self.shared().store.runs(&filter, None, 100).await.unwrap().runs
    }

    pub(super) async fn trigger(&self, change: impl FnOnce(&mut Run)) -> RunId {
        let now = self.clock.now();
        let mut run = Run::fresh(self.project, self.job, self.spec.name.clone(), 1, "sim".into(), "test".into(), now);
        change(&mut run);
        let id = run.id;
        let new = NewRun { run, env: None, when_full: self.spec.when_full, key: None, callback: None, repeats: false };
        let outcome = self.shared().store.trigger(new).await.unwrap();
        assert!(matches!(outcome, TriggerOutcome::Created { .. }));
        id
    }

    pub(super) async fn run(&self, run: RunId) -> Run {
        self.shared().store.run(self.project, run).await.unwrap().unwrap()
    }

    /// Stores that the run's script has ended well.
    pub(super) async fn end(&self, run: RunId) {
        let attempt = crate::domain::AttemptId { run, number: 1 };
        let reports = Reports::default();
        let result = AttemptResult::judge(&AttemptEnd::Exited { code: 0, out_of_memory: false }, &reports);
        let at: Timestamp = self.clock.now();
        let log = LogSummary::default();
        assert!(self.shared().store.conclude(attempt, result, reports, log, at).await.unwrap().is_some());
    }
}
