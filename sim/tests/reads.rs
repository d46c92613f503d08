//! Queries past the log: what is answered misses nothing, and takes the time it should.

use panchayat_consensus::{ReadLevel, Span};
use panchayat_epaxos::EPaxos;
use panchayat_multipaxos::{Lease, MultiPaxos, Placement};
use panchayat_sim::{Coverage, Setup, Subject, run_setup};

/// Runs the seeds with many queries; none may find anything.
fn with_queries<P: Subject>(seeds: u64, replicas: usize) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in 0..seeds {
        let mut setup = P::draw(seed, replicas);
        ask_much(&mut setup);
        let report = run_setup::<P>(seed, setup, false);
        assert_eq!(report.violation, None, "seed {seed}");
        coverage.merge(&report.coverage);
    }
    coverage
}

fn ask_much(setup: &mut Setup) {
    setup.workload.query_percent = 80;
    setup.workload.read_percent = 50;
    setup.workload.kinds = [1, 1, 0];
}

#[test]
fn reads_of_epaxos_miss_nothing() {
    for replicas in [3, 5] {
        let coverage = with_queries::<EPaxos>(40, replicas);
        for name in [
            "quorum_reads",
            "reads_ordered",
            "reads_linearizable",
            "reads_stale",
            "reads_without_lease",
        ] {
            assert!(coverage.get(name) > 0, "{name} never happened at {replicas} replicas");
        }
        assert_eq!(coverage.get("reads_lease"), 0);
    }
}

/// A lease read at the leader takes no time at all; any other takes a round trip.
#[test]
fn a_lease_read_at_the_leader_waits_for_nobody() {
    let mut setup = Setup::calm(vec![
        vec![0, 10_000, 10_000],
        vec![10_000, 0, 10_000],
        vec![10_000, 10_000, 0],
    ]);
    let log = &mut setup.tuning.log;
    log.placement = Placement::Pinned(panchayat_consensus::ReplicaId(0));
    log.lease = Some(Lease { span: Span::from_ms(400), clock_error_ppm: 500 });
    setup.workload.clients_per_replica = 1;
    setup.workload.commands = 600;
    setup.workload.kinds = [0, 1, 0];
    setup.workload.read_percent = 100;
    setup.workload.query_percent = 100;
    setup.workload.think_us = 5_000;
    setup.workload.timeout_us = 1_000_000;
    setup.safety_us = 4_000_000;
    let report = run_setup::<MultiPaxos>(1, setup, false);
    assert_eq!(report.violation, None);
    // Once somebody leads and holds the lease.
    let settled = report.readings.iter().filter(|reading| reading.asked_us > 500_000);
    let (mut free, mut paid) = (0, 0);
    for reading in settled {
        let took = reading.answered_us - reading.asked_us;
        let leads = reading.replica.0 == 0;
        match reading.level {
            ReadLevel::Lease if leads => {
                assert_eq!(took, 0);
                free += 1;
            }
            ReadLevel::Lease => {
                assert_eq!(took, 20_000);
                paid += 1;
            }
            ReadLevel::Linearizable => {
                // Confirmed by the next heartbeat that is answered, one round trip at most after
                // one that was under way; from elsewhere the way to the leader and back besides.
                let most = if leads { 40_000 } else { 60_000 };
                assert!((20_000..=most).contains(&took), "{reading:?}");
            }
            ReadLevel::Stale { .. } => assert!(took <= 60_000, "{reading:?}"),
        }
    }
    assert!(free > 20 && paid > 20, "{free} lease reads at the leader, {paid} elsewhere");
}
