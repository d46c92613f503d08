//! Seeds against EPaxos: none may find anything, every one must be worth its name, and the same
//! seed must be the same run.

use panchayat_epaxos::EPaxos;
use panchayat_sim::{Load, Options, Summary, missing_coverage, run_range, run_seed};

const SEEDS: std::ops::Range<u64> = 0..100;

fn run(replicas: usize) -> Summary {
    let summary = run_range::<EPaxos>(SEEDS, 2, &Options::new(replicas), |_| {});
    let texts: Vec<String> = summary.violations.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{} violations:\n{}", texts.len(), texts.join("\n"));
    assert_eq!(summary.runs, SEEDS.end - SEEDS.start);
    assert!(summary.strengths.iter().all(|strength| strength.commands >= 300));
    assert!(summary.strengths.iter().all(|strength| strength.faults >= 5));
    assert!(summary.median(|strength| strength.crashes) >= 1);
    summary
}

fn must_have_happened(summary: &Summary, replicas: usize) {
    let missing = missing_coverage(&summary.coverage, replicas, summary.runs);
    let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}:\n{}", texts.join("\n"), summary.coverage);
}

/// Seeds that found something, with their replicas, and what. (What they draw changes with the swarm.)
const FOUND_SOMETHING: [(u64, usize); 5] = [
    (418, 3),  // Who had joined a recovery left a large command to the coordinator it refused.
    (5685, 3), // A coordinator waited for replies that did not count any more, and was left to it.
    (6409, 3),
    (7797, 3),
    (2745, 7), // A check believed what a recoverer had said at a ballot whose joining was lost.
];

#[test]
fn seeds_that_found_something_find_nothing_now() {
    for (seed, replicas) in FOUND_SOMETHING {
        let violation = run_seed::<EPaxos>(seed, &Options::new(replicas)).violation;
        assert!(violation.is_none(), "{}", violation.expect("checked"));
    }
}

#[test]
fn a_hundred_seeds_of_three_replicas() {
    must_have_happened(&run(3), 3);
}

#[test]
fn a_hundred_seeds_of_five_replicas() {
    let summary = run(5);
    must_have_happened(&summary, 5);
    // The swarm draws duels of recoveries so often that even this holds.
    for name in ["validate_nop", "waiting_deadlock", "waiting_nop"] {
        assert!(summary.coverage.get(name) > 0, "{name} never happened:\n{}", summary.coverage);
    }
}

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    for seed in 0..12 {
        for replicas in [3, 5] {
            let text = Options { text: true, ..Options::new(replicas) };
            let first = run_seed::<EPaxos>(seed, &text);
            let again = run_seed::<EPaxos>(seed, &text);
            assert_eq!(first.lines, again.lines, "seed {seed}");
            assert_eq!(first.history, again.history, "seed {seed}");
            assert_eq!(first.trace_hash, again.trace_hash, "seed {seed}");
            // And the text is only looking on.
            let silent = run_seed::<EPaxos>(seed, &Options::new(replicas));
            assert_eq!(first.trace_hash, silent.trace_hash, "seed {seed}");
            assert_eq!(first.coverage, silent.coverage, "seed {seed}");
        }
    }
}

#[test]
fn another_seed_is_another_run() {
    let hash = |seed| run_seed::<EPaxos>(seed, &Options::new(3)).trace_hash;
    assert_ne!(hash(1), hash(2));
}

#[test]
fn every_seed_can_be_made_to_carry_the_ledger() {
    let options = Options { load: Load::Ledger, ..Options::new(3) };
    let mut retried = 0;
    for seed in 0..30 {
        let setup = options.setup::<EPaxos>(seed);
        assert!(setup.workload.accounts > 1 && setup.workload.retries, "seed {seed}");
        let report = run_seed::<EPaxos>(seed, &options);
        assert_eq!(report.violation, None);
        let judged = report.coverage.0.get("judged_account_reads").copied().unwrap_or(0);
        assert!(judged > 0, "seed {seed}");
        retried += report.coverage.0.get("requests_retried").copied().unwrap_or(0);
    }
    assert!(retried > 100, "{retried} attempts at other replicas");
}
