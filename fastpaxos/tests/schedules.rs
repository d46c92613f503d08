//! Schedules that somebody thought of, or that a seed found: each is a race that must end well.

mod net;

use net::geo::{INDIA3, cluster, ideal};
use net::{MS, World};
use panchayat_consensus::{Protocol, ReplicaId};

/// One coordinates, and has executed and forgotten what the others have voted for and not learned;
/// they are told that it is gone, and before anybody can take over a state, its only owner dies for
/// good. (Seed 1230 of the simulator at four replicas.)
#[test]
fn what_only_the_dead_had_executed_is_found_in_the_votes() {
    let mut world = cluster(INDIA3, ideal(INDIA3), 1, |config| {
        if config.replica == ReplicaId(0) {
            config.limits.retained_slots_max = 1;
        }
    });
    let cut = |world: &mut World, links: &[(usize, usize)]| {
        links.iter().for_each(|(from, to)| world.act(net::Action::Cut(*from, *to)));
    };
    let proposed: Vec<u64> = (0..4).filter_map(|_| world.propose(1)).collect();
    world.run_until(world.now + MS);
    // The proposals are on their way; votes reach Mumbai alone.
    cut(&mut world, &[(0, 1), (0, 2), (1, 2), (2, 1)]);
    world.run_until(world.now + 400 * MS);
    assert!(world.protocol(0).unwrap().collected_upto() > world.protocol(1).unwrap().chosen_upto());
    world.act(net::Action::HealAll);
    cut(&mut world, &[(1, 2), (2, 1)]);
    let asked = |world: &World, node: usize| world.protocol(node).unwrap().counters().fetches > 0;
    assert!(
        world.run_until_done(world.now + 2_000 * MS, |world| asked(world, 1) && asked(world, 2))
    );
    // The questions are on their way, and the answers will be; a state is not.
    cut(&mut world, &[(1, 0), (2, 0)]);
    world.run_until(world.now + 100 * MS);
    for node in [1, 2] {
        assert!(!world.protocol(node).unwrap().needs_state().is_empty(), "{node} was told");
        let known = world.protocol(node).unwrap().chosen_upto();
        assert!(known < world.protocol(0).unwrap().collected_upto(), "{node} lacks it");
    }
    world.crash(0);
    world.act(net::Action::HealAll);
    assert!(world.run_until_done(world.now + 10_000 * MS, World::is_settled), "they go on");
    let order = &world.nodes[1].process.as_ref().unwrap().state.order;
    let found = proposed.iter().filter(|p| order.iter().any(|(_, payload)| payload == *p));
    assert_eq!(found.count(), proposed.len());
}
