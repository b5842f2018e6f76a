//! What every database must do, whichever it is.
//!
//! A test file of a database says `#[macro_use] mod conformance;`, has an
//! `async fn fresh() -> impl conformance::Place` that makes a place without any database in it yet,
//! and lists all cases as tests with `conformance!(fresh);`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batches;
mod history;
mod imports;
mod journal;
mod keys;
mod opening;
mod policies;
mod queue;
mod renewals;
mod restoring;
mod search;
pub mod server;
mod sweeping;

use store::Database;

pub use batches::*;
pub use history::*;
pub use imports::*;
pub use journal::*;
pub use keys::*;
pub use opening::*;
pub use policies::*;
pub use queue::*;
pub use renewals::*;
pub use restoring::*;
pub use search::*;
pub use sweeping::*;

/// Where one database is, or will be. It goes when this is dropped.
pub trait Place: Send + Sync {
    /// The database as a server that starts now finds it. Each call is like another program:
    /// nothing but the database itself is shared.
    fn database(&self) -> Box<dyn Database>;

    /// Does at once what the database itself does as it finds the time, if there is anything.
    fn catch_up(&self) {}
}

/// Makes a `#[tokio::test]` of each case.
macro_rules! conformance {
    ($fresh:path) => {
        conformance!(
            $fresh;
            a_new_pool_is_as_wanted,
            a_new_pool_has_100_tokens_and_2_minutes_unless_told_otherwise,
            a_pool_is_taken_as_it_is_when_nothing_is_wanted,
            another_size_is_refused,
            another_policy_is_refused_unless_it_is_an_update,
            an_update_of_the_policy_is_in_the_journal,
            two_migrations_at_once_are_one,
            a_description_shows_no_secret,
            what_was_committed_is_there_after_a_restart,
            a_current_copy_has_no_news,
            the_journal_gives_back_what_was_committed,
            a_copy_of_another_history_is_replaced_whole,
            what_is_abandoned_is_not_there,
            the_journal_knows_its_batches,
            a_lease_may_start_and_end_in_one_batch,
            every_reason_of_an_end_comes_back,
            a_second_successor_is_refused,
            a_lease_that_is_over_can_not_end_again,
            a_lease_ends_only_by_its_own_fence,
            an_entry_is_not_committed_twice,
            a_large_batch_is_committed,
            a_later_epoch_goes_on,
            old_entries_are_deleted_but_never_the_newest,
            entries_are_deleted_by_age,
            history_is_read_newest_first_a_page_at_a_time,
            history_shows_leases_as_they_are_stored,
            names_come_back_as_they_were_sent,
            a_lease_is_found_by_its_id,
            leases_are_found_by_their_ids,
            who_was_evicted_learns_for_whom,
            a_history_is_imported,
            an_imported_history_is_searched,
            an_import_into_a_pool_is_refused,
            a_failing_import_leaves_nothing,
            a_history_that_contradicts_itself_is_refused,
            an_empty_pool_may_be_imported,
            a_new_pool_keeps_the_whole_policy,
            each_rule_is_updated_alone,
            an_update_of_every_rule_is_in_the_journal,
            a_batch_may_change_the_policy,
            a_renewed_lease_keeps_its_deadlines,
            a_renewed_lease_may_end_after_its_first_deadline,
            a_lease_may_be_renewed_and_end_in_one_batch,
            a_lease_may_start_and_be_renewed_in_one_batch,
            only_a_lease_that_runs_can_be_renewed,
            the_queue_is_there_after_a_restart,
            a_place_in_the_queue_is_given_up,
            who_waited_is_served_and_leaves_the_queue,
            a_server_is_heard_of,
            an_outage_is_no_silence,
            only_the_server_that_is_heard_of_lives_longer,
            a_dead_servers_places_lapse,
            a_ticket_that_contradicts_the_queue_is_refused,
            a_ticket_with_a_key_is_kept_whole,
            many_wait,
            a_key_leads_to_its_lease,
            no_key_is_remembered_at_first,
            a_key_tells_how_its_lease_stands,
            a_repetition_is_answered_by_what_is_remembered,
            keys_of_different_users_are_apart,
            a_key_is_used_once,
            keys_are_forgotten_by_age,
            keys_whose_leases_are_over_are_forgotten_early,
            many_keys_are_used_and_forgotten_in_steps,
            the_journal_is_read_from_any_entry_on,
            an_entry_that_is_not_there_begins_nothing,
            the_journal_goes_on_in_the_next_epoch,
            every_kind_of_change_comes_back_from_the_journal,
            every_combination_of_filters_finds_what_fits,
            random_questions_find_what_fits,
            pages_of_any_size_come_to_the_same,
            leases_of_one_moment_are_told_apart_by_their_fences,
            a_deadline_that_is_not_written_down_yet_counts,
            a_lease_is_found_at_any_time_it_ran_also_under_an_older_policy,
            an_empty_history_answers_everything,
            old_leases_are_deleted,
            what_a_key_led_to_is_deleted_after_the_key,
            a_lease_that_ended_late_stays_although_it_began_early,
            many_leases_are_deleted_in_steps,
            an_audit_finds_nothing_wrong_after_all_this,
            after_a_restore_a_new_epoch_begins,
            leases_are_found_beyond_the_fences_that_were_left_out,
            a_clock_that_is_behind_leads_no_less_far,
            the_journal_outlives_new_epochs,
            no_epoch_begins_where_there_is_no_pool,
        );
    };
    ($fresh:path; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                conformance::$case(&$fresh().await).await;
            }
        )*
    };
}
