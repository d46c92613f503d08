//! Directed runs: what chance would take too long to come to.

use panchayat_consensus::{ReplicaId, Span};
use panchayat_multipaxos::{Config, FlexibleQuorums, Lease, Placement, Way};

use super::swarm::{MS, timing};
use super::{Action, Us, Weather, World};

/// A quiet network: one way takes 5 ms everywhere, syncing takes nothing.
pub(crate) fn quiet(n: usize) -> Weather {
    let mut one_way = vec![vec![5 * MS; n]; n];
    (0..n).for_each(|node| one_way[node][node] = 0);
    Weather {
        one_way,
        jitter: 0,
        loss: 0,
        duplicate: 0,
        spike: 0,
        sync: 0,
        die: 0,
        detector: 100 * MS,
    }
}

/// Majorities, the first seat first in rank.
pub(crate) fn cluster(n: usize, weather: Weather, change: impl Fn(&mut Config)) -> World {
    let quorums = FlexibleQuorums::majorities(n).unwrap();
    let configs = (0..n).map(|node| {
        let mut config = Config::new(ReplicaId(node as u8), quorums, Span::from_ms(10));
        config.timing = timing();
        config.placement = Placement::Ranked(vec![ReplicaId(0)]);
        change(&mut config);
        config
    });
    World::new(configs.collect(), weather, 1)
}

/// Cuts both ways between two.
pub(crate) fn part(world: &mut World, a: usize, b: usize) {
    world.act(Action::Cut(a, b));
    world.act(Action::Cut(b, a));
}

/// Every 10 ms a command at `writer` and a lease read at `reader`.
pub(crate) fn write_and_read(world: &mut World, writer: usize, reader: usize, span: Us) {
    let end = world.now + span;
    while world.now < end {
        world.propose(writer);
        world.read(reader, Way::Lease);
        world.run_until(world.now + 10 * MS);
    }
}

fn leased(span_ms: u64) -> impl Fn(&mut Config) {
    move |config| {
        config.lease = Some(Lease { span: Span::from_ms(span_ms), clock_error_ppm: 500 });
    }
}

/// A grantor restarts, out of the leader's reach, and somebody stands at once.
pub(crate) fn grantor_restarts(change: impl Fn(&mut Config)) -> World {
    grantor_restarts_with([0; 3], change)
}

/// The same with clocks that are so wrong, in parts per million.
pub(crate) fn grantor_restarts_with(ppm: [i64; 3], change: impl Fn(&mut Config)) -> World {
    let lease = leased(800);
    let mut world = cluster(3, quiet(3), |config| {
        lease(config);
        change(config);
    });
    (0..3).for_each(|node| world.nodes[node].clock.ppm = ppm[node]);
    world.start();
    world.run_until(200 * MS);
    assert_eq!(world.leader(), Some(0));
    // One member does not hear of the leader until its grant has run out...
    world.act(Action::Cut(0, 2));
    world.act(Action::Pause(2, 900 * MS));
    world.run_until(940 * MS);
    // ...and just before it stands, the other restarts.
    world.act(Action::Cut(0, 1));
    world.act(Action::Cut(2, 0));
    world.act(Action::Crash(1));
    world.act(Action::Restart(1));
    world.run_until(1_100 * MS);
    write_and_read(&mut world, 2, 0, 1_500 * MS);
    assert!(!world.answered.is_empty(), "the others went on without the old leader");
    world
}

/// The leader is cut off, and its clock runs `ppm` too fast or, if negative, too slow.
pub(crate) fn leader_cut_off(ppm: i64, change: impl Fn(&mut Config)) -> World {
    let lease = leased(200);
    let mut world = cluster(3, quiet(3), |config| {
        lease(config);
        // Others stand before the lease ends: it is all that holds them back.
        config.timing.election_timeout = Span::from_ms(100);
        change(config);
    });
    world.nodes[0].clock.ppm = ppm;
    world.start();
    world.run_until(200 * MS);
    assert_eq!(world.leader(), Some(0));
    part(&mut world, 0, 1);
    part(&mut world, 0, 2);
    write_and_read(&mut world, 1, 0, 2_500 * MS);
    assert!(!world.answered.is_empty(), "the others went on without the old leader");
    world
}

/// A vote asked for long ago arrives at a replica that promised a higher ballot and restarted.
pub(crate) fn late_accept(change: impl Fn(&mut Config)) -> World {
    let mut world = cluster(3, quiet(3), |config| {
        // The second in rank is the third seat.
        config.placement = Placement::Ranked([0, 2, 1].map(ReplicaId).to_vec());
        change(config);
    });
    world.start();
    world.run_until(200 * MS);
    assert_eq!(world.leader(), Some(0));
    world.weather.one_way[0][1] = 2_000 * MS;
    world.act(Action::Cut(0, 2));
    world.propose(0);
    world.run_until(world.now + MS);
    world.act(Action::Cut(0, 1));
    world.act(Action::Crash(0));
    let elected = world.run_until_done(2_000 * MS, |world| world.leader() == Some(2));
    assert!(elected, "the third seat leads");
    world.act(Action::Cut(2, 1));
    world.run_until(world.now + 10 * MS);
    world.act(Action::Crash(1));
    world.act(Action::Restart(1));
    // The old leader comes back to the new one, and together they decide something else.
    world.cut[0][2] = false;
    world.act(Action::Restart(0));
    world.run_until(world.now + 100 * MS);
    world.propose(2);
    world.run_until(3_000 * MS);
    assert_eq!(world.answered.len(), 1);
    world.act(Action::HealAll);
    world.weather.one_way[0][1] = 5 * MS;
    assert!(world.run_until_done(8_000 * MS, World::is_settled));
    world
}
