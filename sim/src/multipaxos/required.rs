//! What a long run of Multi-Paxos must have come to.
//!
//! Nothing here depends on the number of replicas. `dropped` stays at zero, for nobody here sends what
//! is of another shape.

use crate::required::Required;

/// What a hundred seeds come to.
const COMMON: &[&str] = &[
    "acknowledged",
    "answers_duplicate",
    "answers_fast",
    "answers_recovered",
    "answers_slow",
    "busy",
    "chosen_by_asking",
    "chosen_by_votes",
    "chosen_by_word",
    "collected_for_room",
    "elections_won",
    "fault_clock_jump",
    "fault_clog",
    "fault_crash",
    "fault_cut",
    "fault_mute",
    "fault_pause",
    "fault_slow",
    "fault_slow_disk",
    "fault_spike",
    "fault_storm",
    "fault_sync_error",
    "fetches",
    "forwarded",
    "forwarded_again",
    "given_up",
    "held_by_lease",
    "index_reads",
    "judged_list_transactions",
    "judged_register_operations",
    "leader_crash",
    "leader_cut",
    "leader_mute",
    "leader_pause",
    "leader_slow",
    "leader_slow_disk",
    "lease_changes",
    "lease_reads",
    "lease_reads_tried",
    "never_given",
    "outcome_unknown",
    "overloaded",
    "picks_with_votes",
    "picks_without_votes",
    "pre_votes",
    "prepares",
    "quorum_reads",
    "reads_lease",
    "reads_linearizable",
    "reads_out_of_reach",
    "reads_stale",
    "reads_stale_made_current",
    "reads_too_old",
    "reads_without_lease",
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
    "sent Chosen",
    "sent Gone",
    "sent Transfer",
    "snapshots_durable",
    "states_taken_over",
    "suspicions",
    "sync_errors",
    "torn_tails",
    "transferred",
    "unknown",
];

/// What takes more seeds: gaps, and commands that won two slots, take several leaders in a row
/// that each got through with a part of what they had proposed.
const RARE: &[&str] = &[
    "bits_flipped",
    "duplicates",
    "fault_bit_flip",
    "filled",
    "reads_stale_of_unknown_age",
    "refused_journals",
    "slots_duplicate",
    "slots_nop",
    "states_broken_off",
];

/// The same at every number of replicas.
pub(super) fn required(_n: usize) -> Required {
    Required { common: COMMON.to_vec(), rare: RARE.to_vec() }
}
