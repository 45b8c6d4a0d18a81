//! What the store must do on every database, as cases that run on each of them.
//!
//! A case takes a [`Subject`] and panics when the store breaks the contract. [`store_contract!`](crate::store_contract)
//! makes a test of each.

mod admission;
mod attempts;
mod belongings;
mod callbacks;
mod contention;
mod dashboard;
mod database;
mod durability;
mod fixtures;
mod jobs;
mod listing;
mod monitoring;
mod retention;
mod schedules;
mod stops;
mod triggers;

pub use admission::*;
pub use attempts::*;
pub use belongings::*;
pub use callbacks::*;
pub use contention::*;
pub use dashboard::*;
pub use database::TestDatabase;
pub use durability::*;
pub use fixtures::{START, Subject, TestJob, after};
pub use jobs::*;
pub use listing::*;
pub use monitoring::*;
pub use retention::*;
pub use schedules::*;
pub use stops::*;
pub use triggers::*;

/// Makes a module of tests, one for each case of the contract, on the database that `$database` makes
/// (`async fn() -> Option<TestDatabase>`; `None` when there is none, which it has said aloud).
#[macro_export]
macro_rules! store_contract {
    ($module:ident, $database:ident) => {
        $crate::store_contract! { @cases $module, $database:
            projects, tokens, secrets, registries, audit_log, settings, timeline,
            jobs_are_applied, names_are_unique_among_the_living, dry_runs_tell_and_keep_nothing, jobs_are_archived, jobs_are_paged, revisions_are_kept,
            limits_of_a_job_must_exist, limits_in_use_stay,
            trigger_makes_a_run, trigger_answers_to_the_job, keys_give_the_same_run, keys_of_failed_runs,
            keys_of_refused_runs, one_key_many_callers, one_failed_key_many_callers,
            full_queues, full_rejects, full_replaces, full_keeps_newest, full_rejects_under_contention,
            max_parallel_holds, priority_then_age, priority_across_jobs, heavy_is_not_overtaken, held_until_its_time,
            queue_time_is_bounded, changed_limits_count_at_once, waiting_is_explained, engines_are_capped, long_queues_admit_in_batches,
            launched_and_concluded, stale_attempts_change_nothing, ends_are_final, failures_are_retried,
            infrastructure_failures_are_retried_apart, slices_go_to_the_back, state_comes_with_success,
            state_conflicts, state_history_is_bounded, state_by_hand, reports_while_it_runs, live_attempts_are_listed,
            stop_waiting, stop_active, stop_matching, stop_twice, stop_is_never_lost, stop_races_admission, leases,
            callbacks_are_due_with_the_end,
            schedules_are_served_once, schedules_follow_their_job, missed_times_are_made_up_for,
            ended_runs_are_judged_once, failures_in_a_row_are_one_notice, notices_are_opened_once_and_end,
            what_is_remembered_is_bounded, late_jobs_are_found, channels_gather_what_they_are_told,
            what_cannot_be_sent_is_tried_and_given_up, figures_are_of_the_present,
            lists_filter, any_page_size_gives_the_same,
            runs_go_with_all_that_belongs_to_them, what_is_not_over_stays, pages_go_on_when_runs_vanish, deletions_race,
            the_audit_log_is_bounded,
            sign_ins, people_sign_in, activity, queues_of_limits, jobs_by_part_of_their_name,
            limits_hold_under_contention, two_services_never_over_admit,
            a_failed_write_undoes_only_its_own, everything_outlives_a_restart, a_newer_schema_is_refused
        }
    };
    (@cases $module:ident, $database:ident: $($case:ident),*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let Some(database) = super::$database().await else { return };
                    let subject = $crate::store::contract::Subject::new(&database).await;
                    $crate::store::contract::$case(&subject).await;
                    subject.store.close().await;
                    database.drop().await;
                }
            )*
        }
    };
}
