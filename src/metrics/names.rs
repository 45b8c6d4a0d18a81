//! The names of all metrics, as they stand in the code, the documentation, the rules and the dashboard. Counters get
//! `_total` and units their suffix when they are written.

/// Runs that were made.
pub const RUNS_TRIGGERED: &str = "haulier_runs_triggered";
/// Runs that ended.
pub const RUNS_ENDED: &str = "haulier_runs_ended";
/// Runs that were deleted.
pub const RUNS_DELETED: &str = "haulier_runs_deleted";
/// Live runs.
pub const RUNS: &str = "haulier_runs";
/// Time in the queue.
pub const RUN_QUEUE: &str = "haulier_run_queue";
/// Time from admission to the running container.
pub const RUN_START: &str = "haulier_run_start";
/// Time from start to end.
pub const RUN_DURATION: &str = "haulier_run_duration";
/// Launches under way.
pub const LAUNCHES: &str = "haulier_launches_in_flight";
/// Bytes of logs.
pub const LOG: &str = "haulier_log";
/// Logs that are not in the object store yet.
pub const LOGS_WAITING: &str = "haulier_logs_waiting";
/// Failures of the object store.
pub const LOG_STORE_FAILURES: &str = "haulier_log_store_failures";
/// A limit's capacity.
pub const LIMIT_CAPACITY: &str = "haulier_limit_capacity";
/// What is held of a limit.
pub const LIMIT_HELD: &str = "haulier_limit_held";
/// Who waits for a limit.
pub const LIMIT_WAITING: &str = "haulier_limit_waiting";
/// Whether an engine answers.
pub const ENGINE_UP: &str = "haulier_engine_up";
/// Workloads that are watched.
pub const ENGINE_WORKLOADS: &str = "haulier_engine_workloads";
/// Whether this service leads.
pub const LEADER: &str = "haulier_leader";
/// Time since a reconciler's last good round.
pub const RECONCILE_LAG: &str = "haulier_reconcile_lag";
/// What is to be sent.
pub const OUTBOX: &str = "haulier_outbox_depth";
/// Open notices.
pub const NOTICES: &str = "haulier_notices_open";
/// HTTP requests.
pub const HTTP_REQUESTS: &str = "haulier_http_requests";
/// Time of HTTP requests.
pub const HTTP_DURATION: &str = "haulier_http_request_duration";
/// Time of database work.
pub const STORE: &str = "haulier_store_duration";
/// When each job ended last.
pub const JOB_LAST_END: &str = "haulier_job_last_run_end_timestamp";
/// How each job ended last.
pub const JOB_LAST_SUCCEEDED: &str = "haulier_job_last_run_succeeded";
/// How long each job ran last.
pub const JOB_LAST_DURATION: &str = "haulier_job_last_run_duration";
/// What each job's script reported last.
pub const JOB_REPORTED: &str = "haulier_job_reported";
/// What was left out.
pub const JOB_LEFT_OUT: &str = "haulier_job_series_left_out";
/// The service's version.
pub const BUILD: &str = "haulier_build";
/// Processor time.
pub const CPU: &str = "process_cpu";
/// Memory.
pub const MEMORY: &str = "process_resident_memory";
/// Files.
pub const FDS: &str = "process_open_fds";
/// When the process began.
pub const START: &str = "process_start_time";
