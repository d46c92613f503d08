//! Makes a protocol, and the group around it, wrong in every known way and prints how many seeds of
//! the default swarm it takes to notice, as a table.
//!
//! ```text
//! cargo run --release -p panchayat-sim --features mutations --example mutations -- 500 [NAME]
//! cargo run --release -p panchayat-sim --features mutations --example mutations -- \
//!     --protocol multipaxos --load ledger 500 [NAME]
//! ```

use std::error::Error;

use panchayat_core::mutation::Mutation as GroupMutation;
use panchayat_epaxos::EPaxos;
use panchayat_epochs::Epochs;
use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;
use panchayat_sim::{Load, Options, Setup, Subject, Violation, run_setup};

/// Makes a run's replicas wrong.
type Spoil = Box<dyn Fn(&mut Setup)>;

fn first<P: Subject>(spoil: &Spoil, options: Options, seeds_max: u64) -> Option<(u64, Violation)> {
    (0..seeds_max).find_map(|seed| {
        let mut setup = options.setup::<P>(seed);
        spoil(&mut setup);
        let report = run_setup::<P>(seed, setup, false);
        report.violation.map(|violation| (seed + 1, violation))
    })
}

fn cell(found: Option<(u64, Violation)>, seeds_max: u64) -> String {
    match found {
        Some((seeds, violation)) => format!("{seeds} ({:?})", violation.flaw.invariant),
        None => format!("not in {seeds_max}"),
    }
}

/// What the command line asks for.
struct Asked {
    load: Load,
    seeds_max: u64,
    /// What names are to contain.
    wanted: String,
}

/// The table of a protocol whose mistakes are called `names`, in their order.
fn table<P: Subject>(names: Vec<&'static str>, replicas: [usize; 3], asked: &Asked) {
    let Asked { load, seeds_max, wanted } = asked;
    let [a, b, c] = replicas;
    println!("| mutation | seeds to catch, n={a} | n={b} | n={c} |\n|---|---|---|---|");
    let protocol = names.into_iter().enumerate().map(|(number, name)| {
        let spoil: Spoil = Box::new(move |setup| setup.mistake = Some(number));
        (name, spoil)
    });
    let group = GroupMutation::ALL.iter().enumerate().map(|(number, mutation)| {
        let spoil: Spoil = Box::new(move |setup| setup.group_mistake = Some(number));
        (mutation.name(), spoil)
    });
    for (name, spoil) in protocol.chain(group).filter(|(name, _)| name.contains(wanted)) {
        let cells = replicas.map(|n| {
            let options = Options { load: *load, ..Options::new(n) };
            cell(first::<P>(&spoil, options, *seeds_max), *seeds_max)
        });
        println!("| {name} | {} |", cells.join(" | "));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // A caught assertion is a finding like others; its backtrace is not wanted here.
    std::panic::set_hook(Box::new(|_| {}));
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut protocol = "epaxos".to_owned();
    if words.first().is_some_and(|word| word == "--protocol") {
        protocol = words.get(1).ok_or("--protocol NAME")?.clone();
        words.drain(..2);
    }
    let mut load = Load::Drawn;
    if words.first().is_some_and(|word| word == "--load") {
        load = match words.get(1).map(String::as_str) {
            Some("ledger") => Load::Ledger,
            Some("drawn") => Load::Drawn,
            _ => return Err("--load drawn|ledger".into()),
        };
        words.drain(..2);
    }
    let seeds_max = words.first().map_or(Ok(300), |word| word.parse())?;
    let asked = Asked { load, seeds_max, wanted: words.get(1).cloned().unwrap_or_default() };
    match protocol.as_str() {
        "epaxos" => {
            let names = panchayat_epaxos::Mutation::ALL.iter().map(|known| known.name());
            table::<EPaxos>(names.collect(), [3, 5, 7], &asked);
        }
        "multipaxos" => {
            let names = panchayat_multipaxos::Mutation::ALL.iter().map(|known| known.name());
            table::<MultiPaxos>(names.collect(), [3, 5, 7], &asked);
        }
        "fastpaxos" => {
            let names = panchayat_fastpaxos::Mutation::ALL.iter().map(|known| known.name());
            // Where quorums differ most from majorities.
            table::<FastPaxos>(names.collect(), [3, 4, 5], &asked);
        }
        "epochs" => {
            let names = panchayat_epochs::Mutation::ALL.iter().map(|known| known.name());
            table::<Epochs>(names.collect(), [3, 4, 5], &asked);
        }
        other => return Err(format!("no protocol is called {other}").into()),
    }
    Ok(())
}
