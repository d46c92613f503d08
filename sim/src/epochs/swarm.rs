//! The swarm for epochs: what every protocol's runs have, and operators who change their minds.

use panchayat_consensus::{Quorums, ReplicaId, ReplicaSet, Span};
use panchayat_epochs::{Order, Timing, Watch};
use panchayat_multipaxos::Placement;

use super::change::{Change, PlannedChange};
use super::tuning::EpochTuning;
use crate::fault::{Class, Fault, Planned, occurrence};
use crate::rng::Rng;
use crate::setup::{Setup, rtt_max};
use crate::subject::Tuning;

/// Places for members who join in the course of a run.
const NEWCOMERS: usize = 5;
/// Runs in which little goes wrong but for changes, in a hundred.
const CALM_PERCENT: u64 = 25;
/// Runs about reads, in a hundred.
const READERS_PERCENT: u64 = 12;
/// Runs in which members change the protocol of their own accord, in a hundred.
const ADAPTIVE_PERCENT: u64 = 30;
/// Of the reads of a single key, those asked as queries, in a hundred.
const QUERIES: [u64; 3] = [0, 40, 90];

const ORDERS: [Order; 3] = [Order::EPaxos, Order::MultiPaxos, Order::FastPaxos];

/// The run of a seed that begins with `n` members.
pub(super) fn draw(seed: u64, n: usize) -> Setup {
    let places = n + NEWCOMERS;
    let mut setup = Setup::draw_common(seed, places);
    setup.quorums = Quorums::for_replicas(n).expect("at least three");
    let rng = &mut Rng::new(seed, "epochs");
    let rtt = rtt_max(&setup.delays_us);
    draw_tuning(&mut setup, n, places, rtt, rng);
    // Who is gone for good is replaced by operators here, who know of it.
    setup.plan.retain(|planned| !matches!(planned.fault, Fault::BitFlip { .. }));
    if rng.percent(CALM_PERCENT) {
        setup.plan.truncate(3);
    }
    for _ in 0..rng.between(1, 3) {
        let at_us = rng.below(setup.safety_us * 9 / 10);
        let class = *rng.pick(&[Class::Crash, Class::Isolate, Class::Pause]);
        setup.plan.append(&mut occurrence(class, n, at_us, rng));
    }
    setup.plan.sort_by_key(|planned| planned.at_us);
    draw_changes(&mut setup, rng);
    setup.down = ReplicaSet::EMPTY;
    for _ in 0..rng.below(3) {
        setup.down.insert(ReplicaId(rng.below(places as u64) as u8));
    }
    setup.down_max = places;
    let load = &mut setup.workload;
    load.clients_per_replica = load.clients_per_replica.max(2);
    load.query_percent = *rng.pick(&QUERIES);
    setup.liveness_us = 90_000_000;
    let (patience, chance) = (setup.tuning.patience, &mut Rng::new(seed, "adaptive"));
    setup.tuning.epochs.watch = draw_watch(patience, chance);
    if rng.percent(READERS_PERCENT) {
        let_readers_meet_seals(&mut setup, rng);
    }
    setup
}

/// Turns this run into one about reads that meet a seal: few keys, many queries, one seal after the other
/// while Multi-Paxos answers, and members who learn late what is chosen.
fn let_readers_meet_seals(setup: &mut Setup, rng: &mut Rng) {
    setup.tuning.epochs.order = Order::MultiPaxos;
    let load = &mut setup.workload;
    load.keys = rng.between(1, 2);
    load.kinds = [0, 1, 0];
    load.accounts = 0;
    load.read_percent = 60;
    load.query_percent = 95;
    load.think_us = load.think_us.min(20_000);
    let every = rng.between(60_000, 300_000);
    setup.safety_us = setup.safety_us.min(20 * every);
    setup.changes = (1..20)
        .map(|number| PlannedChange {
            at_us: number * every,
            change: if rng.percent(70) {
                Change::Reseal
            } else {
                Change::Switch(Order::MultiPaxos)
            },
            choice: rng.below(1 << 20),
        })
        .collect();
    let places = setup.replicas() as u64;
    for _ in 0..rng.between(4, 10) {
        let at_us = rng.below(setup.safety_us);
        let (a, b) = (rng.below(places) as usize, rng.below(places) as usize);
        let (links, us) = (vec![(a, b)], every * 2);
        let fault = Fault::Spike { links, extra_us: rng.between(20_000, 150_000), us };
        setup.plan.push(Planned { at_us, fault });
    }
    setup.plan.sort_by_key(|planned| planned.at_us);
}

fn draw_tuning(setup: &mut Setup, n: usize, places: usize, rtt: u64, rng: &mut Rng) {
    let rtt = rtt.max(crate::multipaxos::swarm::HEARTBEAT_MIN_US);
    let mut tuning = Tuning::draw(Span(rtt), rng);
    // Epochs have different numbers of members, so the sizes of quorums are the usual ones.
    tuning.log = crate::multipaxos::swarm::draw_log(n, rtt, rng);
    tuning.log.quorums = None;
    tuning.log.placement = match rng.below(3) {
        0 => Placement::Pinned(ReplicaId(rng.below(3) as u8)),
        _ => Placement::Ranked(vec![ReplicaId(rng.below(3) as u8)]),
    };
    let election_timeout = tuning.log.election_timeout;
    tuning.log.read_timeout = Span(election_timeout.0 * rng.between(100, 800) / 100);
    tuning.log.outcome_timeout = election_timeout.times(rng.between(3, 40));
    tuning.fast = crate::fastpaxos::swarm::draw_fast(n, rtt, election_timeout, rng);
    tuning.fast.quorums = None;
    tuning.fast.ranking = vec![ReplicaId(rng.below(3) as u8)];
    let patience = tuning.patience;
    tuning.epochs = EpochTuning {
        founders: n,
        places,
        order: *rng.pick(&ORDERS),
        timing: Timing {
            behind: Span(patience.0 * rng.between(50, 600) / 100),
            retell: Span(patience.0 * rng.between(50, 300) / 100),
            linger: Span(patience.0 * rng.between(50, 2_000) / 100),
        },
        watch: None,
    };
    setup.tuning = tuning;
}

fn draw_watch(patience: Span, rng: &mut Rng) -> Option<Watch> {
    rng.percent(ADAPTIVE_PERCENT).then(|| Watch {
        every: Span(patience.0 * rng.between(20, 200) / 100),
        confirm: rng.between(1, 4) as u32,
        stay: Span(patience.0 * rng.between(0, 2_000) / 100),
    })
}

fn draw_changes(setup: &mut Setup, rng: &mut Rng) {
    let every = setup.safety_us / rng.between(3, 10);
    let mut at_us = rng.below(every + 1);
    while at_us < setup.safety_us * 95 / 100 {
        let change = match rng.below(12) {
            0 | 1 => Change::Add,
            2 => Change::AddTwo,
            3 => Change::Remove,
            4 => Change::RemoveTwo,
            5 => Change::Replace,
            6 | 7 => Change::LoseDisk,
            8 => Change::Reseal,
            _ => Change::Switch(*rng.pick(&ORDERS)),
        };
        setup.changes.push(PlannedChange { at_us, change, choice: rng.below(1 << 20) });
        // Sometimes two operators want something at once.
        at_us += if rng.percent(25) { rng.below(50_000) } else { rng.below(2 * every) };
    }
}
