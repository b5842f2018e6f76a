//! What every database must do, whichever it is.
//!
//! A test file of a database says `#[macro_use] mod conformance;`, has an
//! `async fn fresh() -> impl conformance::Place` that makes a place without any database in it yet,
//! and lists all cases as tests with `conformance!(fresh);`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batches;
mod history;
mod imports;
mod opening;
pub mod server;

use store::Database;

pub use batches::*;
pub use history::*;
pub use imports::*;
pub use opening::*;

/// Where one database is, or will be. It goes when this is dropped.
pub trait Place: Send + Sync {
    /// The database as a server that starts now finds it. Each call is like another program:
    /// nothing but the database itself is shared.
    fn database(&self) -> Box<dyn Database>;
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
            a_history_is_imported,
            an_import_into_a_pool_is_refused,
            a_failing_import_leaves_nothing,
            a_history_that_contradicts_itself_is_refused,
            an_empty_pool_may_be_imported,
            an_audit_finds_nothing_wrong_after_all_this,
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
