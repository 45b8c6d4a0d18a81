//! All instruments under their names.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Metric, Registry, Unit},
};

use super::{HttpMetrics, LogMetrics, RunMetrics, StoreTimings, names};

/// The instruments of the service's parts.
#[derive(Debug, Clone, Default)]
pub struct Instruments {
    /// The runner's.
    pub runs: RunMetrics,
    /// Those of the logs.
    pub logs: LogMetrics,
    /// The database's.
    pub store: StoreTimings,
    /// The API's.
    pub http: HttpMetrics,
}

/// Labels and their values.
pub type Labels = Vec<(&'static str, String)>;
type Gauges<N, A> = Family<Labels, Gauge<N, A>>;
/// Counts with labels.
pub type Counts = Gauges<i64, std::sync::atomic::AtomicI64>;
/// Measures with labels.
pub type Measures = Gauges<f64, AtomicU64>;

/// Gauges that are read when somebody asks.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "each is described where it is registered")]
pub struct LiveGauges {
    pub runs: Counts,
    pub limit_capacity: Counts,
    pub limit_held: Counts,
    pub limit_waiting: Counts,
    pub engine_up: Counts,
    pub engine_workloads: Counts,
    pub leader: Gauge,
    pub lag: Measures,
    pub outbox: Counts,
    pub notices: Counts,
    pub job_end: Measures,
    pub job_succeeded: Counts,
    pub job_duration: Measures,
    pub job_reported: Measures,
    pub cpu: Counter<f64, AtomicU64>,
    pub memory: Gauge,
    pub fds: Gauge,
    pub start: Gauge<f64, AtomicU64>,
}

/// Metrics under their names, and what each is for.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// What is written for Prometheus.
    pub registry: Registry,
    /// What each is for, in the same order.
    pub described: Vec<Described>,
}

/// A metric as it is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// As it stands in a query; a histogram without its suffixes.
    pub name: String,
    /// `counter`, `gauge`, …
    pub kind: String,
    /// What it is.
    pub help: &'static str,
}

impl Catalogue {
    fn register(&mut self, name: &'static str, help: &'static str, metric: impl Metric) {
        self.describe(name.to_owned(), help, &metric);
        self.registry.register(name, help, metric);
    }

    fn register_with_unit(&mut self, name: &'static str, help: &'static str, unit: Unit, metric: impl Metric) {
        self.describe(format!("{name}_{}", unit.as_str()), help, &metric);
        self.registry.register_with_unit(name, help, unit, metric);
    }

    fn describe(&mut self, name: String, help: &'static str, metric: &impl Metric) {
        let kind = metric.metric_type().as_str().to_owned();
        let name = match kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name,
        };
        self.described.push(Described { name, kind, help });
    }
}

/// All metrics of the service. What each is for stands here, and is what the documentation says.
#[must_use]
pub fn registry(instruments: &Instruments, live: &LiveGauges) -> Catalogue {
    let mut all = Catalogue::default();
    let Instruments { runs, logs, store, http } = instruments;
    all.register(names::RUNS_TRIGGERED, "Runs made, by request or schedule", runs.triggered.clone());
    all.register(names::RUNS_ENDED, "Runs ended, by state and error code", runs.ended.clone());
    all.register(names::RUNS_DELETED, "Runs deleted because their time was over", runs.deleted.clone());
    all.register(names::RUNS, "Runs that have not ended, by engine and state", live.runs.clone());
    let seconds = || Unit::Seconds;
    let help = "Time in the queue, from joining it to admission";
    all.register_with_unit(names::RUN_QUEUE, help, seconds(), runs.queue.clone());
    let help = "Time from admission to the running container";
    all.register_with_unit(names::RUN_START, help, seconds(), runs.start.clone());
    let help = "Time from a run's first container to its end, by state";
    all.register_with_unit(names::RUN_DURATION, help, seconds(), runs.duration.clone());
    all.register(names::LAUNCHES, "Launches that the engine has not confirmed yet", runs.launching.clone());
    all.register_with_unit(names::LOG, "Logs of ended runs", Unit::Bytes, runs.log_bytes.clone());
    let help = "Logs of ended runs that lie at this service and not yet in the object store";
    all.register(names::LOGS_WAITING, help, logs.waiting.clone());
    let help = "Times that the object store did not take or give a log; each is tried again";
    all.register(names::LOG_STORE_FAILURES, help, logs.failures.clone());
    let help = "Capacity of a named limit, by project; the first 200 limits";
    all.register(names::LIMIT_CAPACITY, help, live.limit_capacity.clone());
    all.register(names::LIMIT_HELD, "How much of a named limit is held", live.limit_held.clone());
    let help = "Runs that wait and need a named limit, counted up to 1000";
    all.register(names::LIMIT_WAITING, help, live.limit_waiting.clone());
    all.register(names::ENGINE_UP, "Whether an engine answered when it was last asked", live.engine_up.clone());
    let help = "Workloads of an engine that this service watches";
    all.register(names::ENGINE_WORKLOADS, help, live.engine_workloads.clone());
    all.register(names::LEADER, "Whether this service launches and watches runs", live.leader.clone());
    let help = "Time since a reconciler of this service last did its round";
    all.register_with_unit(names::RECONCILE_LAG, help, seconds(), live.lag.clone());
    let help = "Messages that are still to be delivered, by kind, counted up to 10000";
    all.register(names::OUTBOX, help, live.outbox.clone());
    all.register(names::NOTICES, "Open notices, by kind and severity", live.notices.clone());
    let help = "HTTP requests answered, by method, route and class of status";
    all.register(names::HTTP_REQUESTS, help, http.requests.clone());
    let help = "Time until an HTTP answer begins, by route; long-polls wait in it";
    all.register_with_unit(names::HTTP_DURATION, help, seconds(), http.duration.clone());
    let help = "Time of work on the database, waiting for it included";
    all.register_with_unit(names::STORE, help, seconds(), store.family.clone());
    let help = "When a job's last run ended, since this service leads; at most 1000 jobs";
    all.register_with_unit(names::JOB_LAST_END, help, seconds(), live.job_end.clone());
    all.register(names::JOB_LAST_SUCCEEDED, "Whether a job's last run succeeded", live.job_succeeded.clone());
    let help = "How long a job's last run took";
    all.register_with_unit(names::JOB_LAST_DURATION, help, seconds(), live.job_duration.clone());
    let help = "What the script of a job's last run reported; at most 20 metrics a job";
    all.register(names::JOB_REPORTED, help, live.job_reported.clone());
    let help = "Runs and reported metrics that are not told, because there are too many series";
    all.register(names::JOB_LEFT_OUT, help, runs.last.left_out.clone());
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    all.register(names::BUILD, "The version of the service", build);
    all.register_with_unit(names::CPU, "Processor time that the service has used", seconds(), live.cpu.clone());
    all.register_with_unit(names::MEMORY, "Memory that the service holds", Unit::Bytes, live.memory.clone());
    all.register(names::FDS, "Files and sockets that the service has open", live.fds.clone());
    all.register_with_unit(names::START, "When the service began", seconds(), live.start.clone());
    all
}
