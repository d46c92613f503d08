//! Seeds with changing members and protocols: none may find anything, every one must be worth its name,
//! and the same seed must be the same run.

use panchayat_epochs::Epochs;
use panchayat_sim::{
    Change, Options, PlannedChange, Report, Setup, Subject, Summary, run_range, run_seed, run_setup,
};

const SEEDS: std::ops::Range<u64> = 0..100;

fn a_hundred_seeds(founders: usize) {
    let summary: Summary = run_range::<Epochs>(SEEDS, 2, &Options::new(founders), |_| {});
    let texts: Vec<String> = summary.violations.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{} violations:\n{}", texts.len(), texts.join("\n"));
    assert_eq!(summary.runs, SEEDS.end - SEEDS.start);
    assert!(summary.strengths.iter().all(|strength| strength.commands >= 300));
    assert!(summary.median(|strength| strength.faults) >= 5);
    assert!(summary.median(|strength| strength.crashes) >= 1);
    let missing = Epochs::required(founders).missing(&summary.coverage, summary.runs);
    let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}:\n{}", texts.join("\n"), summary.coverage);
}

#[test]
fn a_hundred_seeds_of_three_founders() {
    a_hundred_seeds(3);
}

#[test]
fn a_hundred_seeds_of_five_founders() {
    a_hundred_seeds(5);
}

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    for seed in 0..8 {
        let text = Options { text: true, ..Options::new(3) };
        let first = run_seed::<Epochs>(seed, &text);
        let again = run_seed::<Epochs>(seed, &text);
        assert_eq!(first.lines, again.lines, "seed {seed}");
    }
}

/// Each of these found a mistake once.
#[test]
fn seeds_that_found_something() {
    // A Paxos replica that came to the next epoch without having written down what was chosen.
    // A removed replica that served an old state as the sealed one, and one that did not serve the sealed one.
    // An epoch that began in memory only, lost in a crash, is none: the check said otherwise.
    // Two seals that say the same at the same time, the first of them void: the check took it for the other.
    let seeds = [(3, 9_543), (3, 14), (3, 38), (3, 101), (3, 213), (3, 538), (3, 15_539), (5, 760)];
    for (founders, seed) in seeds {
        let report = run_seed::<Epochs>(seed, &Options::new(founders));
        assert_eq!(report.violation, None, "seed {seed} of {founders}");
    }
}

/// A replica that learns of seals late: their proposer is far from it, and another member near both. That
/// one answers it before it has heard of what is written in the next epoch. `change` may spoil the run.
fn late_to_every_seal(seed: u64, change: impl Fn(&mut Setup)) -> Report {
    let mut setup =
        Setup::calm(vec![vec![0, 5_000, 100_000], vec![5_000, 0, 5_000], vec![100_000, 5_000, 0]]);
    setup.workload.clients_per_replica = 6;
    setup.workload.commands = 4_000;
    setup.workload.kinds = [0, 1, 0];
    setup.workload.read_percent = 80;
    setup.workload.query_percent = 100;
    setup.workload.think_us = 5_000;
    setup.workload.timeout_us = 3_000_000;
    setup.safety_us = 9_000_000;
    let times = (0..8).map(|round| 500_000 + round * 1_000_000);
    setup.changes =
        times.map(|at_us| PlannedChange { at_us, change: Change::Reseal, choice: 3 }).collect();
    change(&mut setup);
    run_setup::<Epochs>(seed, setup, false)
}

#[test]
fn reads_at_one_who_is_late_to_every_seal_miss_nothing() {
    let report = late_to_every_seal(1, |_| {});
    assert_eq!(report.violation, None);
    let late = report.readings.iter().filter(|reading| reading.replica.0 == 2).count();
    assert!(late > 20, "{late} readings");
}

#[cfg(feature = "mutations")]
#[test]
fn a_read_that_the_sealed_epoch_vouches_for_is_noticed() {
    use panchayat_epochs::Mutation;
    use panchayat_sim::Invariant;

    let number = Mutation::ALL.iter().position(|known| *known == Mutation::ReadAcrossSeal);
    let report = late_to_every_seal(1, |setup| setup.mistake = number);
    let found = report.violation.expect("a stale read").flaw.invariant;
    assert_eq!(found, Invariant::StaleRead);
}
