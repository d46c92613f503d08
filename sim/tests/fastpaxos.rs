//! Seeds against Fast Paxos: none may find anything, every one must be worth its name, and the same
//! seed must be the same run.

use panchayat_fastpaxos::FastPaxos;
use panchayat_sim::{Options, Subject, Summary, run_range, run_seed};

const SEEDS: std::ops::Range<u64> = 0..100;

fn a_hundred_seeds(replicas: usize) {
    let summary: Summary = run_range::<FastPaxos>(SEEDS, 2, &Options::new(replicas), |_| {});
    let texts: Vec<String> = summary.violations.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{} violations:\n{}", texts.len(), texts.join("\n"));
    assert_eq!(summary.runs, SEEDS.end - SEEDS.start);
    assert!(summary.strengths.iter().all(|strength| strength.commands >= 300));
    assert!(summary.strengths.iter().all(|strength| strength.faults >= 3));
    assert!(summary.median(|strength| strength.faults) >= 5);
    assert!(summary.median(|strength| strength.crashes) >= 1);
    assert!(summary.coverage.get("states_taken_over_in_doubt") > 0);
    let missing = FastPaxos::required(replicas).missing(&summary.coverage, summary.runs);
    let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}:\n{}", texts.join("\n"), summary.coverage);
}

#[test]
fn a_hundred_seeds_of_three_replicas() {
    a_hundred_seeds(3);
}

#[test]
fn a_hundred_seeds_of_four_replicas() {
    a_hundred_seeds(4);
}

#[test]
fn a_hundred_seeds_of_five_replicas() {
    a_hundred_seeds(5);
}

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    for seed in 0..6 {
        for replicas in [3, 4] {
            let text = Options { text: true, ..Options::new(replicas) };
            let first = run_seed::<FastPaxos>(seed, &text);
            let again = run_seed::<FastPaxos>(seed, &text);
            assert_eq!(first.lines, again.lines, "seed {seed}");
            assert_eq!(first.history, again.history, "seed {seed}");
            let silent = run_seed::<FastPaxos>(seed, &Options::new(replicas));
            assert_eq!(first.trace_hash, silent.trace_hash, "seed {seed}");
            assert_eq!(first.coverage, silent.coverage, "seed {seed}");
        }
    }
}

/// Runs that found something once. With three replicas:
/// - 1: what was chosen was marked in the journal before the vote it spoke of.
/// - 3: a vote of the classic round was said again before it was written, by the record of the fast
///   one.
/// - 7: a coordinator left for a new ballot between casting votes and writing them down.
/// - 191: own votes for slots further ahead than others may speak of were not counted, and a
///   coordinator's own votes, once lost, were not said again.
/// - 1448: an image left out votes for what was chosen beyond a gap, and their acceptor voted again.
/// - 5034: a run that was lost before it was written was held to the names it had given.
///
/// With four:
/// - 51: with one gone and collisions in nearly every slot, each was waited for in vain.
/// - 680, 1079: as 191.
/// - 987: commands of a member that was gone for good filled the room for all others.
/// - 1230: all others waited for a state that only a dead member had.
///
/// With five:
/// - 16: in classic rounds nobody filled a slot that only one had voted in, in an earlier ballot.
#[test]
fn seeds_that_found_something_stay_quiet() {
    for (replicas, seed) in [
        (3, 1),
        (3, 3),
        (3, 7),
        (3, 191),
        (3, 1_448),
        (3, 5_034),
        (4, 51),
        (4, 680),
        (4, 987),
        (4, 1_079),
        (4, 1_230),
        (5, 16),
    ] {
        let report = run_seed::<FastPaxos>(seed, &Options::new(replicas));
        assert_eq!(report.violation, None, "{replicas} replicas");
    }
}

/// Clocks half a minute apart: nobody waits for times that mean something else to everyone.
#[test]
fn clocks_far_apart_do_not_make_every_command_wait() {
    let options = Options { load: panchayat_sim::Load::Ledger, ..Options::new(3) };
    let report = run_seed::<FastPaxos>(813, &options);
    assert_eq!(report.violation, None);
}
