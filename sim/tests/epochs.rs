//! Seeds with changing members and protocols: none may find anything, every one must be worth its name,
//! and the same seed must be the same run.

use panchayat_epochs::Epochs;
use panchayat_sim::{Options, Subject, Summary, run_range, run_seed};

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
    let seeds = [(3, 14), (3, 38), (3, 101), (3, 213), (3, 538), (3, 15_539), (5, 760)];
    for (founders, seed) in seeds {
        let report = run_seed::<Epochs>(seed, &Options::new(founders));
        assert_eq!(report.violation, None, "seed {seed} of {founders}");
    }
}
