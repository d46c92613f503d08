//! What a long run must have come to. A counter that stays at zero means that the run says nothing
//! about the rule it counts, however many seeds it had.
//!
//! Which outcomes can come up depends on the number of replicas. Write c₁ and c₂ for the initial
//! coordinators of two conflicting instances *id* and *id′* that know nothing of each other
//! (id ∉ D′, id′ ∉ D), R for those who endorse *id*, that is, pre-accepted it with dep = D, and
//! suppose that *id* is not decided yet. (An attempt may be overtaken by another at a higher
//! ballot that decides Nop, after which nobody counts *id* as a conflict any more. It may then, for
//! a moment and without effect, come to an outcome that is excluded below. Nobody should wait for
//! that to happen a hundred times.)
//!
//! - *One proposal excludes the other.* A replica in both R and R′ pre-accepted one of the two
//!   after the other and so with it among its dependencies, against one of the two endorsements. For
//!   the same reason c₁ ∉ R′ and c₂ ∉ R: c₁ knew *id* before anybody. And neither c₁ nor c₂ votes in
//!   its own recovery's R, or rule 3 applies. So |R| + |R′| ≤ n − 2.
//! - *Committed beside.* If *id′* is committed without *id*, then n − f replicas pre-accepted it, or
//!   answered its Validate, knowing nothing of *id*; from then on they counted it as a conflict of
//!   *id*. So none of them is in R, and none is c₁: |R| ≤ f − 1.
//! - Rule 4 needs |R| ≥ |Q| − e = n − f − e, which is 1, 1 and 2 at n = 3, 5 and 7.

use panchayat_consensus::Quorums;

use crate::report::Coverage;

/// From this many runs on every required counter must have come to [`ENOUGH`].
pub const LONG_RUN: u64 = 5_000;
/// How often each must have happened in a long run.
pub const ENOUGH: u64 = 100;
/// From this many runs on what is `COMMON` must have happened at all.
pub const SHORT_RUN: u64 = 100;

/// What a hundred seeds come to at any number of replicas.
const COMMON: &[&str] = &[
    "acknowledged",
    "answers_duplicate",
    "answers_fast",
    "answers_recovered",
    "answers_slow",
    "collected",
    "components",
    "decided_by_accepts",
    "decided_fast",
    "decided_nop",
    "disks_unblocked",
    "evidence_rule_1",
    "evidence_rule_2",
    "evidence_rule_3",
    "evidence_rule_4_valid",
    "evidence_rule_5",
    "evidence_waited_valid",
    "fault_clock_jump",
    "fault_clog",
    "fault_crash",
    "fault_cut",
    "fault_full_disk",
    "fault_mute",
    "fault_partial",
    "fault_pause",
    "fault_slow",
    "fault_slow_disk",
    "fault_spike",
    "fault_storm",
    "fault_sync_error",
    "fenced",
    "fetches",
    "frames_lost_for_space",
    "gone",
    "judged_account_reads",
    "judged_list_transactions",
    "judged_register_operations",
    "marked_absent",
    "overloaded",
    "proposed_again",
    "quorum_reads",
    "reads_linearizable",
    "reads_ordered",
    "recovered_commits",
    "recovery_accepted",
    "recovery_committed",
    "recovery_coordinator",
    "recovery_nop",
    "recovery_validate",
    "refusals",
    "requests_duplicate",
    "requests_retried",
    "requests_too_old",
    "requests_unknown",
    "restarts",
    "restarts_from_snapshot",
    "retransmissions",
    "snapshots_durable",
    "states_taken_over",
    "suspicions",
    "sync_errors",
    "taken_back",
    "torn_tails",
    "unknown",
    "validate_accept",
    "validate_wait",
    "waiting_accept",
    "waiting_late",
];

/// What takes more than a hundred seeds at any number of replicas.
const RARE: &[&str] =
    &["bits_flipped", "fault_bit_flip", "refused_journals", "states_broken_off", "withdrawn"];

/// What can happen with some numbers of replicas only, and whether it can with these. With
/// m = n − f − e, the fewest endorsers that rule 4 is content with:
///
/// - `validate_nop`: a member of I is committed already, which takes m ≤ f − 1 as above; or the
///   coordinator of a member is outside Q. Of the f outside Q one is c₁, and no other instance of
///   c₁ can be in I: of two instances of one lane the later depends on the earlier. So f ≥ 2.
/// - `waiting_nop`: a member of I is committed meanwhile, so m ≤ f − 1.
/// - `waiting_deadlock`: the other wait has |R′| > m endorsers, so 2m + 1 ≤ n − 2. At n = 5 that is
///   1 against 2, at n = 7 it is 2 against 3: in both all but the two coordinators endorse one or
///   the other. As |R| = |Q| − e, c₂ must be in Q, or the validation ends at once. The swarm draws
///   such duels on purpose.
///
/// None can happen at n = 3 and 4, all at n = 5 and 7, the first alone at n = 6.
fn depending(quorums: Quorums) -> impl Iterator<Item = &'static str> {
    let (n, f) = (quorums.n(), quorums.f());
    let fewest = n - f - quorums.e();
    let beside = fewest < f;
    let possible = [
        ("validate_nop", beside || f >= 2),
        ("waiting_deadlock", 2 * fewest < n - 2),
        ("waiting_nop", beside),
    ];
    possible.into_iter().filter_map(|(name, possible)| possible.then_some(name))
}

/// Something that a run should have come to and did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The counter.
    pub name: &'static str,
    /// What it came to.
    pub count: u64,
    /// What it should have come to at least.
    pub wanted: u64,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} happened {} times, of at least {} wanted", self.name, self.count, self.wanted)
    }
}

/// What many runs must have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Required {
    /// Things that a hundred seeds come to.
    pub common: Vec<&'static str>,
    /// Things that take more seeds.
    pub rare: Vec<&'static str>,
}

impl Required {
    /// What `runs` runs should have come to and did not. A long run ([`LONG_RUN`]) must have seen
    /// everything [`ENOUGH`] times; one of [`SHORT_RUN`] seeds what is common, once; a shorter one
    /// nothing in particular.
    pub fn missing(&self, coverage: &Coverage, runs: u64) -> Vec<Missing> {
        let (rare, wanted) = if runs >= LONG_RUN {
            (&self.rare[..], ENOUGH)
        } else if runs >= SHORT_RUN {
            (&[][..], 1)
        } else {
            return Vec::new();
        };
        let names = self.common.iter().chain(rare).copied();
        let counts = names.map(|name| Missing { name, count: coverage.get(name), wanted });
        counts.filter(|missing| missing.count < missing.wanted).collect()
    }
}

/// What runs of EPaxos with `replicas` replicas must have come to.
///
/// # Panics
/// If no quorums fit `replicas`.
pub(crate) fn of_epaxos(replicas: usize) -> Required {
    let quorums = Quorums::for_replicas(replicas).expect("3 to 16 replicas");
    let rare = RARE.iter().copied().chain(depending(quorums));
    Required { common: COMMON.to_vec(), rare: rare.collect() }
}

/// The counters that must be large after a long run of EPaxos with `replicas` replicas.
///
/// # Panics
/// If no quorums fit `replicas`.
pub fn required_coverage(replicas: usize) -> Vec<&'static str> {
    let Required { common, rare } = of_epaxos(replicas);
    common.into_iter().chain(rare).collect()
}

/// What `runs` runs of EPaxos with `replicas` replicas should have come to and did not: see
/// [`Required::missing`].
pub fn missing_coverage(coverage: &Coverage, replicas: usize, runs: u64) -> Vec<Missing> {
    of_epaxos(replicas).missing(coverage, runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything(count: u64) -> Coverage {
        let mut coverage = Coverage::default();
        required_coverage(7).into_iter().for_each(|name| coverage.add(name, count));
        coverage
    }

    #[test]
    fn a_long_run_must_have_seen_everything_often() {
        assert_eq!(missing_coverage(&everything(ENOUGH), 5, LONG_RUN), []);
        let mut coverage = everything(ENOUGH);
        coverage.0.remove("waiting_deadlock");
        coverage.0.insert("torn_tails".into(), 99);
        let names = |replicas| -> Vec<_> {
            let missing = missing_coverage(&coverage, replicas, LONG_RUN);
            missing.into_iter().map(|missing| missing.name).collect()
        };
        assert_eq!(names(7), ["torn_tails", "waiting_deadlock"]);
        assert_eq!(names(3), ["torn_tails"], "with three replicas no wait ends in a deadlock");
    }

    #[test]
    fn a_short_run_must_have_seen_what_is_common_once() {
        assert_eq!(missing_coverage(&everything(1), 5, LONG_RUN - 1), []);
        let missing = missing_coverage(&Coverage::default(), 5, SHORT_RUN);
        assert_eq!(missing.len(), COMMON.len());
        assert_eq!(missing_coverage(&Coverage::default(), 5, SHORT_RUN - 1), []);
        let first = missing[0].to_string();
        assert_eq!(first, "acknowledged happened 0 times, of at least 1 wanted");
    }

    #[test]
    fn what_can_happen_depends_on_the_number_of_replicas() {
        let count = |n| depending(Quorums::for_replicas(n).unwrap()).count();
        assert_eq!([3, 4, 5, 6, 7].map(count), [0, 0, 3, 1, 3]);
    }

    #[test]
    fn no_name_is_required_twice() {
        let mut names = required_coverage(7);
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
