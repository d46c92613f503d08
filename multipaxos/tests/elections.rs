//! Who leads, and when that changes.

mod net;

use net::scenarios::{cluster, late_accept, part, quiet};
use net::swarm::MS;
use net::{Action, World};
use panchayat_consensus::{ReplicaId, Span};
use panchayat_multipaxos::{Config, Placement, Timing};

fn running(n: usize, change: impl Fn(&mut Config)) -> World {
    let mut world = cluster(n, quiet(n), change);
    world.start();
    world.run_until(300 * MS);
    assert_eq!(world.leader(), Some(0), "the first in rank stands at birth");
    assert_eq!(world.count("prepares"), 1);
    world
}

#[test]
fn the_first_in_rank_leads_within_three_round_trips_of_birth() {
    let mut world = cluster(5, quiet(5), |config| {
        config.placement = Placement::Ranked(vec![ReplicaId(3)]);
    });
    world.start();
    world.run_until(30 * MS);
    assert_eq!(world.leader(), Some(3));
}

/// With production timeouts over links of 40 ms.
#[test]
fn a_dead_leader_is_replaced_within_two_seconds_and_nothing_is_lost() {
    let mut world = cluster(3, quiet(3), |config| {
        config.timing = Timing::for_rtt(Span::from_ms(40));
    });
    world.weather.one_way.iter_mut().flatten().for_each(|way| *way *= 4);
    world.weather.detector = 500 * MS;
    world.start();
    world.run_until(1_000 * MS);
    assert_eq!(world.leader(), Some(0));
    let end = world.now + 4_000 * MS;
    let died_at = world.now + 1_000 * MS;
    world.at(died_at, Action::Crash(0));
    while world.now < end {
        world.propose(1);
        world.propose(2);
        world.run_until(world.now + 5 * MS);
    }
    assert!(world.run_until_done(world.now + 1_000 * MS, World::is_settled));
    let back = world.answered.iter().filter(|answer| answer.proposed > died_at);
    let back = back.map(|answer| answer.executed).min().expect("service is back");
    println!("service back {} ms after the leader's death", (back - died_at) / MS);
    assert!(back - died_at < 2_000 * MS);
    assert_eq!(world.answered.len(), 2 * 800, "every proposal of the living was answered, once");
}

#[test]
fn an_isolated_replica_that_returns_deposes_nobody() {
    for n in [3, 5] {
        let mut world = running(n, |_| {});
        let promised = world.protocol(0).unwrap().promised();
        for other in 0..n - 1 {
            part(&mut world, n - 1, other);
        }
        for _ in 0..300 {
            world.propose(0);
            world.propose(n - 1);
            world.run_until(world.now + 10 * MS);
        }
        assert!(world.protocol(n - 1).unwrap().in_flight() > 0);
        world.act(Action::HealAll);
        assert!(world.run_until_done(world.now + 1_000 * MS, World::is_settled));
        assert_eq!(world.leader(), Some(0));
        assert_eq!(world.protocol(0).unwrap().promised(), promised, "not even a new ballot");
        assert_eq!(world.count("elections_won"), 1);
        assert_eq!(world.answered.len(), 600);
    }
}

/// The leader's process is busy: messages to and from it take seconds, heartbeats among them, but
/// its process is heard by the failure detector.
#[test]
fn a_slow_leader_is_not_a_dead_one() {
    let mut world = running(3, |_| {});
    for _ in 0..30 {
        // The others hear of it only every 300 ms, twice the election timeout.
        world.weather.one_way[0][1] = 300 * MS;
        world.weather.one_way[0][2] = 300 * MS;
        for _ in 0..10 {
            world.propose(1);
            world.run_until(world.now + 10 * MS);
        }
        world.weather.one_way[0][1] = 5 * MS;
        world.weather.one_way[0][2] = 5 * MS;
    }
    let mut world_after = world;
    assert!(world_after.run_until_done(world_after.now + 2_000 * MS, World::is_settled));
    assert_eq!(world_after.count("pre_votes"), 1, "nobody thought of standing");
    assert_eq!(world_after.leader(), Some(0));
}

/// Ten times what the window lets through: proposals are turned away, the leader stays, and what
/// was not turned away is answered.
#[test]
fn overload_costs_rejections_and_no_election() {
    let mut world = running(3, |config| {
        config.limits.window_slots_max = 8;
        config.limits.in_flight_max = 64;
    });
    let before = world.answered.len();
    for _ in 0..2_000 {
        for node in 0..3 {
            world.propose(node);
            world.propose(node);
        }
        world.run_until(world.now + MS);
    }
    let during = world.answered.len() - before;
    assert!(world.run_until_done(world.now + 3_000 * MS, World::is_settled));
    // 8 slots per round trip of 10 ms, for 2 s.
    assert!(during > 1_200, "goodput {during} of 1600 possible");
    assert!(world.rejected > 8_000, "{} rejected", world.rejected);
    assert_eq!(world.answered.len() as u64 + world.rejected, 12_000);
    assert_eq!((world.count("elections_won"), world.count("resigned")), (1, 0));
    assert_eq!(world.count("pre_votes"), 1);
}

/// A machine that is stopped for a minute with everything on it, or so overloaded that nothing gets to
/// run: nobody was silent, since nobody listened.
#[test]
fn replicas_that_were_all_stopped_go_on_as_they_were() {
    for n in [3, 5] {
        let mut world = running(n, |_| {});
        let promised = world.protocol(0).unwrap().promised();
        for _ in 0..20 {
            // Out of step: each stops in the middle of something else, and comes back in its turn.
            for node in 0..n {
                world.run_until(world.now + 3 * MS);
                world.act(Action::Pause(node, 60_000 * MS));
            }
            world.run_until(world.now + 60_000 * MS);
            (0..n).for_each(|node| _ = world.propose(node));
            world.run_until(world.now + 100 * MS);
        }
        assert!(world.run_until_done(world.now + 1_000 * MS, World::is_settled));
        assert_eq!(world.answered.len(), 20 * n);
        assert!(world.count("absences") >= 20 * n as u64);
        assert_eq!((world.leader(), world.count("pre_votes")), (Some(0), 1));
        assert_eq!((world.count("prepares"), world.count("resigned")), (1, 0));
        assert_eq!(world.protocol(0).unwrap().promised(), promised);
    }
}

/// It knows that it was absent, so it waits to hear of the leader before it judges.
#[test]
fn a_replica_that_was_stopped_does_not_stand_when_it_comes_back() {
    let mut world = running(3, |_| {});
    for _ in 0..20 {
        world.act(Action::Pause(2, 5_000 * MS));
        for _ in 0..600 {
            world.propose(0);
            world.run_until(world.now + 10 * MS);
        }
    }
    assert!(world.run_until_done(world.now + 1_000 * MS, World::is_settled));
    assert_eq!((world.leader(), world.count("pre_votes")), (Some(0), 1));
}

/// Absence is no excuse for good: where the leader is gone too, somebody stands all the same.
#[test]
fn replicas_that_are_absent_again_and_again_replace_a_dead_leader() {
    let mut world = running(3, |_| {});
    world.act(Action::Crash(0));
    let died_at = world.now;
    let elected = loop {
        for node in 1..3 {
            world.act(Action::Pause(node, 120 * MS));
        }
        world.run_until(world.now + 160 * MS);
        if world.leader().is_some() || world.now > died_at + 30_000 * MS {
            break world.leader();
        }
    };
    assert!(elected.is_some(), "nobody stood");
    println!("replaced after {} ms", (world.now - died_at) / MS);
}

#[test]
fn leadership_is_handed_over_on_request_without_waiting_for_leases() {
    let mut world = running(3, |config| {
        let span = Span::from_ms(2_000);
        config.lease = Some(panchayat_multipaxos::Lease { span, clock_error_ppm: 500 });
    });
    let asked = world.now;
    world.at(asked, Action::Transfer(0, 2));
    for _ in 0..20 {
        (0..3).for_each(|node| _ = world.propose(node));
        world.run_until(world.now + 5 * MS);
    }
    assert_eq!(world.leader(), Some(2));
    assert!(world.run_until_done(world.now + 1_000 * MS, World::is_settled));
    assert_eq!((world.answered.len(), world.rejected), (60, 0));
    let slowest = world.answered.iter().map(|a| a.executed - a.proposed).max().unwrap();
    assert!(slowest < 100 * MS, "no command waited for a timeout: {slowest} µs");
}

#[test]
fn a_pinned_leader_comes_back_when_it_can() {
    let mut world = running(3, |config| config.placement = Placement::Pinned(ReplicaId(0)));
    world.act(Action::Crash(0));
    world.run_until(1_500 * MS);
    let stand_in = world.leader().expect("another leads meanwhile");
    assert_ne!(stand_in, 0);
    world.act(Action::Restart(0));
    world.run_until(3_000 * MS);
    assert_eq!(world.leader(), Some(0));
    assert_eq!(world.count("transferred"), 1);
}

/// Two against one, then 2/2/1: the majority goes on; without one nobody does, until it heals by
/// itself.
#[test]
fn a_minority_decides_nothing_and_recovers_by_itself() {
    let mut world = running(5, |_| {});
    for (a, b) in [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 4), (3, 4)] {
        part(&mut world, a, b);
    }
    // What was on its way may still be decided.
    world.run_until(world.now + 50 * MS);
    (0..5).for_each(|node| _ = world.propose(node));
    world.run_until(world.now + 3_000 * MS);
    assert_eq!(world.answered.len(), 0, "nobody has a majority");
    world.act(Action::HealAll);
    assert!(world.run_until_done(world.now + 3_000 * MS, World::is_settled));
    assert_eq!(world.answered.len(), 5);
}

/// A replica that cannot reach a leader says so within a bound: of what a leader may have been
/// given, that the outcome is not known; of the rest, that it was not applied.
#[test]
fn who_is_cut_off_says_what_is_certain_and_what_is_not() {
    let mut world = running(3, |config| {
        config.timing.outcome_timeout = Span::from_ms(1_000);
    });
    for other in 0..2 {
        part(&mut world, 2, other);
    }
    // The leader seems to be there: it is given this one.
    world.propose(2);
    world.run_until(world.now + 1_300 * MS);
    assert_eq!((world.given_up, world.rejected), (1, 0));
    // By now it seems gone, and the others do not help to replace it.
    world.run_until(world.now + 2_000 * MS);
    world.propose(2);
    world.run_until(world.now + 1_300 * MS);
    assert_eq!((world.given_up, world.rejected), (1, 1));
    world.act(Action::HealAll);
    world.propose(2);
    assert!(world.run_until_done(world.now + 1_000 * MS, World::is_settled));
    assert_eq!(world.answered.len(), 1);
}

/// The link between the leader and one other is cut, and no other.
#[test]
fn one_cut_link_costs_neither_the_leader_nor_the_news() {
    let mut world = running(3, |_| {});
    part(&mut world, 0, 2);
    for _ in 0..200 {
        world.propose(1);
        world.run_until(world.now + 10 * MS);
    }
    world.run_until(world.now + 200 * MS);
    assert_eq!(world.answered.len(), 200);
    assert_eq!(world.count("elections_won"), 1);
    let upto = |node: usize| world.protocol(node).unwrap().chosen_upto();
    assert_eq!(upto(2), upto(0), "it learns from the third");
}

/// Its peers have not missed it, and would go on waiting for it. They hear from itself that it leads no
/// more. With production timeouts over links of 40 ms.
#[test]
fn a_leader_that_is_back_before_it_was_missed_is_replaced_as_soon_as_a_dead_one() {
    for n in [3, 5] {
        let mut world = cluster(n, quiet(n), |config| {
            config.timing = Timing::for_rtt(Span::from_ms(40));
        });
        world.weather.one_way.iter_mut().flatten().for_each(|way| *way *= 4);
        world.weather.detector = 1_000 * MS;
        world.start();
        world.run_until(1_000 * MS);
        assert_eq!(world.leader(), Some(0));
        world.act(Action::Crash(0));
        world.act(Action::Restart(0));
        world.propose(1);
        let back = world.now;
        assert!(world.run_until_done(back + 2_000 * MS, World::is_settled), "n={n}");
        println!("n={n}: served again after {} ms", (world.now - back) / MS);
    }
}

#[test]
fn one_and_two_replicas_are_enough_for_a_log() {
    for n in [1, 2] {
        let mut world = running(n, |_| {});
        (0..10 * n).for_each(|at| _ = world.propose(at % n));
        assert!(world.run_until_done(1_000 * MS, World::is_settled));
        world.act(Action::Crash(0));
        world.act(Action::Restart(0));
        world.run_until(world.now + 1_000 * MS);
        world.propose(0);
        assert!(world.run_until_done(world.now + 1_000 * MS, World::is_settled));
        assert_eq!(world.answered.len(), 10 * n + 1);
    }
}

#[test]
fn a_promise_outlives_a_restart() {
    late_accept(|_| {});
}
