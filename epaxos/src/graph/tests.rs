//! The graph against the definition: edges to every known conflicting member of every prefix,
//! strongly connected components by plain reachability.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use panchayat_consensus::{Command, Footprint, InstanceId, KeyHash, Mode, ReplicaId, WallTime};

use super::Graph;
use crate::deps::Deps;

/// A small generator, good enough to shuffle.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

fn id(replica: u8, slot: u64) -> InstanceId {
    InstanceId::new(ReplicaId(replica), slot)
}

fn command(footprint: Footprint) -> Arc<Command> {
    Arc::new(Command { footprint, proposed_at: WallTime(0), request: None, payload: Bytes::new() })
}

fn write(key: u64) -> Arc<Command> {
    command(Footprint::new([(KeyHash(key), Mode::Write)]))
}

fn drain(graph: &mut Graph) -> Vec<InstanceId> {
    graph.take_executable().map(|(id, _)| id).collect()
}

fn deps(slots: &[u64]) -> Deps {
    slots.iter().copied().collect()
}

/// Instances as consensus may leave them: of two that conflict, at least one depends on the other.
struct World {
    n: usize,
    commands: BTreeMap<InstanceId, (Arc<Command>, Deps)>,
    nops: BTreeSet<InstanceId>,
}

impl World {
    fn random(rng: &mut Rng) -> Self {
        let n = 3 + rng.below(3) as usize;
        let slots = 1 + rng.below(9);
        let keys = 1 + rng.below(4);
        let mut world = Self { n, commands: BTreeMap::new(), nops: BTreeSet::new() };
        for replica in 0..n as u8 {
            for slot in 1..=slots {
                let footprint = if rng.below(25) == 0 {
                    Footprint::barrier()
                } else {
                    let count = 1 + rng.below(2);
                    let modes = Mode::ALL;
                    Footprint::new(
                        (0..count)
                            .map(|_| (KeyHash(rng.below(keys)), modes[rng.below(3) as usize])),
                    )
                };
                let random =
                    (0..n).map(|_| if rng.below(3) == 0 { rng.below(slots + 1) } else { 0 });
                let vector: Deps = random.collect();
                world.commands.insert(id(replica, slot), (command(footprint), vector));
                if rng.below(12) == 0 {
                    world.nops.insert(id(replica, slot));
                }
            }
        }
        world.make_visible(rng);
        world
    }

    fn make_visible(&mut self, rng: &mut Rng) {
        let ids: Vec<_> = self.commands.keys().copied().collect();
        for a in &ids {
            for b in ids.iter().filter(|b| *b > a) {
                if !self.conflict(*a, *b) {
                    continue;
                }
                // A coordinator knows its own lane: the later depends on the earlier.
                let (from, to) =
                    if a.replica == b.replica || rng.below(2) == 0 { (b, a) } else { (a, b) };
                let vector = &mut self.commands.get_mut(from).unwrap().1;
                vector.include(to.replica, to.slot);
            }
        }
    }

    fn conflict(&self, a: InstanceId, b: InstanceId) -> bool {
        self.commands[&a].0.footprint.conflicts(&self.commands[&b].0.footprint)
    }

    fn edge(&self, from: InstanceId, to: InstanceId) -> bool {
        if from.replica == to.replica && from.slot <= to.slot {
            return false;
        }
        !self.nops.contains(&from)
            && !self.nops.contains(&to)
            && self.commands[&from].1.contains(to)
            && self.conflict(from, to)
    }

    fn reachable(&self) -> BTreeSet<(InstanceId, InstanceId)> {
        let ids: Vec<_> = self.commands.keys().copied().collect();
        let mut reach = BTreeSet::new();
        for from in &ids {
            let mut open = vec![*from];
            while let Some(at) = open.pop() {
                for to in &ids {
                    if self.edge(at, *to) && reach.insert((*from, *to)) {
                        open.push(*to);
                    }
                }
            }
        }
        reach
    }

    /// Feeds everything in random order, and returns the order of execution.
    fn execute(&self, rng: &mut Rng) -> Vec<InstanceId> {
        let mut graph = Graph::new(self.n);
        let mut events: Vec<_> =
            self.commands.keys().flat_map(|id| [(*id, false), (*id, true)]).collect();
        rng.shuffle(&mut events);
        let mut order = Vec::new();
        for (id, commit) in events {
            let (command, deps) = &self.commands[&id];
            match (commit, self.nops.contains(&id)) {
                (true, true) => graph.committed(id, None),
                (true, false) => {
                    graph.known(id, command);
                    graph.committed(id, Some(deps));
                }
                (false, _) => graph.known(id, command),
            }
            order.extend(drain(&mut graph));
        }
        order
    }
}

#[test]
fn any_arrival_order_executes_everything_in_one_order() {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    for _ in 0..400 {
        let world = World::random(&mut rng);
        let reach = world.reachable();
        let expected = world.commands.len() - world.nops.len();
        for _ in 0..4 {
            let order = world.execute(&mut rng);
            assert_eq!(order.len(), expected);
            let position: BTreeMap<_, _> =
                order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
            assert_eq!(position.len(), expected, "executed twice");
            for (a, b) in &reach {
                if a == b || !position.contains_key(a) || !position.contains_key(b) {
                    continue;
                }
                let cycle = reach.contains(&(*b, *a));
                if cycle && world.conflict(*a, *b) {
                    assert_eq!(a < b, position[a] < position[b], "{a} {b} in one component");
                } else if !cycle {
                    assert!(position[b] < position[a], "{a} depends on {b}");
                }
            }
        }
    }
}

#[test]
fn an_unknown_id_inside_the_vector_blocks_until_it_is_known() {
    let mut graph = Graph::new(3);
    graph.known(id(1, 1), &write(7));
    graph.committed(id(1, 1), Some(&deps(&[2, 0, 0])));
    assert_eq!(drain(&mut graph), []);
    assert_eq!(graph.waits_for(id(1, 1)), Some(id(0, 1)));
    graph.known(id(0, 1), &write(8));
    assert_eq!(graph.waits_for(id(1, 1)), Some(id(0, 2)));
    graph.known(id(0, 2), &write(9));
    assert_eq!(drain(&mut graph), [id(1, 1)]);
}

#[test]
fn a_dependency_decided_as_nop_uncovers_the_one_before_it() {
    let mut graph = Graph::new(3);
    for slot in [1, 2] {
        graph.known(id(0, slot), &write(7));
    }
    graph.known(id(1, 1), &write(7));
    graph.committed(id(1, 1), Some(&deps(&[2, 0, 0])));
    assert_eq!(graph.waits_for(id(1, 1)), Some(id(0, 2)));
    graph.committed(id(0, 2), None);
    assert_eq!(graph.waits_for(id(1, 1)), Some(id(0, 1)));
    graph.committed(id(0, 1), Some(&deps(&[0, 0, 0])));
    assert_eq!(drain(&mut graph), [id(0, 1), id(1, 1)]);
}

#[test]
fn a_cycle_executes_once_its_last_member_is_committed_by_id() {
    let mut graph = Graph::new(3);
    for replica in 0..3 {
        graph.known(id(replica, 1), &write(7));
    }
    graph.committed(id(2, 1), Some(&deps(&[1, 0, 0])));
    graph.committed(id(0, 1), Some(&deps(&[0, 1, 0])));
    assert_eq!(drain(&mut graph), []);
    graph.committed(id(1, 1), Some(&deps(&[0, 0, 1])));
    assert_eq!(drain(&mut graph), [id(0, 1), id(1, 1), id(2, 1)]);
    assert_eq!(graph.component_sizes().max, 3);
}

#[test]
fn a_chain_of_a_million_neither_recurses_nor_rescans() {
    let mut graph = Graph::new(3);
    let length = 1_000_000;
    for slot in 1..=length {
        graph.known(id(0, slot), &write(7));
    }
    for slot in (1..=length).rev() {
        graph.committed(id(0, slot), Some(&deps(&[slot - 1, 0, 0])));
    }
    let order = drain(&mut graph);
    assert_eq!(order.len() as u64, length);
    assert!(order.is_sorted());
}

/// Steps per command when so many on one key are known and committed, and none can execute before
/// the first of all is committed, which comes last.
fn steps_each(unexecuted: u64, backwards: bool, vector: fn(u8, u64) -> [u64; 3]) -> f64 {
    let slots = unexecuted / 3;
    let mut graph = Graph::new(3);
    let all = (1..=slots).flat_map(|slot| (0..3).map(move |replica| (replica, slot)));
    let mut all: Vec<_> = all.collect();
    for (replica, slot) in &all {
        graph.known(id(*replica, *slot), &write(7));
    }
    let first = all.remove(0);
    if backwards {
        all.reverse();
    }
    let total = all.len() + 1;
    for (replica, slot) in all {
        graph.committed(id(replica, slot), Some(&deps(&vector(replica, slot))));
    }
    assert_eq!(drain(&mut graph), []);
    graph.committed(id(first.0, first.1), Some(&deps(&vector(first.0, first.1))));
    assert_eq!(drain(&mut graph).len(), total);
    graph.steps() as f64 / total as f64
}

#[test]
fn a_command_costs_no_more_behind_ten_thousand_unexecuted_than_behind_a_hundred() {
    fn chain(replica: u8, slot: u64) -> [u64; 3] {
        std::array::from_fn(|lane| if lane < replica.into() { slot } else { slot - 1 })
    }
    fn triangles(replica: u8, slot: u64) -> [u64; 3] {
        std::array::from_fn(|lane| if lane == replica.into() { slot - 1 } else { slot })
    }
    for (name, vector) in [("chain", chain as fn(_, _) -> _), ("triangles", triangles)] {
        for backwards in [false, true] {
            let few = steps_each(99, backwards, vector);
            let many = steps_each(9_999, backwards, vector);
            assert!(few > 1.0, "{name}: steps are counted");
            assert!(many <= few * 2.0, "{name}, {backwards}: {few:.1} steps each, then {many:.1}");
        }
    }
}
