//! A short long life: the run of `examples/long_life.rs` in small. What the others keep is bounded
//! while members are dead, and those who were dead come back as what they would have become.

#[path = "../examples/long_life/mod.rs"]
mod life;

use life::{Plan, Report};
use panchayat_consensus::Span;

fn small(replicas: usize) -> Plan {
    Plan {
        per_second: 4_000,
        before: 6_000,
        dead_for: 40_000,
        after: 14_000,
        keys: 20_000,
        retention: Span::from_ms(2_000),
        retained_max: 4_000,
        snapshot_journal_bytes: 3 << 20,
        row_every: 10_000,
        ..Plan::years(replicas)
    }
}

fn lived(plan: &Plan) -> Report {
    println!("{}", life::head());
    let report = life::run(plan, &mut |row| println!("{}\n{}", row.text(), row.json()));
    println!("{}\n{}", report.text(), report.json());
    report.check(plan).unwrap();
    report
}

#[test]
fn what_is_kept_is_bounded_while_members_are_dead_and_they_come_back_within_seconds() {
    for replicas in [3, 5] {
        let plan = small(replicas);
        let report = lived(&plan);
        let attempts = plan.before + plan.dead_for + plan.after;
        assert!(report.executed >= attempts, "{} of {attempts}", report.executed);
        assert_eq!((report.fates.overloaded, report.restarted), (0, replicas));
        assert!(report.fates.duplicates > 0, "retries were to be recognized");
        assert_eq!(report.fates.unknown, 0);
        // Without collection past the dead all of it would be kept: ten times the limit.
        assert!(report.largest.retained < 3 * plan.retained_max as u64);
        assert_eq!(report.returns.len(), plan.quorums().f());
        for back in &report.returns {
            assert!(back.executed > 0, "{back:?}: its old disk was to be of use");
            assert!(back.arrived_us.is_some(), "{back:?}: it had missed too much for less");
        }
        let current_us = report.current_us().expect("all are current");
        assert!(current_us < 5_000_000, "current only after {current_us} us");
        // The table shrinks once every lane speaks again.
        let sessions = |row: Option<&life::Row>| row.map(|row| row.sizes.sessions);
        let dead = report.rows.iter().rfind(|row| row.absent != "-");
        assert!(sessions(report.rows.last()) < sessions(dead));
    }
}

#[test]
fn a_member_that_has_nothing_takes_over_a_large_state_while_commands_go_on() {
    let large = Plan::large_state(3, 24);
    let (before, state_mib, restart_all) = (large.before, large.state_mib, large.restart_all);
    let plan = Plan { before, state_mib, restart_all, dead_for: 12_000, after: 6_000, ..small(3) };
    let report = lived(&plan);
    let [back] = &report.returns[..] else { panic!("one returns") };
    assert!(back.state_bytes > 24 << 20);
    let p99 = |phase: life::Phase| report.latency[phase as usize].per_mille(990);
    assert!(report.latency[life::Phase::Returning as usize].count() > 1_000);
    assert!(p99(life::Phase::Returning) < 2 * p99(life::Phase::After));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let plan = Plan { before: 2_000, dead_for: 8_000, after: 3_000, ..small(3) };
    let (one, other) = (lived(&plan), lived(&plan));
    assert_eq!(one.state_hashes, other.state_hashes);
    assert_eq!(one.virtual_us, other.virtual_us);
    let counts = |report: &Report| report.latency.iter().map(life::Histogram::count).sum::<u64>();
    assert_eq!(counts(&one), counts(&other));
}
