//! The swarm for Multi-Paxos: what every protocol's runs have, and leaders in trouble.

use panchayat_consensus::{ReplicaId, Span};
use panchayat_multipaxos::{Confirmation, Learning, Lease, Placement};

use super::tuning::LogTuning;
use crate::fault::{Class, CrashPoint, Fault, Planned, isolate, occurrence};
use crate::rng::Rng;
use crate::setup::{Setup, rtt_max};
use crate::subject::Tuning;

/// Runs that are all about leaders, in a hundred.
const LEADERS_PERCENT: u64 = 40;
/// Runs with quorums other than majorities, in a hundred.
const FLEXIBLE_PERCENT: u64 = 30;
/// Of the runs with leases, those that are about leases, in a hundred.
const LEASES_PERCENT: u64 = 30;
/// Leaders are heard of no more often than this: heartbeats would be all there is.
pub(crate) const HEARTBEAT_MIN_US: u64 = 5_000;
/// And no less often, so that a run has room for several elections.
const HEARTBEAT_MAX_US: u64 = 80_000;
/// Clocks of the swarm are never more wrong than this.
const CLOCK_ERROR_PPM: u32 = 20_000;
/// Of the states on their way, those whose sender is suspected for a moment, in a hundred.
const DOUBT_PERCENT: u64 = 60;

/// The run of a seed.
pub(super) fn draw(seed: u64, n: usize) -> Setup {
    let mut setup = Setup::draw_common(seed, n);
    setup.doubt_percent = DOUBT_PERCENT;
    let rng = &mut Rng::new(seed, "log");
    let rtt = rtt_max(&setup.delays_us);
    setup.tuning = Tuning::draw(Span(rtt.max(HEARTBEAT_MIN_US)), rng);
    setup.tuning.log = draw_log(n, rtt, rng);
    if rng.percent(LEADERS_PERCENT) {
        trouble_leaders(&mut setup, rng);
    }
    for _ in 0..rng.between(1, 3) {
        let at_us = rng.below(setup.safety_us * 9 / 10);
        setup.plan.push(leader_fault(n, at_us, rng));
    }
    let (q1, q2) = setup.tuning.log.quorums.unwrap_or((n / 2 + 1, n / 2 + 1));
    setup.down_max = n - q1.max(q2);
    if setup.down_max == 0 {
        // A replica that is gone for good would be missed for good.
        setup.plan.retain(|planned| !matches!(planned.fault, Fault::BitFlip { .. }));
    }
    draw_reads(&mut setup, &mut Rng::new(seed, "reads"));
    setup.plan.sort_by_key(|planned| planned.at_us);
    setup
}

pub(crate) fn draw_log(n: usize, rtt_us: u64, rng: &mut Rng) -> LogTuning {
    let quorums = rng.percent(FLEXIBLE_PERCENT).then(|| {
        let q2 = rng.between(1, n as u64) as usize;
        (n + 1 - q2, q2)
    });
    let heartbeat = rng.between(rtt_us / 3 + 1, 2 * rtt_us);
    let heartbeat = heartbeat.clamp(HEARTBEAT_MIN_US, HEARTBEAT_MAX_US);
    let election_timeout = Span(heartbeat * rng.between(3, 8));
    let span = Span(election_timeout.0 * rng.pick(&[50, 100, 200, 400]) / 100);
    let span = span.max(Span(heartbeat * 5 / 2));
    let lease = Lease { span, clock_error_ppm: CLOCK_ERROR_PPM };
    let first = ReplicaId(rng.below(n as u64) as u8);
    LogTuning {
        quorums,
        placement: if rng.percent(25) {
            Placement::Pinned(first)
        } else {
            Placement::Ranked(vec![first])
        },
        learning: if rng.percent(15) { Learning::Leader } else { Learning::Origin },
        lease: rng.percent(65).then_some(lease),
        heartbeat_interval: Span(heartbeat),
        election_timeout,
        confirmation: Confirmation::Leader,
        read_timeout: election_timeout.times(4),
        outcome_timeout: election_timeout.times(20),
        catch_up_delay: Span(rng.between(rtt_us / 4 + 1, 2 * rtt_us)),
        span_max: *rng.pick(&[8, 1 << 20, 1 << 20]),
        window_slots_max: *rng.pick(&[4, 16, 64, 1 << 16]),
        window_bytes_max: *rng.pick(&[6_000, 40_000, 1 << 20]),
        batch_bytes_max: *rng.pick(&[250, 600, 1 << 20]),
    }
}

/// How much is read past the log, who vouches for it, and how long who waits is left waiting.
fn draw_reads(setup: &mut Setup, rng: &mut Rng) {
    setup.workload.query_percent = *rng.pick(&[0, 50, 90]);
    if setup.workload.query_percent > 0 {
        setup.workload.read_percent = setup.workload.read_percent.max(rng.between(20, 60));
    }
    let log = &mut setup.tuning.log;
    let through = [Confirmation::Leader, Confirmation::Leader, Confirmation::Quorum];
    log.confirmation = *rng.pick(&through);
    log.read_timeout = Span(log.election_timeout.0 * rng.between(100, 800) / 100);
    log.outcome_timeout = log.election_timeout.times(rng.between(3, 40));
    if log.lease.is_some() && rng.percent(LEASES_PERCENT) {
        trouble_leases(setup, rng);
    }
}

/// Turns this run into one about leases too: they are long, their holder is heard to be alive while
/// nothing it says arrives, and those who granted them start again.
fn trouble_leases(setup: &mut Setup, rng: &mut Rng) {
    let n = setup.replicas();
    let log = &mut setup.tuning.log;
    let span = log.election_timeout.times(rng.between(3, 6));
    log.lease = Some(Lease { span, clock_error_ppm: CLOCK_ERROR_PPM });
    setup.workload.query_percent = 90;
    setup.workload.read_percent = setup.workload.read_percent.max(40);
    for _ in 0..rng.between(3, 6) {
        let at_us = rng.below(setup.safety_us * 9 / 10);
        let replica = rng.below(n as u64) as usize;
        let clog = Fault::Clog { links: isolate(n, replica), us: span.0 };
        setup.plan.push(Planned { at_us, fault: Fault::OfLeader(Box::new(clog)) });
        for behind in 1..n {
            if rng.percent(80) {
                let (point, down_us) = (CrashPoint::After(0), rng.between(500, 5_000));
                let crash = Box::new(Fault::Crash { replica: behind, point, down_us });
                let at_us = at_us + rng.below(span.0 / 4);
                let fault = Fault::OfFollower { behind, fault: crash };
                setup.plan.push(Planned { at_us, fault });
            }
        }
    }
}

/// Turns this run into one about leaders: again and again whoever leads dies, is cut off, stops or
/// is slow, often with a proposal that reached few.
fn trouble_leaders(setup: &mut Setup, rng: &mut Rng) {
    let n = setup.replicas();
    setup.plan.clear();
    for _ in 0..rng.between(6, 14) {
        let at_us = rng.below(setup.safety_us * 9 / 10);
        setup.plan.push(leader_fault(n, at_us, rng));
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

fn leader_fault(n: usize, at_us: u64, rng: &mut Rng) -> Planned {
    let replica = rng.below(n as u64) as usize;
    let us = rng.octaves(20_000, 2_000_000);
    // Kinds of message that a leader sends: Accept, Prepare, Heartbeat.
    let label = *rng.pick(&[0, 0, 0, 2, 4]);
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
                let config = <panchayat_multipaxos::MultiPaxos as crate::Subject>::config(&seat);
                assert_eq!(config.check(), Ok(()), "seed {seed}");
                let drift = setup.drift_ppm.iter().map(|ppm| ppm.unsigned_abs()).max();
                assert!(drift <= Some(u64::from(CLOCK_ERROR_PPM)));
            }
        }
    }
}
