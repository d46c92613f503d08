//! Every known mistake is caught by the default swarm, at five replicas within a stated number of
//! seeds. Run with `cargo test -p panchayat-sim --features mutations --test mutations`.

use panchayat_core::mutation::Mutation as GroupMutation;
use panchayat_epaxos::{EPaxos, Mutation};
use panchayat_epochs::{Epochs, Mutation as EpochMutation};
use panchayat_fastpaxos::{FastPaxos, Mutation as FastMutation};
use panchayat_sim::{Setup, Subject, run_setup};

/// More than any of them took when the table in `MUTATIONS.md` was made.
const SEEDS_MAX: u64 = 60;
/// The same for epochs, where some mistakes matter only in rare company.
const EPOCH_SEEDS_MAX: u64 = 1_500;

fn caught(spoil: impl Fn(&mut Setup)) -> bool {
    (0..SEEDS_MAX).any(|seed| {
        let mut setup = Setup::draw(seed, 5);
        spoil(&mut setup);
        run_setup::<EPaxos>(seed, setup, false).violation.is_some()
    })
}

#[test]
fn every_known_mistake_is_caught() {
    // A caught assertion is a finding like others; its backtrace is not wanted here.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let missed: Vec<&Mutation> = Mutation::ALL
        .iter()
        .enumerate()
        .filter(|(number, _)| !caught(|setup| setup.mistake = Some(*number)))
        .map(|(_, mutation)| mutation)
        .collect();
    let missed_in_group: Vec<&GroupMutation> = GroupMutation::ALL
        .iter()
        .enumerate()
        .filter(|(number, _)| !caught(|setup| setup.group_mistake = Some(*number)))
        .map(|(_, mutation)| mutation)
        .collect();
    std::panic::set_hook(hook);
    assert_eq!(missed, [&Mutation::ALL[0]; 0]);
    assert_eq!(missed_in_group, [&GroupMutation::ALL[0]; 0]);
}

#[test]
fn every_known_mistake_of_fast_paxos_is_caught() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let missed = FastMutation::ALL.iter().enumerate().filter(|(number, _)| {
        [3, 4, 5].into_iter().any(|n| {
            !(0..SEEDS_MAX).any(|seed| {
                let mut setup = FastPaxos::draw(seed, n);
                setup.mistake = Some(*number);
                run_setup::<FastPaxos>(seed, setup, false).violation.is_some()
            })
        })
    });
    let missed: Vec<&FastMutation> = missed.map(|(_, mutation)| mutation).collect();
    std::panic::set_hook(hook);
    assert_eq!(missed, [&FastMutation::ALL[0]; 0]);
}

#[test]
fn every_known_mistake_between_epochs_is_caught() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let missed = EpochMutation::ALL.iter().enumerate().filter(|(number, mutation)| {
        // Where a few hundred seeds are enough.
        let sizes: &[usize] = match mutation {
            EpochMutation::ReadAcrossSeal | EpochMutation::StaleStateServed => &[5],
            _ => &[3, 5],
        };
        sizes.iter().any(|&n| {
            !(0..EPOCH_SEEDS_MAX).any(|seed| {
                let mut setup = Epochs::draw(seed, n);
                setup.mistake = Some(*number);
                run_setup::<Epochs>(seed, setup, false).violation.is_some()
            })
        })
    });
    let missed: Vec<&EpochMutation> = missed.map(|(_, mutation)| mutation).collect();
    std::panic::set_hook(hook);
    assert_eq!(missed, [&EpochMutation::ALL[0]; 0]);
}

#[test]
fn without_a_mistake_the_same_build_finds_nothing() {
    for seed in 0..20 {
        let report = run_setup::<EPaxos>(seed, Setup::draw(seed, 5), false);
        assert_eq!(report.violation, None);
    }
}
