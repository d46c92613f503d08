//! Each protocol at work in virtual time: what a command costs three replicas' processors.
//!
//! What it measures: `Group`, protocol, state machine, and the encoding and decoding of frames and
//! messages at all three replicas together, and the queue of virtual time besides, for commands of
//! 16 closed-loop clients in each city of `india3` under the profile `backbone`. No network, no
//! disk, one thread. An element is a command answered. The same run every time, so what differs
//! between two commits is the code.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panchayat::kv::KvCommand;
use panchayat::{Durability, FastPaxosChoice, MultiPaxosChoice, ProtocolChoice, Topology};
use panchayat_bench::simulated::{Cluster, Machine};
use panchayat_bench::workload::{Kind, Stream, Workload};
use panchayat_sim::lab::{Load, Lost, Pace, Served};

const CLIENTS: u32 = 16;
const END_US: u64 = 3_000_000;

/// Clients with streams of their own, and how many commands were answered.
struct Clients {
    streams: Vec<Stream>,
    answered: u64,
}

impl Clients {
    fn new() -> Self {
        let workload = Workload::of(Kind::Mix, &Kind::Mix.shape(), 1).expect("a workload");
        let streams = (0..3 * u64::from(CLIENTS)).map(|client| workload.stream(client));
        Self { streams: streams.collect(), answered: 0 }
    }
}

impl Load for Clients {
    fn command(&mut self, seat: usize, client: u32) -> KvCommand {
        self.streams[seat * CLIENTS as usize + client as usize].command()
    }

    fn served(&mut self, _served: &Served) {
        self.answered += 1;
    }

    fn lost(&mut self, _seat: usize, _began_us: u64, why: Lost) {
        panic!("nothing fails here: {why:?}");
    }
}

fn virtual_time(criterion: &mut Criterion) {
    println!(
        "conditions: commit {}; india3, backbone, {CLIENTS} clients each, 100 B, 2 % on one key, \
         {} s of virtual time",
        panchayat_bench::COMMIT,
        END_US / 1_000_000
    );
    let topology = Topology::builtin();
    let mut group = criterion.benchmark_group("virtual_time");
    group.measurement_time(Duration::from_secs(5)).sample_size(10);
    for protocol in [
        ProtocolChoice::EPaxos,
        ProtocolChoice::MultiPaxos(MultiPaxosChoice::default()),
        ProtocolChoice::FastPaxos(FastPaxosChoice::default()),
    ] {
        let name = protocol.name();
        let pace = Pace::Closed(vec![CLIENTS; 3]);
        let machine = Machine::typical(Durability::Memory);
        let place = ("india3", "backbone");
        let cluster = Cluster::new(&topology, place, protocol, machine, pace, (0, END_US));
        let cluster = cluster.expect("a cluster");
        let run = || {
            let mut clients = Clients::new();
            cluster.run(&mut clients).expect("a run");
            clients.answered
        };
        group.throughput(Throughput::Elements(run()));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(run));
    }
    group.finish();
}

criterion_group!(benches, virtual_time);
criterion_main!(benches);
