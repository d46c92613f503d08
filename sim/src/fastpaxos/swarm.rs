//! The swarm for Fast Paxos: what every protocol's runs have, coordinators in trouble, and
//! proposers who meet.

use panchayat_consensus::{ReplicaId, Span};
use panchayat_fastpaxos::{FastQuorums, ModeRules, Slots};

use super::tuning::FastTuning;
use crate::fault::{Class, CrashPoint, Fault, Planned, isolate, occurrence};
use crate::rng::Rng;
use crate::setup::{Setup, rtt_max};
use crate::subject::Tuning;

/// Runs that are all about coordinators, in a hundred.
const COORDINATORS_PERCENT: u64 = 30;
/// Runs in which little goes wrong and proposers meet, in a hundred.
const MEETINGS_PERCENT: u64 = 30;
/// Runs with other quorums than the default ones, in a hundred.
const FLEXIBLE_PERCENT: u64 = 30;
/// Coordinators are heard of no more often than this: heartbeats would be all there is.
const HEARTBEAT_MIN_US: u64 = 5_000;
/// And no less often, so that a run has room for several elections.
const HEARTBEAT_MAX_US: u64 = 80_000;
/// Of the states on their way, those whose sender is suspected for a moment, in a hundred.
const DOUBT_PERCENT: u64 = 60;

/// The run of a seed.
pub(super) fn draw(seed: u64, n: usize) -> Setup {
    let mut setup = Setup::draw_common(seed, n);
    setup.doubt_percent = DOUBT_PERCENT;
    let rng = &mut Rng::new(seed, "log");
    let profile = rng.below(100);
    if (COORDINATORS_PERCENT..COORDINATORS_PERCENT + MEETINGS_PERCENT).contains(&profile) {
        let_proposers_meet(&mut setup, rng);
    }
    let rtt = rtt_max(&setup.delays_us);
    setup.tuning = Tuning::draw(Span(rtt.max(HEARTBEAT_MIN_US)), rng);
    draw_log(rtt, &mut setup.tuning, rng);
    setup.tuning.fast = draw_fast(n, rtt, setup.tuning.log.election_timeout, rng);
    if profile < COORDINATORS_PERCENT {
        trouble_coordinators(&mut setup, rng);
    }
    for _ in 0..rng.between(1, 3) {
        let at_us = rng.below(setup.safety_us * 9 / 10);
        setup.plan.push(coordinator_fault(n, at_us, rng));
    }
    let quorums = super::quorums(n, &setup.tuning);
    setup.down_max = n - quorums.q1().max(quorums.classic());
    if setup.down_max == 0 {
        // A replica that is gone for good would be missed for good.
        setup.plan.retain(|planned| !matches!(planned.fault, Fault::BitFlip { .. }));
    }
    setup.plan.sort_by_key(|planned| planned.at_us);
    setup
}

fn draw_log(rtt_us: u64, tuning: &mut Tuning, rng: &mut Rng) {
    let heartbeat = rng.between(rtt_us / 3 + 1, 2 * rtt_us);
    let heartbeat = heartbeat.clamp(HEARTBEAT_MIN_US, HEARTBEAT_MAX_US);
    let log = &mut tuning.log;
    log.heartbeat_interval = Span(heartbeat);
    log.election_timeout = Span(heartbeat * rng.between(3, 8));
    log.catch_up_delay = Span(rng.between(rtt_us / 4 + 1, 2 * rtt_us));
    log.span_max = *rng.pick(&[8, 1 << 20, 1 << 20]);
    log.window_slots_max = *rng.pick(&[4, 16, 64, 1 << 16]);
    log.batch_bytes_max = *rng.pick(&[250, 600, 1 << 20]);
}

pub(crate) fn draw_fast(
    n: usize,
    rtt_us: u64,
    election_timeout: Span,
    rng: &mut Rng,
) -> FastTuning {
    let flexible = draw_quorums(n, rng);
    let first = ReplicaId(rng.below(n as u64) as u8);
    FastTuning {
        quorums: rng.percent(FLEXIBLE_PERCENT).then_some(flexible),
        ranking: vec![first],
        slots: *rng.pick(&[Slots::ByArrival, Slots::ByArrival, Slots::NextFree]),
        mode: ModeRules {
            collisions_percent: *rng.pick(&[5, 25, 25, 60, 101]),
            window: *rng.pick(&[4, 16, 64]),
            classic_min: Span(election_timeout.0 * rng.between(50, 400) / 100),
        },
        settle_delay: Span(rtt_us * rng.between(50, 300) / 100 + 1_000),
        arrival_wait_max: Span(rtt_us * rng.between(20, 200) / 100 + 1),
        known_max: *rng.pick(&[24, 100, 1 << 18]),
        known_bytes_max: *rng.pick(&[20_000, 1 << 20, 128 << 20]),
    }
}

/// Any that meet: the two kinds of rounds as they come, and then as few promises as that allows.
fn draw_quorums(n: usize, rng: &mut Rng) -> (usize, usize, usize) {
    let fast = rng.between(n as u64 / 2 + 1, n as u64) as usize;
    let classic = rng.between(1, n as u64) as usize;
    let q1 = (n + 1 - classic).max(2 * n + 1 - 2 * fast);
    match FastQuorums::new(n, q1, fast, classic) {
        Ok(_) => (q1, fast, classic),
        Err(_) => (n, n, classic),
    }
}

/// Turns this run into one about fast rounds: members are there most of the time, and proposals
/// from everywhere meet, are lost or reach only some.
fn let_proposers_meet(setup: &mut Setup, rng: &mut Rng) {
    let n = setup.replicas();
    let (low, high) = *rng.pick(&[(1_000, 4_000), (4_000, 20_000)]);
    for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b) {
        setup.delays_us[a][b] = rng.between(low, high);
    }
    let rtt = rtt_max(&setup.delays_us);
    setup.suspicion_us = rng.between(2 * rtt, 6 * rtt).max(40_000);
    setup.heartbeat_us = setup.suspicion_us / 4;
    setup.workload.think_us = rng.octaves(rtt / 4, 8 * rtt);
    let calm = setup.workload.think_us / 2 + 2 * rtt;
    let clients = (setup.workload.clients_per_replica * n) as u64;
    setup.safety_us = (u64::from(setup.workload.commands) * calm / clients).max(1_500_000);
    setup.plan.clear();
    for _ in 0..rng.between(3, 6) {
        let at_us = rng.below(setup.safety_us * 9 / 10);
        let us = rng.octaves(rtt, 16 * rtt);
        let replica = rng.below(n as u64) as usize;
        // A command, or the votes for it, that reach only some.
        let label = rng.below(2) as usize;
        let receivers = rng.between(1, n as u64 - 2) as u32;
        let fault = match rng.below(3) {
            0 => Fault::Mute { replica, label, receivers, us },
            1 => Fault::Spike { links: isolate(n, replica), extra_us: rng.below(rtt), us: 4 * us },
            _ => {
                let point = CrashPoint::Sent { label, receivers };
                Fault::Crash { replica, point, down_us: us }
            }
        };
        setup.plan.push(Planned { at_us, fault });
    }
    setup.plan.append(&mut occurrence(Class::Crash, n, rng.below(setup.safety_us / 2), rng));
    for planned in &mut setup.plan {
        planned.fault.shorten(20 * rtt);
    }
}

/// Turns this run into one about coordinators: again and again whoever coordinates dies, is cut off,
/// stops or is slow, often with something that reached few.
fn trouble_coordinators(setup: &mut Setup, rng: &mut Rng) {
    let n = setup.replicas();
    setup.plan.clear();
    for _ in 0..rng.between(6, 14) {
        let at_us = rng.below(setup.safety_us * 9 / 10);
        setup.plan.push(coordinator_fault(n, at_us, rng));
    }
    for _ in 0..rng.between(0, 3) {
        let class = *rng.pick(&[Class::CrashMany, Class::Isolate, Class::Split, Class::Strand]);
        let at_us = rng.below(setup.safety_us * 9 / 10);
        setup.plan.append(&mut occurrence(class, n, at_us, rng));
    }
    setup.plan.append(&mut occurrence(Class::Crash, n, rng.below(setup.safety_us / 2), rng));
    let longest_us = rng.between(50_000, 1_000_000);
    for planned in &mut setup.plan {
        planned.fault.shorten(longest_us);
    }
}

fn coordinator_fault(n: usize, at_us: u64, rng: &mut Rng) -> Planned {
    let replica = rng.below(n as u64) as usize;
    let us = rng.octaves(20_000, 2_000_000);
    // What a coordinator sends: Propose and Votes like all, Accept, Prepare, Close, Heartbeat.
    let label = *rng.pick(&[0, 1, 2, 2, 3, 5, 6]);
    let receivers = rng.between(1, (n as u64 / 2).max(2)) as u32;
    let fault = match rng.below(10) {
        0..=2 => {
            let point = CrashPoint::Sent { label, receivers };
            Fault::Crash { replica, point, down_us: us }
        }
        3 => {
            let point = CrashPoint::After(rng.octaves(1, 40) as u32 - 1);
            Fault::Crash { replica, point, down_us: us }
        }
        4 | 5 => Fault::Cut { links: isolate(n, replica), us },
        6 => Fault::Mute { replica, label, receivers, us },
        7 => Fault::Pause { replica, us },
        8 => Fault::Slow { replica, turn_us: rng.octaves(200, 30_000), us },
        _ => Fault::SlowDisk { replica, sync_us: rng.octaves(2_000, 200_000), us },
    };
    Planned { at_us, fault: Fault::OfLeader(Box::new(fault)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_draws_a_configuration_that_can_start() {
        for seed in 0..2_000 {
            for n in [3, 4, 5, 7] {
                let setup = draw(seed, n);
                assert!(setup.plan.len() >= 5, "seed {seed}");
                let seat = crate::subject::Seat {
                    replica: ReplicaId(0),
                    quorums: setup.quorums,
                    seed,
                    tuning: &setup.tuning,
                    mistake: None,
                };
                let config = <panchayat_fastpaxos::FastPaxos as crate::Subject>::config(&seat);
                assert_eq!(config.check(), Ok(()), "seed {seed}");
            }
        }
    }
}
