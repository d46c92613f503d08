//! Overload is not death: ten times the load that slow replicas can take costs rejections and
//! waiting, but no election, and what gets through does not become less.

use panchayat_multipaxos::MultiPaxos;
use panchayat_sim::fault::{Fault, Planned};
use panchayat_sim::{Report, Setup, SyncTime, run_setup};
use panchayat_topology::Topology;

/// Clients whose load the replicas can just take.
const CLIENTS: usize = 6;

/// The cities of `set`, where every turn takes 30 ms, `slow_us` after three seconds, and every sync
/// 5 ms: a leader's word comes behind all that waits, while its process is heard by the failure
/// detector. `times` as many clients ask at once, and again as soon as they are told
/// something.
fn run(set: &str, slow_us: u64, times: usize) -> Report {
    let matrix = Topology::builtin().matrix(set).expect("built in");
    let n = matrix.len();
    let delays = (0..n).map(|a| (0..n).map(|b| matrix.one_way_us(a, b)).collect()).collect();
    let mut setup = Setup::calm(delays);
    setup.turn_us = vec![30_000; n];
    setup.disks = vec![SyncTime::constant(5_000); n];
    setup.heartbeat_us = 100_000;
    setup.suspicion_us = 1_000_000;
    setup.tuning.log.window_slots_max = 12;
    setup.tuning.in_flight_max = 4 * CLIENTS;
    setup.workload.clients_per_replica = CLIENTS * times;
    setup.workload.commands = 1_000_000;
    setup.workload.keys = 100;
    setup.workload.timeout_us = 60_000_000;
    // It would restart everyone, which begins with an election.
    setup.durability_scan = false;
    setup.workload.until_us = Some(30_000_000);
    setup.safety_us = 30_000_000;
    for replica in 0..n {
        let fault = Fault::Slow { replica, turn_us: slow_us, us: 27_000_000 };
        setup.plan.push(Planned { at_us: 3_000_000, fault });
    }
    run_setup::<MultiPaxos>(7, setup, false)
}

/// The one election is that at birth.
fn leader_stays(report: &Report, name: &str) {
    let count = |counter| report.coverage.get(counter);
    println!(
        "{name}: {} acknowledged, {} overloaded, {} busy, {} forwarded again",
        report.acknowledged,
        count("overloaded"),
        count("busy"),
        count("forwarded_again"),
    );
    assert_eq!(report.violation, None, "{name}");
    for counter in ["pre_votes", "prepares", "elections_won"] {
        assert_eq!(count(counter), 1, "{name}: {counter}");
    }
    assert_eq!(count("resigned"), 0, "{name}");
}

#[test]
fn ten_times_the_load_costs_no_election_and_no_goodput() {
    for set in ["india3", "india5"] {
        let (easy, hard) = (run(set, 30_000, 1), run(set, 30_000, 10));
        leader_stays(&easy, &format!("{set}, once"));
        leader_stays(&hard, &format!("{set}, ten times"));
        assert!(hard.coverage.get("overloaded") > 1_000, "{set}: that was no overload");
        assert!(hard.acknowledged * 10 > easy.acknowledged * 9, "{set}: goodput fell");
    }
}

/// The leader is heard of later than the election timeout, again and again.
#[test]
fn turns_longer_than_the_election_timeout_cost_no_election() {
    for set in ["india3", "india5"] {
        for turn_us in [300_000, 600_000, 900_000] {
            let report = run(set, turn_us, 10);
            leader_stays(&report, &format!("{set}, {turn_us} us"));
            assert!(report.acknowledged > 0);
        }
    }
}
