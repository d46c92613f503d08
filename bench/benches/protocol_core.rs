//! Each protocol alone: three replicas as values in one thread, no network, no disk.
//!
//! What it measures: the protocol's own work for a command at all three replicas together, from
//! the proposal to the execution everywhere. Every message is delivered by itself, nothing is
//! batched or encoded; whatever is persisted counts as durable at once. Time passes only when there
//! is nothing to deliver, and then to the next moment somebody asked for. Electing a leader is not
//! measured.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime as Clock,
};
use panchayat::topology::Matrix;
use panchayat::{FastPaxosChoice, MultiPaxosChoice, ProtocolError, Topology, configured};
use panchayat_consensus::effects::Output;
use panchayat_consensus::{
    Command, Durable, EffectsOf, Footprint, Input, Now, Protocol, ReplicaId, Time, Token, WallTime,
};
use panchayat_epaxos::EPaxos;
use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

const REPLICAS: usize = 3;
/// Per replica and iteration.
const COMMANDS: usize = 4_000;
const CONFLICT_PERCENT: u64 = 2;
const KEYS: u64 = 1_000_000;
const PAYLOAD_BYTES: usize = 16;
/// How often time may have to pass before something is stuck.
const PAUSES_MAX: usize = 1_000_000;

struct Node<P: Protocol> {
    protocol: P,
    effects: EffectsOf<P>,
    durable: Durable,
    wake: Option<Time>,
    commands: Vec<Command>,
    proposed: u64,
    answered: usize,
    executed: usize,
}

struct Cluster<P: Protocol> {
    nodes: Vec<Node<P>>,
    network: VecDeque<(ReplicaId, ReplicaId, P::Message)>,
    now: u64,
}

impl<P: Protocol> Cluster<P> {
    /// Replicas that know who leads, if somebody has to.
    fn new(config: impl Fn(ReplicaId) -> P::Config, led: bool) -> Self {
        let nodes = (0..REPLICAS as u8).map(|seat| {
            let mut effects = EffectsOf::<P>::default();
            let config = config(ReplicaId(seat));
            let protocol = P::restore(config, [], Now::default(), &mut effects);
            Node {
                protocol,
                wake: effects.take_wake(),
                effects,
                durable: Durable::default(),
                commands: commands(u64::from(seat)),
                proposed: 0,
                answered: 0,
                executed: 0,
            }
        });
        let mut cluster = Self { nodes: nodes.collect(), network: VecDeque::new(), now: 0 };
        if led {
            cluster.until(|node| node.protocol.leader().is_some());
        }
        cluster
    }

    /// Every replica keeps `in_flight` proposals until all commands are executed everywhere.
    fn run(&mut self, in_flight: usize) {
        for seat in 0..REPLICAS {
            for _ in 0..in_flight {
                self.propose(seat);
            }
        }
        // Who wins two slots is executed once by the layer above.
        self.until(|node| node.answered == COMMANDS && node.executed >= COMMANDS * REPLICAS);
    }

    /// Delivers, and lets time pass, until all nodes are so.
    fn until(&mut self, reached: impl Fn(&Node<P>) -> bool) {
        for _ in 0..PAUSES_MAX {
            while let Some((from, to, message)) = self.network.pop_front() {
                self.step(to.index(), Input::Receive { from, message });
            }
            if self.nodes.iter().all(&reached) {
                return;
            }
            let next = self.nodes.iter().filter_map(|node| node.wake).min();
            self.now = self.now.max(next.expect("somebody waits for something").0) + 1;
            for seat in 0..REPLICAS {
                if self.nodes[seat].wake.is_some_and(|wake| wake.0 <= self.now) {
                    self.nodes[seat].wake = None;
                    self.step(seat, Input::Wake);
                }
            }
        }
        panic!("stuck after {} of virtual time", Duration::from_micros(self.now).as_secs_f64());
    }

    fn propose(&mut self, seat: usize) {
        let node = &mut self.nodes[seat];
        if let Some(command) = node.commands.pop() {
            node.proposed += 1;
            let token = Token(node.proposed);
            self.step(seat, Input::Propose { token, command });
        }
    }

    fn step(&mut self, seat: usize, input: Input<P::Message>) {
        let now = Now { monotonic: Time(self.now), wall: WallTime(self.now) };
        let node = &mut self.nodes[seat];
        node.protocol.step(now, input, &mut node.effects);
        while node.effects.take_records().map(black_box).count() > 0 {
            node.durable = Durable(node.effects.last_record());
            node.protocol.step(now, Input::Durable(node.durable), &mut node.effects);
        }
        node.wake = [node.wake, node.effects.take_wake()].into_iter().flatten().min();
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

/// The last is proposed first.
fn commands(seed: u64) -> Vec<Command> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let payload = Bytes::from(vec![0x5a; PAYLOAD_BYTES]);
    let command = |index: usize| {
        let key =
            if rng.next_u64() % 100 < CONFLICT_PERCENT { KEYS } else { rng.next_u64() % KEYS };
        Command {
            footprint: Footprint::write(&key.to_be_bytes()),
            proposed_at: WallTime((COMMANDS - index) as u64),
            request: None,
            payload: payload.clone(),
        }
    };
    (0..COMMANDS).map(command).collect()
}

/// Benches one protocol, and says how it decided.
fn bench<P: Protocol>(
    group: &mut BenchmarkGroup<'_, Clock>,
    name: &str,
    led: bool,
    config: impl Fn(ReplicaId) -> Result<P::Config, ProtocolError>,
) {
    let config = |seat| config(seat).expect("three replicas are a group");
    for in_flight in [1, 64] {
        let id = BenchmarkId::new(format!("{name}_n3_in_flight_each"), in_flight);
        group.bench_function(id, |bencher| {
            bencher.iter_batched(
                || Cluster::<P>::new(config, led),
                |mut cluster| {
                    cluster.run(in_flight);
                    cluster
                },
                BatchSize::PerIteration,
            );
        });
    }
    let mut cluster = Cluster::<P>::new(config, led);
    cluster.run(64);
    let told = |name: &str| name.contains("commits") || name.contains("rounds");
    for (seat, node) in cluster.nodes.iter().enumerate() {
        let counters = node.protocol.counters().into_iter();
        let counters: Vec<_> = counters.filter(|(name, count)| *count > 0 && told(name)).collect();
        println!("{name}, 64 in flight each, seat {seat}: {counters:?}");
    }
}

fn protocol_core(criterion: &mut Criterion) {
    println!(
        "conditions: commit {}; {REPLICAS} replicas in one thread, all propose; {COMMANDS} \
         commands each of {PAYLOAD_BYTES} B on {KEYS} uniform keys, {CONFLICT_PERCENT} % on one \
         key; one message per delivery, no encoding, memory; an element is a command executed \
         everywhere",
        panchayat_bench::COMMIT
    );
    let matrix: Matrix = Topology::builtin().matrix("india3").expect("it is built in");
    let mut group = criterion.benchmark_group("protocol_core");
    group.throughput(Throughput::Elements((COMMANDS * REPLICAS) as u64));
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    bench::<EPaxos>(&mut group, "epaxos", false, |seat| configured::epaxos(seat, &matrix));
    let choice = MultiPaxosChoice::default();
    bench::<MultiPaxos>(&mut group, "multipaxos", true, |seat| {
        configured::multipaxos(&choice, seat, &matrix)
    });
    let choice = FastPaxosChoice::default();
    bench::<FastPaxos>(&mut group, "fastpaxos", true, |seat| {
        configured::fastpaxos(&choice, seat, &matrix)
    });
    group.finish();
}

criterion_group!(benches, protocol_core);
criterion_main!(benches);
