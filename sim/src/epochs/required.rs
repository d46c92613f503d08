//! What many runs with epochs must have come to.

use crate::required::Required;

/// What every number of founders comes to.
const COMMON: &[&str] = &[
    "acknowledged",
    "answers_duplicate",
    "answers_fast",
    "answers_slow",
    "change_add",
    "change_add_two",
    "change_lost_disk",
    "change_remove",
    "change_replace",
    "change_reseal",
    "change_switch",
    "changes_of_own_accord",
    "dismissed",
    "disks_lost",
    "epaxos_goes_on",
    "epaxos_to_fastpaxos",
    "epaxos_to_multipaxos",
    "epochs_begun",
    "epochs_changed",
    "epochs_jumped",
    "fastpaxos_goes_on",
    "fastpaxos_to_epaxos",
    "fastpaxos_to_multipaxos",
    "judged_list_transactions",
    "judged_register_operations",
    "multipaxos_goes_on",
    "multipaxos_to_epaxos",
    "multipaxos_to_fastpaxos",
    "proposed_again_in_next_epoch",
    "requests_duplicate",
    "restarts",
    "restarts_from_snapshot",
    "snapshots_durable",
    "states_taken_over",
    "torn_tails",
];

/// What is required of runs that begin with `n` members.
pub(super) fn required(_n: usize) -> Required {
    Required { common: COMMON.to_vec(), rare: Vec::new() }
}
