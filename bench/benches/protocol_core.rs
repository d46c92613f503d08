//! The EPaxos protocol alone: three replicas as values in one thread, no network, no disk.
//!
//! What it measures: the protocol's own work for a command at all three replicas together, from
//! the proposal to the execution everywhere. Every message is delivered by itself, nothing is
//! batched or encoded; whatever is persisted counts as durable at once.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panchayat_consensus::effects::Output;
use panchayat_consensus::{
    Command, Durable, EffectsOf, Footprint, Input, Now, Protocol, Quorums, ReplicaId, Span, Time,
    Token, WallTime,
};
use panchayat_epaxos::{Config, EPaxos, Message};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

const REPLICAS: usize = 3;
/// Per replica and iteration.
const COMMANDS: usize = 4_000;
const CONFLICT_PERCENT: u64 = 2;
const KEYS: u64 = 1_000_000;
const PAYLOAD_BYTES: usize = 16;

struct Node {
    protocol: EPaxos,
    effects: EffectsOf<EPaxos>,
    durable: Durable,
    commands: Vec<Command>,
    proposed: u64,
    answered: usize,
    executed: usize,
}

struct Cluster {
    nodes: Vec<Node>,
    network: VecDeque<(ReplicaId, ReplicaId, Message)>,
    steps: u64,
}

impl Cluster {
    fn new() -> Self {
        let quorums = Quorums::for_replicas(REPLICAS).expect("three replicas are a group");
        let nodes = (0..REPLICAS as u8).map(|seat| {
            let config = Config::new(ReplicaId(seat), quorums, Span::from_ms(37));
            let mut effects = EffectsOf::<EPaxos>::default();
            let protocol = EPaxos::restore(config, [], Now::default(), &mut effects);
            Node {
                protocol,
                effects,
                durable: Durable::default(),
                commands: commands(u64::from(seat)),
                proposed: 0,
                answered: 0,
                executed: 0,
            }
        });
        Self { nodes: nodes.collect(), network: VecDeque::new(), steps: 0 }
    }

    /// Every replica keeps `in_flight` proposals until all commands are executed everywhere.
    fn run(&mut self, in_flight: usize) {
        for seat in 0..REPLICAS {
            for _ in 0..in_flight {
                self.propose(seat);
            }
        }
        while let Some((from, to, message)) = self.network.pop_front() {
            self.step(to.index(), Input::Receive { from, message });
        }
        for node in &self.nodes {
            assert_eq!((node.answered, node.executed), (COMMANDS, COMMANDS * REPLICAS));
        }
    }

    fn propose(&mut self, seat: usize) {
        let node = &mut self.nodes[seat];
        if let Some(command) = node.commands.pop() {
            node.proposed += 1;
            let token = Token(node.proposed);
            self.step(seat, Input::Propose { token, command });
        }
    }

    fn step(&mut self, seat: usize, input: Input<Message>) {
        self.steps += 1;
        let now = Now { monotonic: Time(self.steps), wall: WallTime(self.steps) };
        let node = &mut self.nodes[seat];
        node.protocol.step(now, input, &mut node.effects);
        while node.effects.take_records().map(black_box).count() > 0 {
            node.durable = Durable(node.effects.last_record());
            node.protocol.step(now, Input::Durable(node.durable), &mut node.effects);
        }
        let mut answered = 0;
        for output in node.effects.take_outputs() {
            match output.open(node.durable) {
                Ok(Output::Send { to, message }) => {
                    for receiver in to.iter() {
                        let from = ReplicaId(seat as u8);
                        self.network.push_back((from, receiver, message.clone()));
                    }
                }
                Ok(Output::Committed { .. }) => {}
                Ok(Output::Rejected { reason, .. }) => panic!("rejected: {reason:?}"),
                Ok(other) => panic!("nobody reads here: {other:?}"),
                Err(_) => panic!("everything was durable"),
            }
        }
        for execution in node.effects.take_executions() {
            let Ok(execution) = execution.open(node.durable) else {
                panic!("everything was durable")
            };
            black_box(execution.command);
            node.executed += 1;
            answered += usize::from(execution.token.is_some());
        }
        node.answered += answered;
        for _ in 0..answered {
            self.propose(seat);
        }
    }
}

fn commands(seed: u64) -> Vec<Command> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let payload = Bytes::from(vec![0x5a; PAYLOAD_BYTES]);
    let command = |_| {
        let key =
            if rng.next_u64() % 100 < CONFLICT_PERCENT { KEYS } else { rng.next_u64() % KEYS };
        Command {
            footprint: Footprint::write(&key.to_be_bytes()),
            proposed_at: WallTime(0),
            request: None,
            payload: payload.clone(),
        }
    };
    (0..COMMANDS).map(command).collect()
}

fn protocol_core(criterion: &mut Criterion) {
    println!(
        "conditions: commit {}; epaxos, {REPLICAS} replicas in one thread, all propose; {COMMANDS} \
         commands each of {PAYLOAD_BYTES} B on {KEYS} uniform keys, {CONFLICT_PERCENT} % on one \
         key; one message per delivery, no encoding, memory; an element is a command executed \
         everywhere",
        panchayat_bench::COMMIT
    );
    let mut group = criterion.benchmark_group("protocol_core");
    group.throughput(Throughput::Elements((COMMANDS * REPLICAS) as u64));
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    for in_flight in [1, 64] {
        let id = BenchmarkId::new("epaxos_n3_in_flight_each", in_flight);
        group.bench_function(id, |bencher| {
            bencher.iter_batched(
                Cluster::new,
                |mut cluster| {
                    cluster.run(in_flight);
                    cluster
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();

    let mut cluster = Cluster::new();
    cluster.run(64);
    let counters: Vec<_> = cluster.nodes.iter().map(|node| node.protocol.counters()).collect();
    println!(
        "64 in flight each: {} fast commits, {} slow; largest component {}",
        counters.iter().map(|counters| counters.fast_commits).sum::<u64>(),
        counters.iter().map(|counters| counters.slow_commits).sum::<u64>(),
        counters.iter().map(|counters| counters.component_max).max().unwrap_or_default(),
    );
}

criterion_group!(benches, protocol_core);
criterion_main!(benches);
