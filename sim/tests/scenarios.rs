//! One fault class at a time, in directed scenarios over three and five cities.

use bytes::Bytes;
use panchayat_consensus::{ReplicaId, ReplicaSet};
use panchayat_core::kv::{KvCommand, KvOp};
use panchayat_epaxos::EPaxos;
use panchayat_sim::fault::{CrashPoint, Fault, Planned, isolate, split};
use panchayat_sim::{
    ClientEventKind, Exact, Keep, Report, Setup, SyncTime, Weather, Workload, run_setup,
};

const MS: u64 = 1_000;

/// `n` cities 10 ms apart, with a steady load on few keys and heartbeats.
fn cities(n: usize) -> Setup {
    let row = |a: usize| (0..n).map(|b| if a == b { 0 } else { 10 * MS }).collect();
    let mut setup = Setup::calm((0..n).map(row).collect());
    setup.heartbeat_us = 50 * MS;
    setup.suspicion_us = 200 * MS;
    setup.safety_us = 4_000 * MS;
    setup.disks = vec![SyncTime::constant(200); n];
    setup.keeps = Keep::ALL.to_vec();
    setup.workload = Workload {
        clients_per_replica: 2,
        commands: 300,
        keys: 8,
        kinds: [2, 2, 1],
        read_percent: 20,
        transaction_percent: 20,
        think_us: 50 * MS,
        timeout_us: 1_000 * MS,
        ..Workload::none()
    };
    setup
}

fn during(mut setup: Setup, faults: impl IntoIterator<Item = (u64, Fault)>) -> Setup {
    setup.plan = faults.into_iter().map(|(at_us, fault)| Planned { at_us, fault }).collect();
    setup
}

fn must_hold(name: &str, setup: Setup) -> Report {
    let report = run_setup::<EPaxos>(7, setup, false);
    if let Some(violation) = &report.violation {
        panic!("{name}: {violation}");
    }
    assert_eq!(report.commands, 300, "{name}");
    report
}

/// Answers given by `replica` between two times.
fn answers(report: &Report, replica: u8, from_us: u64, to_us: u64) -> usize {
    let of = report.history.iter().filter(|event| event.replica == ReplicaId(replica));
    of.filter(|event| (from_us..to_us).contains(&event.at_us))
        .filter(|event| matches!(event.kind, ClientEventKind::Return(_)))
        .count()
}

fn set(replicas: &[u8]) -> ReplicaSet {
    replicas.iter().map(|replica| ReplicaId(*replica)).collect()
}

#[test]
fn nothing_wrong_and_everything_is_answered() {
    for n in [3, 4, 5, 7] {
        let report = must_hold("calm", cities(n));
        assert_eq!(report.acknowledged, 300);
        assert_eq!(report.coverage.get("unknown"), 0);
        assert_eq!(report.coverage.get("recoveries"), 0, "n = {n}: nothing was to recover");
    }
}

#[test]
fn two_cities_against_one() {
    let cut = Fault::Cut { links: isolate(3, 2), us: 2_000 * MS };
    let report = must_hold("two against one", during(cities(3), [(500 * MS, cut)]));
    // What was in flight may still settle in the first round trip.
    let (from, to) = (540 * MS, 2_500 * MS);
    assert!(answers(&report, 0, from, to) > 10, "the majority goes on");
    assert_eq!(answers(&report, 2, from, to), 0, "the minority answers nothing");
    assert!(answers(&report, 2, to, 60_000 * MS) > 0, "and heals by itself");
}

#[test]
fn a_two_two_one_split_commits_nothing_and_heals() {
    let links = split(5, &[set(&[0, 1]), set(&[2, 3])]);
    let cut = Fault::Cut { links, us: 1_500 * MS };
    let report = must_hold("2/2/1", during(cities(5), [(500 * MS, cut)]));
    for replica in 0..5 {
        assert_eq!(answers(&report, replica, 540 * MS, 2_000 * MS), 0, "r{replica}");
        assert!(answers(&report, replica, 2_000 * MS, 60_000 * MS) > 0, "r{replica}");
    }
}

#[test]
fn one_way_loss() {
    for link in [(0, 1), (1, 0), (2, 0)] {
        let cut = Fault::Cut { links: vec![link], us: 3_000 * MS };
        let report = must_hold("one-way loss", during(cities(3), [(300 * MS, cut)]));
        let all: usize = (0..3).map(|r| answers(&report, r, 400 * MS, 3_300 * MS)).sum();
        assert!(all > 50, "one lost direction of {link:?} leaves majorities: {all} answers");
    }
}

#[test]
fn rolling_restart_of_all() {
    for n in [3, 5] {
        let crash = |replica| Fault::Crash {
            replica,
            point: CrashPoint::After(replica as u32),
            down_us: 300 * MS,
        };
        let faults = (0..n).map(|replica| (500 * MS + replica as u64 * 600 * MS, crash(replica)));
        let report = must_hold("rolling restart", during(cities(n), faults));
        assert_eq!(report.crashes as usize, n + n, "each once, and all in the durability scan");
    }
}

#[test]
fn everyone_dies_at_once_and_nothing_answered_is_lost() {
    for keep in Keep::ALL {
        let point = CrashPoint::After(3);
        let crash = |replica| (900 * MS, Fault::Crash { replica, point, down_us: 100 * MS });
        let mut setup = during(cities(5), (0..5).map(crash));
        setup.keeps = vec![keep];
        setup.disks = vec![SyncTime { low_us: 100, high_us: 20 * MS }; 5];
        must_hold("power loss", setup);
    }
}

#[test]
fn a_coordinator_dies_between_its_messages() {
    for label in 0..5 {
        for receivers in [1, 2] {
            let point = CrashPoint::Sent { label, receivers };
            let crash = Fault::Crash { replica: 0, point, down_us: 1_500 * MS };
            must_hold("coordinator dies", during(cities(5), [(700 * MS, crash)]));
        }
    }
}

#[test]
fn a_coordinator_falls_silent_but_hears() {
    for label in [0, 2, 4] {
        let mute = |replica| Fault::Mute { replica, label, receivers: 1, us: 800 * MS };
        must_hold("mute", during(cities(5), [(700 * MS, mute(0)), (705 * MS, mute(1))]));
    }
}

#[test]
fn every_other_class_alone() {
    let links = vec![(0, 1), (1, 2), (2, 0)];
    let weather = Weather {
        jitter_percent: 300,
        loss_ppm: 200_000,
        duplicate_ppm: 200_000,
        reorder_ppm: 200_000,
        ..Weather::default()
    };
    let us = 1_500 * MS;
    let flap = |turn: u64| {
        let fault = Fault::Cut { links: vec![(0, 1), (1, 0)], us: 50 * MS };
        (500 * MS + turn * 100 * MS, fault)
    };
    must_hold("flapping link", during(cities(3), (0..15).map(flap)));
    for (name, fault) in [
        ("pause", Fault::Pause { replica: 1, us }),
        ("slow replica", Fault::Slow { replica: 1, turn_us: 30 * MS, us }),
        ("storm", Fault::Storm { weather, us }),
        ("spike", Fault::Spike { links: links.clone(), extra_us: 300 * MS, us }),
        ("clog", Fault::Clog { links, us }),
        ("slow disk", Fault::SlowDisk { replica: 0, sync_us: 150 * MS, us }),
        ("sync error", Fault::SyncError { replica: 2, down_us: 400 * MS }),
        ("bit flip", Fault::BitFlip { replica: 1 }),
        ("clock forward", Fault::ClockJump { replica: 0, by_us: 3_600_000 * MS as i64 }),
        ("clock backward", Fault::ClockJump { replica: 0, by_us: -3_600_000 * MS as i64 }),
    ] {
        // A restart before, so that a bit flip finds something that is known to be synced.
        let point = CrashPoint::Synced;
        let restart = Fault::Crash { replica: 1, point, down_us: 10 * MS };
        let report = must_hold(name, during(cities(3), [(300 * MS, restart), (900 * MS, fault)]));
        assert_eq!(report.coverage.get("refused_journals") > 0, name == "bit flip", "{name}");
    }
}

#[test]
fn a_slow_replica_that_answers_heartbeats_is_not_suspected() {
    let slow = Fault::Slow { replica: 1, turn_us: 150 * MS, us: 3_000 * MS };
    let report = must_hold("load is not death", during(cities(3), [(300 * MS, slow)]));
    assert_eq!(report.coverage.get("suspicions"), 0);
}

#[test]
fn two_of_five_are_down_for_maintenance_when_a_third_dies() {
    let crash = |replica, at_us, down_us| {
        (at_us, Fault::Crash { replica, point: CrashPoint::After(0), down_us })
    };
    let faults = [
        crash(3, 500 * MS, 2_500 * MS),
        crash(4, 500 * MS, 2_500 * MS),
        crash(2, 1_500 * MS, 500 * MS),
    ];
    let mut setup = during(cities(5), faults);
    setup.safety_us = 3_500 * MS;
    let report = must_hold("a third dies", setup);
    let alive = |from, to| answers(&report, 0, from, to) + answers(&report, 1, from, to);
    assert!(alive(800 * MS, 1_500 * MS) > 0, "three of five go on");
    assert_eq!(alive(1_560 * MS, 2_000 * MS), 0, "two of five do not");
    assert!(alive(2_000 * MS, 3_000 * MS) > 0, "the third comes back, from its disk");
}

#[test]
fn f_stay_down_and_the_rest_settles() {
    let mut setup = cities(5);
    setup.down = set(&[1, 4]);
    let report = must_hold("two stay down", setup);
    assert!(report.acknowledged >= 250, "{} answers", report.acknowledged);
}

#[test]
fn too_many_down_is_found_by_the_liveness_check() {
    // With three of five out for good nothing can settle: the check must say so.
    let flip = |replica| {
        [
            (300 * MS, Fault::Crash { replica, point: CrashPoint::Synced, down_us: 10 * MS }),
            (900 * MS, Fault::BitFlip { replica }),
        ]
    };
    let mut setup = during(cities(5), [0, 1, 2].into_iter().flat_map(flip));
    setup.plan.sort_by_key(|planned| planned.at_us);
    setup.liveness_us = 5_000 * MS;
    let violation = run_setup::<EPaxos>(7, setup, false).violation.expect("nothing can settle");
    assert_eq!(violation.flaw.invariant, panchayat_sim::Invariant::Liveness);
}

#[test]
fn a_long_chain_of_conflicts_executes_in_time() {
    let put = || KvCommand::One(KvOp::Mix { key: Bytes::from_static(b"m0"), salt: Bytes::new() });
    let matrix = vec![vec![0, 10_000, 10_000], vec![10_000, 0, 10_000], vec![10_000, 10_000, 0]];
    let mut script = Exact::new(matrix);
    for number in 0..300 {
        script = script.propose(1_000 + number * 700, (number % 3) as usize, put());
    }
    let outcomes = script.run::<EPaxos>().unwrap();
    assert_eq!(outcomes.len(), 300);
    let slowest = outcomes.iter().map(|outcome| outcome.execute_us).max();
    assert!(slowest.is_some_and(|us| us < 1_000 * MS), "slowest execution took {slowest:?} us");
}
