//! What a long run of Fast Paxos must have come to.
//!
//! Nothing here depends on the number of replicas. Every branch of the protocol is there: commits in
//! fast rounds, collisions settled at once, missing votes closed, counters that drifted apart, classic
//! rounds for either reason and the way back, take-overs that find fast votes, losers, duplicates, and
//! states. `dropped` stays at zero, for nobody here sends what is of another shape.

use crate::required::Required;

/// What a hundred seeds come to.
const COMMON: &[&str] = &[
    "acknowledged",
    "answers_duplicate",
    "answers_fast",
    "answers_recovered",
    "answers_slow",
    "chosen_by_asking",
    "chosen_by_word",
    "chosen_classic",
    "chosen_fast",
    "classic_for_collisions",
    "classic_for_few",
    "closed_drifted",
    "closed_first",
    "closed_missing",
    "closings",
    "collected_for_room",
    "collisions",
    "disks_unblocked",
    "duplicates",
    "elections_won",
    "fault_clock_jump",
    "fault_clog",
    "fault_crash",
    "fault_cut",
    "fault_doubt",
    "fault_full_disk",
    "fault_mute",
    "fault_pause",
    "fault_slow",
    "fault_slow_disk",
    "fault_spike",
    "fault_storm",
    "fault_sync_error",
    "fetches",
    "filled",
    "frames_lost_for_space",
    "judged_account_reads",
    "judged_list_transactions",
    "judged_register_operations",
    "leader_crash",
    "leader_cut",
    "leader_mute",
    "leader_pause",
    "leader_slow",
    "leader_slow_disk",
    "led",
    "losers_placed",
    "outcome_unknown",
    "overloaded",
    "picks_by_classic_vote",
    "picks_by_fast_votes",
    "picks_by_fast_votes_taken_over",
    "picks_open_after_fast_votes",
    "picks_without_votes",
    "pre_votes",
    "prepares",
    "proposed_again",
    "recovered",
    "refusals",
    "requests_duplicate",
    "requests_retried",
    "requests_too_old",
    "requests_unknown",
    "resigned",
    "restarts",
    "restarts_from_snapshot",
    "retransmissions",
    "sent Gone",
    "settled_constrained",
    "slots_duplicate",
    "slots_nop",
    "snapshots_durable",
    "states_taken_over",
    "suspicions",
    "sync_errors",
    "to_fast",
    "torn_tails",
    "turned_away",
    "unknown",
];

/// What takes more seeds.
const RARE: &[&str] = &[
    "bits_flipped",
    "fault_bit_flip",
    "refused_journals",
    "states_broken_off",
    "states_taken_over_in_doubt",
];

/// The same at every number of replicas.
pub(super) fn required(_n: usize) -> Required {
    Required { common: COMMON.to_vec(), rare: RARE.to_vec() }
}
