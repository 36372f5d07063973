//! What every database must do: ordinary functions over [`Database`], listed once in `for_each_promise`.

pub mod feed;
pub mod inbox;
pub mod outbox;
pub mod purge;
pub mod seal;
pub mod state;

use std::sync::Arc;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::{Envelope, Lane, Source};
use bridge_core::id::ChatId;
use bridge_store::{Commit, InboxItem, InboxSeq, Network, OutboxItem, Settlement, Store, StoreError};

/// How a store is opened.
#[derive(Clone)]
pub struct Setup {
    pub workspace: &'static str,
    /// Every byte of the current key.
    pub key: u8,
    /// The same of old keys.
    pub old: Vec<u8>,
    pub feed_budget_bytes: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { workspace: "acme", key: 1, old: Vec::new(), feed_budget_bytes: 8 << 20 }
    }
}

/// An empty database of its own for each promise.
pub trait Database: Sized + Send + Sync {
    /// Makes it.
    fn create() -> Self;
    /// Opens it.
    fn open(&self, setup: Setup) -> impl Future<Output = Result<Arc<dyn Store>, StoreError>> + Send;
    /// The database as a crash of the process would leave it now.
    fn after_crash(&self) -> impl Future<Output = Self> + Send;
    /// Runs SQL beside the store.
    fn tamper(&self, sql: &'static str) -> impl Future<Output = ()> + Send;
}

/// Opens with the usual setup.
pub async fn open<D: Database>(database: &D) -> Arc<dyn Store> {
    database.open(Setup::default()).await.unwrap()
}

pub fn chat_id(name: &str) -> ChatId {
    ChatId::parse(name).unwrap()
}

pub fn envelope(lane: &str, key: &str) -> Envelope {
    Envelope {
        source: Source::Callback,
        key: key.to_owned(),
        lane: Lane::from_chat(lane),
        received_at: Timestamp(1_000),
        body: format!("body of {key}").into_bytes(),
    }
}

pub fn accept<const N: usize>(envelopes: [Envelope; N]) -> Commit {
    Commit { accept: envelopes.into(), ..Commit::default() }
}

pub fn outbox_item(store: &dyn Store, lane: &str, key: &str) -> OutboxItem {
    OutboxItem {
        seq: store.next_outbox_seq(),
        lane: Lane::from_chat(lane),
        network: Network::DingTalk,
        key: key.to_owned(),
        cause: Some(format!("cause of {key}")),
        op: format!("op of {key}").into_bytes(),
        created_at: Timestamp(2_000),
    }
}

/// Something in every table, among it what one of the databases finds hard: texts with NUL, many pages.
pub async fn fill(store: &dyn Store) {
    seal::fill(store, 70).await;
    state::fill(store).await;
    for hundred in 0..12 {
        let envelopes = (0..100).map(|number| envelope("many", &format!("m{hundred}-{number}\0é项")));
        store.commit(Commit { accept: envelopes.collect(), ..Commit::default() }).await.unwrap();
    }
    let done = store.pending_inbox(&Lane::from_chat("many"), InboxSeq(0), 1_200).await.unwrap();
    let done = done.iter().map(|item| item.seq).collect();
    let failed = outbox_item(store, "b", "failed\0");
    let settle =
        vec![(failed.seq, Settlement::Parked { attempts: 3, code: "c".to_owned(), at: Timestamp(5) })];
    store.commit(Commit { done, enqueue: vec![failed], settle, ..Commit::default() }).await.unwrap();
}

pub async fn pending(store: &dyn Store, lane: &str) -> Vec<InboxItem> {
    store.pending_inbox(&Lane::from_chat(lane), InboxSeq(0), 1_000).await.unwrap()
}

pub fn keys(items: &[InboxItem]) -> Vec<&str> {
    items.iter().map(|item| item.envelope.key.as_str()).collect()
}

/// Makes a test of every promise for one database.
#[macro_export]
macro_rules! for_each_promise {
    ($database:ty) => {
        $crate::for_each_promise! {
            $database =>
            inbox {
                a_key_is_accepted_once_whatever_door_it_comes_through
                a_lane_is_read_in_order_and_in_pages
                an_answered_commit_survives_a_crash
                handled_rows_stay_handled_after_a_crash_and_are_recognised
                held_rows_wait_in_order_beside_new_ones
                parked_rows_are_listed_without_blocking_the_lane
                numbers_rise_across_restarts
            }
            outbox {
                rows_are_sent_in_the_order_of_their_numbers
                every_settlement_is_found_again
                a_row_marked_as_sending_is_found_after_a_crash
                an_operation_that_got_further_is_found_after_a_crash
                failed_rows_are_listed_and_released
                handling_and_queueing_are_one_transaction
                a_commit_that_contradicts_harms_no_neighbour
            }
            state {
                mappings_are_found_from_both_sides
                edits_are_found_by_what_they_change
                messages_change_what_they_tell_and_not_where_a_chat_stands
                a_chat_changes_its_standing_from_the_one_that_was_meant
                people_are_found_by_every_name_they_have
                people_depart_and_have_profiles
                memberships_come_and_go
                linking_and_unlinking
                settings_and_sessions
                records_of_the_device_are_found_by_what_they_belong_to
                chats_are_counted_by_state
                depth_counts_each_direction
                a_closed_store_refuses
            }
            feed {
                rows_come_after_the_commit_and_in_order
                duplicates_do_not_come
                lanes_with_rows_from_before_start_spilled
                spilling_and_resuming_loses_nothing_and_keeps_order
            }
            seal {
                values_do_not_open_in_another_row
                another_workspace_is_refused
                an_old_key_still_opens
                a_wrong_key_is_refused_at_opening
                everything_is_sealed_anew_and_the_old_key_can_go
                sealing_anew_goes_on_after_a_crash_and_leaves_what_changed_meanwhile
                what_does_not_open_is_left_and_counted
            }
            purge {
                old_things_go_and_young_ones_stay
                a_key_stays_as_long_as_its_row_waits
                more_than_a_step_goes_at_once
            }
        }
    };
    ($database:ty => $($topic:ident { $($promise:ident)* })*) => {
        $(mod $topic {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                $crate::suite::$topic::$promise(<$database as $crate::suite::Database>::create()).await;
            })*
        })*
    };
}
