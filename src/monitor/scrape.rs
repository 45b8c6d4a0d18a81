//! What Prometheus is told: instruments as they stand, and figures that are read when it asks.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;

use crate::{
    domain::{Clock, ProjectId, Timestamp},
    metrics::{Counts, Instruments, Labels, LiveGauges, Measures, exposition, registry},
    runner::Runner,
    store::{Store, StoreError},
    telemetry::{Exporter, converted},
};

/// For how long figures are told again: several scrapers, or an impatient one, cost the database nothing.
const FRESH: Duration = Duration::from_secs(1);

/// Tells Prometheus how the service is.
pub struct Scraper {
    store: Store,
    runner: Runner,
    clock: Arc<dyn Clock>,
    registry: Registry,
    live: LiveGauges,
    last: Mutex<Option<(Instant, Arc<str>)>>,
    /// Since when is counted.
    began: Timestamp,
}

impl fmt::Debug for Scraper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraper").finish_non_exhaustive()
    }
}

impl Scraper {
    /// A scraper over these parts.
    #[must_use]
    pub fn new(store: Store, runner: Runner, clock: Arc<dyn Clock>, instruments: &Instruments) -> Self {
        let live = LiveGauges::default();
        let (registry, began) = (registry(instruments, &live).registry, clock.now());
        Self { store, runner, clock, registry, live, last: Mutex::new(None), began }
    }

    /// All metrics, as OpenMetrics text. At most a second old.
    ///
    /// # Errors
    /// The database failed.
    pub async fn text(&self) -> Result<Arc<str>, StoreError> {
        let mut last = self.last.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(text));
        }
        self.read().await?;
        let text: Arc<str> = exposition::open_metrics(&self.registry).unwrap_or_default().into();
        *last = Some((Instant::now(), Arc::clone(&text)));
        Ok(text)
    }

    /// All metrics, for a collector.
    ///
    /// # Errors
    /// The database failed.
    pub async fn otlp(&self, exporter: &Exporter) -> Result<ExportMetricsServiceRequest, StoreError> {
        // Figures are read by one at a time.
        let _last = self.last.lock().await;
        self.read().await?;
        Ok(converted(&self.registry, exporter, self.began, self.clock.now()).unwrap_or_default())
    }

    async fn read(&self) -> Result<(), StoreError> {
        self.read_figures().await?;
        self.read_parts();
        self.read_process();
        Ok(())
    }

    async fn read_figures(&self) -> Result<(), StoreError> {
        let figures = self.store.figures().await?;
        let projects: HashMap<ProjectId, String> = self
            .store
            .projects()
            .await?
            .into_iter()
            .map(|(project, _)| (project.id, project.name.to_string()))
            .collect();
        let live = &self.live;
        let runs = figures
            .runs
            .into_iter()
            .map(|(engine, phase, number)| (vec![("engine", engine), ("state", phase.as_str().to_owned())], number));
        replace(&live.runs, runs);
        let limits = |figure: fn(&crate::store::LimitFigures) -> i64| {
            let labels = |limit: &crate::store::LimitFigures| {
                vec![("project", limit.project.clone()), ("limit", limit.name.clone())]
            };
            figures.limits.iter().map(move |limit| (labels(limit), figure(limit))).collect::<Vec<_>>()
        };
        replace(&live.limit_capacity, limits(|limit| limit.capacity));
        replace(&live.limit_held, limits(|limit| limit.held));
        replace(&live.limit_waiting, limits(|limit| limit.waiting));
        let outbox = [("callback", figures.callbacks), ("notice", figures.messages)];
        replace(&live.outbox, outbox.map(|(kind, number)| (vec![("kind", kind.to_owned())], number)));
        replace(
            &live.notices,
            figures.notices.into_iter().map(|(kind, number)| {
                let (kind, severity) = (kind.as_str().to_owned(), kind.severity().as_str().to_owned());
                (vec![("kind", kind), ("severity", severity)], number)
            }),
        );
        self.read_jobs(&projects);
        Ok(())
    }

    fn read_jobs(&self, projects: &HashMap<ProjectId, String>) {
        let live = &self.live;
        for gauges in [&live.job_end, &live.job_duration, &live.job_reported] {
            gauges.clear();
        }
        live.job_succeeded.clear();
        for run in self.runner.metrics().last_runs().all() {
            let project = projects.get(&run.project).cloned().unwrap_or_default();
            // Prometheus has a label `job` of its own.
            let labels: Labels = vec![("project", project), ("job_name", run.job.to_string())];
            live.job_succeeded.get_or_create(&labels).set(i64::from(run.succeeded));
            set(&live.job_end, &labels, Duration::from_micros(run.ended_at.as_micros().unsigned_abs()).as_secs_f64());
            if let Some(seconds) = run.seconds {
                set(&live.job_duration, &labels, seconds);
            }
            for (metric, value) in run.reported {
                let labels = labels.iter().cloned().chain([("metric", metric)]).collect();
                set(&live.job_reported, &labels, value);
            }
        }
    }

    fn read_parts(&self) {
        let live = &self.live;
        let engines = || self.runner.engines().iter();
        let labels = |name: &str, kind: &str| vec![("engine", name.to_owned()), ("kind", kind.to_owned())];
        // One that was not asked yet is not told of.
        let up = engines()
            .filter_map(|(name, entry)| Some((labels(name, entry.kind), i64::from(entry.status()?.health.reachable))));
        replace(&live.engine_up, up);
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        replace(
            &live.engine_workloads,
            engines().map(|(name, entry)| (labels(name, entry.kind), number(entry.watched()))),
        );
        live.leader.set(i64::from(self.runner.leads()));
        live.lag.clear();
        if self.runner.leads() {
            for (reconciler, lag) in self.runner.metrics().lags(self.clock.now()) {
                set(&live.lag, &vec![("reconciler", reconciler.to_owned())], lag.as_secs_f64());
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn read_process(&self) {
        use procfs::{WithCurrentSystemInfo as _, process::Process};
        let Ok(process) = Process::myself() else { return };
        let live = &self.live;
        if let Ok(stat) = process.stat() {
            #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds, and pages")]
            let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
            live.cpu.inner().store(seconds(stat.utime + stat.stime).to_bits(), Ordering::Relaxed);
            live.memory.set(i64::try_from(stat.rss_bytes().get()).unwrap_or(i64::MAX));
            if let Ok(boot) = procfs::boot_time_secs() {
                live.start.set(seconds(stat.starttime) + seconds(boot * procfs::ticks_per_second()));
            }
        }
        if let Ok(fds) = process.fd_count() {
            live.fds.set(i64::try_from(fds).unwrap_or(i64::MAX));
        }
    }

    /// Elsewhere nothing is known of the process.
    #[cfg(not(target_os = "linux"))]
    fn read_process(&self) {
        self.live.cpu.inner().store(0, Ordering::Relaxed);
    }
}

/// From now on these, and no others.
fn replace(gauges: &Counts, values: impl IntoIterator<Item = (Labels, i64)>) {
    gauges.clear();
    for (labels, value) in values {
        gauges.get_or_create(&labels).set(value);
    }
}

fn set(gauges: &Measures, labels: &Labels, value: f64) {
    gauges.get_or_create(labels).set(value);
}
