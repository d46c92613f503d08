//! Makes EPaxos, and the group around it, wrong in every known way and prints how many seeds of the default swarm it takes
//! to notice, as a table.
//!
//! ```text
//! cargo run --release -p panchayat-sim --features mutations --example mutations -- 500 [NAME]
//! ```

use panchayat_core::mutation::Mutation as GroupMutation;
use panchayat_epaxos::{EPaxos, Mutation};
use panchayat_sim::{Setup, Violation, run_setup};

/// Makes a run's replicas wrong.
type Spoil = Box<dyn Fn(&mut Setup)>;

fn first(spoil: &Spoil, replicas: usize, seeds_max: u64) -> Option<(u64, Violation)> {
    (0..seeds_max).find_map(|seed| {
        let mut setup = Setup::draw(seed, replicas);
        spoil(&mut setup);
        let report = run_setup::<EPaxos>(seed, setup, false);
        report.violation.map(|violation| (seed + 1, violation))
    })
}

fn cell(found: Option<(u64, Violation)>, seeds_max: u64) -> String {
    match found {
        Some((seeds, violation)) => format!("{seeds} ({:?})", violation.flaw.invariant),
        None => format!("not in {seeds_max}"),
    }
}

fn main() {
    // A caught assertion is a finding like others; its backtrace is not wanted here.
    std::panic::set_hook(Box::new(|_| {}));
    let seeds_max = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(300);
    println!("| mutation | seeds to catch, n=3 | n=5 | n=7 |\n|---|---|---|---|");
    let protocol = Mutation::ALL.iter().enumerate().map(|(number, mutation)| {
        let spoil: Spoil = Box::new(move |setup| setup.mistake = Some(number));
        (mutation.name(), spoil)
    });
    let group = GroupMutation::ALL.iter().enumerate().map(|(number, mutation)| {
        let spoil: Spoil = Box::new(move |setup| setup.group_mistake = Some(number));
        (mutation.name(), spoil)
    });
    let wanted = std::env::args().nth(2).unwrap_or_default();
    for (name, spoil) in protocol.chain(group).filter(|(name, _)| name.contains(&wanted)) {
        let cells = [3, 5, 7].map(|n| cell(first(&spoil, n, seeds_max), seeds_max));
        println!("| {name} | {} |", cells.join(" | "));
    }
}
