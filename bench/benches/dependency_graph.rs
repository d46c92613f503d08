//! The dependency graph alone: from "known" and "committed" to execution order.
//!
//! What it measures: the cost of one command in the graph of one replica, for shapes from nothing
//! in common to everything in one cycle. Building commands and vectors is not measured.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use panchayat_consensus::{Command, Footprint, InstanceId, ReplicaId, Slot, WallTime};
use panchayat_epaxos::Deps;
use panchayat_epaxos::graph::Graph;

const REPLICAS: usize = 3;
/// Per lane.
const SLOTS: u64 = 2_000;
const HOT_KEY: u64 = 0;

type Decision = (InstanceId, Arc<Command>, Deps);

/// In the order in which they are committed.
struct Shape {
    name: &'static str,
    /// Whether all are known before the first is committed, as when commits come late.
    known_first: bool,
    /// The largest component this shape must have.
    component: u64,
    decisions: Vec<Decision>,
}

fn decision(replica: usize, slot: Slot, key: u64, deps: [Slot; REPLICAS]) -> Decision {
    let command = Command {
        footprint: Footprint::write(&key.to_be_bytes()),
        proposed_at: WallTime(0),
        request: None,
        payload: Bytes::new(),
    };
    let id = InstanceId::new(ReplicaId(replica as u8), slot);
    (id, Arc::new(command), deps.into_iter().collect())
}

/// Every slot of every lane, slot by slot.
fn all(decide: impl Fn(usize, Slot) -> Decision) -> Vec<Decision> {
    (1..=SLOTS)
        .flat_map(|slot| (0..REPLICAS).map(move |r| (r, slot)))
        .map(|(r, s)| decide(r, s))
        .collect()
}

/// On one key, each after all before it.
fn chain(replica: usize, slot: Slot) -> Decision {
    let before = |lane: usize| if lane < replica { slot } else { slot - 1 };
    decision(replica, slot, HOT_KEY, std::array::from_fn(before))
}

/// On one key; the same slot of each lane depends on the others and on all slots below.
fn triangle(replica: usize, slot: Slot) -> Decision {
    let known = |lane: usize| if lane == replica { slot - 1 } else { slot };
    decision(replica, slot, HOT_KEY, std::array::from_fn(known))
}

/// On one key; every command depends on everything of the other lanes.
fn one_cycle(replica: usize, slot: Slot) -> Decision {
    let known = |lane: usize| if lane == replica { slot - 1 } else { SLOTS };
    decision(replica, slot, HOT_KEY, std::array::from_fn(known))
}

/// Vectors as long as the chain's, but no key in common.
fn independent(replica: usize, slot: Slot) -> Decision {
    let (id, _, deps) = chain(replica, slot);
    let key = 1 + slot * REPLICAS as u64 + replica as u64;
    let (_, command, _) = decision(replica, slot, key, [0; REPLICAS]);
    (id, command, deps)
}

fn shapes() -> Vec<Shape> {
    let mut backwards = all(chain);
    backwards.reverse();
    let shape =
        |name, known_first, component, decisions| Shape { name, known_first, component, decisions };
    vec![
        shape("independent_keys", false, 0, all(independent)),
        shape("chain_on_a_hot_key", false, 0, all(chain)),
        shape("chain_committed_backwards", true, 0, backwards),
        shape("cycles_of_three_on_a_hot_key", true, 3, all(triangle)),
        shape("one_cycle_of_all", true, SLOTS * REPLICAS as u64, all(one_cycle)),
    ]
}

/// Feeds a new graph; it, and how many commands it executed.
fn run(shape: &Shape) -> (Graph, usize) {
    let mut graph = Graph::new(REPLICAS);
    let mut executed = 0;
    if shape.known_first {
        for (id, command, _) in &shape.decisions {
            graph.known(*id, command);
        }
    }
    for (id, command, deps) in &shape.decisions {
        graph.known(*id, command);
        graph.committed(*id, Some(deps));
        executed += graph.take_executable().map(black_box).count();
    }
    (graph, executed)
}

fn dependency_graph(criterion: &mut Criterion) {
    let total = SLOTS as usize * REPLICAS;
    println!(
        "conditions: commit {}; {REPLICAS} lanes of {SLOTS} commands, one key each; an element is \
         a command made known, committed and executed at one replica",
        panchayat_bench::COMMIT
    );
    let mut group = criterion.benchmark_group("dependency_graph");
    group.throughput(Throughput::Elements(total as u64));
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for shape in shapes() {
        let (graph, executed) = run(&shape);
        assert_eq!(executed, total, "{}", shape.name);
        assert_eq!(graph.component_sizes().max, shape.component, "{}", shape.name);
        group.bench_function(shape.name, |bencher| {
            bencher.iter_batched(|| (), |()| run(&shape), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, dependency_graph);
criterion_main!(benches);
