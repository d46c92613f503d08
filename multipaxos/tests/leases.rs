//! Lease reads: without a message at the leader, and never stale while clocks are as good as
//! stated. With clocks that are worse they can be: the bound matters.

mod net;

use std::panic::{AssertUnwindSafe, catch_unwind};

use net::Action;
use net::scenarios::{
    cluster, grantor_restarts, grantor_restarts_with, leader_cut_off, part, quiet, write_and_read,
};
use net::swarm::MS;
use panchayat_consensus::Span;
use panchayat_multipaxos::{Lease, Way};

#[test]
fn the_leader_reads_without_a_message_and_others_in_one_round_trip() {
    let mut world = cluster(3, quiet(3), |config| {
        config.lease = Some(Lease { span: Span::from_ms(400), clock_error_ppm: 500 });
    });
    world.start();
    world.run_until(300 * MS);
    for (reader, took) in [(0, 0), (1, 10 * MS), (2, 10 * MS)] {
        world.reads_served.clear();
        world.read(reader, Way::Lease);
        world.run_until(world.now + 50 * MS);
        assert_eq!(world.reads_served[&Way::Lease], [took], "at replica {reader}");
    }
    for (reader, level) in [(0, Way::Index), (1, Way::Quorum), (2, Way::Quorum)] {
        world.reads_served.clear();
        world.read(reader, level);
        world.run_until(world.now + 50 * MS);
        assert_eq!(world.reads_served[&level], [10 * MS], "{level:?} at replica {reader}");
    }
}

/// A command is answered in its city before the leader knows that it is chosen; a read at the
/// leader waits for it all the same.
#[test]
fn a_read_waits_for_what_the_leader_has_proposed() {
    let mut world = cluster(3, quiet(3), |config| {
        config.lease = Some(Lease { span: Span::from_ms(400), clock_error_ppm: 500 });
    });
    world.start();
    world.run_until(300 * MS);
    world.reads_served.clear();
    write_and_read(&mut world, 1, 0, 100 * MS);
    world.run_until(world.now + 50 * MS);
    let waits = &world.reads_served[&Way::Lease];
    assert_eq!(waits.len(), 10);
    assert!(waits.iter().any(|wait| *wait > 0), "some came while a command was on its way");
}

#[test]
fn a_restarted_grantor_waits_a_lease_out() {
    let world = grantor_restarts(|_| {});
    assert!(world.count("held_by_lease") > 0);
    assert_eq!(world.count("elections_won"), 2);
    assert!(!world.reads_served[&Way::Lease].is_empty());
}

/// The leader's clock as slow as is stated, its grantors' as fast, and one of them restarts.
#[test]
fn a_restarted_grantor_with_the_fastest_clock_waits_long_enough_for_the_slowest_leader() {
    for ppm in [[-500, 500, 500], [500, -500, -500], [-500, 500, -500]] {
        let world = grantor_restarts_with(ppm, |_| {});
        assert!(world.count("held_by_lease") > 0, "{ppm:?}");
        assert!(!world.reads_served[&Way::Lease].is_empty(), "{ppm:?}");
    }
}

/// A read has its slot from one leader and is answered under the next: at whatever moment the first
/// dies or is cut off between the two, it misses nothing. So do those that the old one still answers.
#[test]
fn a_leader_lost_at_any_moment_between_a_reads_slot_and_its_answer_makes_none_stale() {
    let mut served = 0;
    for (lost_after, dies) in (0..40).flat_map(|ms| [(ms, false), (ms, true)]) {
        let mut world = cluster(3, quiet(3), |config| {
            config.lease = Some(Lease { span: Span::from_ms(200), clock_error_ppm: 500 });
            config.timing.election_timeout = Span::from_ms(100);
        });
        world.start();
        world.run_until(300 * MS);
        assert_eq!(world.leader(), Some(0));
        let lost_at = world.now + lost_after * MS;
        let end = lost_at + 900 * MS;
        let mut lost = false;
        while world.now < end {
            if !lost && world.now >= lost_at {
                lost = true;
                match dies {
                    true => world.act(Action::Crash(0)),
                    false => {
                        part(&mut world, 0, 1);
                        part(&mut world, 0, 2);
                    }
                }
            }
            // Forwarded by one that the leader hears, and again to the next leader.
            world.propose(1);
            world.propose(2);
            for node in 0..3 {
                for way in [Way::Lease, Way::Index, Way::Quorum] {
                    world.read(node, way);
                }
            }
            world.run_until(world.now + 3 * MS);
        }
        assert_ne!(world.leader(), Some(0), "{lost_after} ms, dies: {dies}");
        world.act(Action::HealAll);
        world.act(Action::Restart(0));
        world.run_until(world.now + 700 * MS);
        served += world.reads_served.values().map(Vec::len).sum::<usize>();
    }
    assert!(served > 10_000, "only {served} reads were answered");
}

/// A leader that was stopped forgives the others their silence, but its lease has run out meanwhile:
/// what it is asked first when it comes back is not answered from before.
#[test]
fn a_leader_that_was_stopped_has_no_lease_from_before() {
    let mut replaced = 0;
    for stopped in (20..1_500).step_by(20) {
        let mut world = cluster(3, quiet(3), |config| {
            config.lease = Some(Lease { span: Span::from_ms(200), clock_error_ppm: 500 });
            config.timing.election_timeout = Span::from_ms(100);
        });
        world.start();
        world.run_until(300 * MS);
        assert_eq!(world.leader(), Some(0));
        let back_at = world.now + stopped * MS;
        // Before anything that waits for it.
        world.at(back_at, Action::Read(0, Way::Lease));
        world.act(Action::Pause(0, stopped * MS));
        while world.now < back_at + 300 * MS {
            world.propose(1);
            world.read(0, Way::Lease);
            world.run_until(world.now + 10 * MS);
        }
        replaced += u64::from(world.leader() != Some(0));
        assert!(world.reads_served.contains_key(&Way::Lease) || world.leader() != Some(0));
    }
    assert!(replaced > 10, "only {replaced} were replaced meanwhile");
}

#[test]
fn no_lease_read_is_stale_while_clocks_keep_within_the_bound() {
    for ppm in [-500, 0, 500] {
        let world = leader_cut_off(ppm, |_| {});
        assert!(!world.reads_served[&Way::Lease].is_empty(), "{ppm} ppm");
        assert!(world.count("held_by_lease") > 0, "{ppm} ppm: the lease was what held them back");
    }
}

#[test]
fn with_a_clock_beyond_the_bound_a_lease_read_is_stale() {
    let run = catch_unwind(AssertUnwindSafe(|| leader_cut_off(-800_000, |_| {})));
    let panic = run.expect_err("a clock at a fifth of its rate goes unnoticed");
    let text = panic.downcast_ref::<String>().expect("a check's message");
    assert!(text.contains("stale Lease read") || text.contains("hold the lease"), "{text}");
}

#[test]
fn without_a_stated_bound_there_are_no_lease_reads() {
    let mut world = cluster(3, quiet(3), |_| {});
    world.start();
    world.run_until(300 * MS);
    world.read(0, Way::Lease);
    assert_eq!((world.reads_refused, world.reads_served.len()), (1, 0));
}
