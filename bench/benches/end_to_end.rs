//! Three replicas in this process, over QUIC on loopback, under each protocol: from the proposal to the
//! answer.
//!
//! What it measures: one command at a time at one replica, and a thousand commands of 64 clients at
//! each of the three. An element is a command. `panchayat bench --loopback` says more of the second.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panchayat::kv::KvStore;
use panchayat::{
    Durability, FastPaxosChoice, LocalCluster, LocalConfig, MultiPaxosChoice, ProtocolChoice,
    Replica, Topology,
};
use panchayat_bench::workload::{KeyChoice, Stream, Workload};
use tokio::task::JoinSet;

const PAYLOAD_BYTES: usize = 100;
const KEYS: u32 = 1_000_000;
const CONFLICT_PERCENT: f64 = 2.0;
const COMMANDS: u64 = 1_000;
const CLIENTS: u64 = 64;

/// `commands` commands by `clients` clients at every replica; how long all of them took.
async fn load(replicas: &[Replica<KvStore>], workload: &Workload, commands: u64) -> Duration {
    let clients = CLIENTS.min(commands);
    let mut running = JoinSet::new();
    let began = Instant::now();
    for (seat, replica) in replicas.iter().enumerate() {
        for client in 0..clients {
            let share = commands / clients + u64::from(client < commands % clients);
            let stream = workload.stream((seat as u64) << 32 | client);
            running.spawn(propose(replica.clone(), stream, share));
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("clients do not panic");
    }
    began.elapsed()
}

async fn propose(replica: Replica<KvStore>, mut stream: Stream, commands: u64) {
    for _ in 0..commands {
        replica.propose(&stream.command()).await.expect("the cluster answers");
    }
}

fn end_to_end(criterion: &mut Criterion) {
    println!(
        "conditions: commit {}; n=3, {PAYLOAD_BYTES} B, {KEYS} keys, {CONFLICT_PERCENT} % on one \
         key, {CLIENTS} clients each where many commands are under way",
        panchayat_bench::COMMIT
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let keys = KeyChoice::uniform(KEYS).expect("a number of keys");
    let workload = Workload::new(keys, CONFLICT_PERCENT, PAYLOAD_BYTES, 1).expect("a workload");
    let mut group = criterion.benchmark_group("end_to_end");
    group.measurement_time(Duration::from_secs(5)).sample_size(10);
    let protocols = [
        ProtocolChoice::EPaxos,
        ProtocolChoice::MultiPaxos(MultiPaxosChoice::default()),
        ProtocolChoice::FastPaxos(FastPaxosChoice::default()),
    ];
    let durabilities = [("memory", Durability::Memory), ("fsync", Durability::Fsync)];
    let runs = protocols.iter().flat_map(|protocol| durabilities.map(|with| (protocol, with)));
    for (protocol, (durable, durability)) in runs {
        let name = format!("{}_{durable}", protocol.name());
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
        config.durability = durability;
        config.protocol = protocol.clone();
        let start = LocalCluster::start(config, |_| KvStore::default());
        let cluster = runtime.block_on(start).expect("a cluster");
        for (replicas, commands) in [(&cluster.replicas()[..1], 1), (cluster.replicas(), COMMANDS)]
        {
            let all = commands * replicas.len() as u64;
            group.throughput(Throughput::Elements(all));
            group.bench_function(BenchmarkId::new(&name, all), |bencher| {
                bencher.iter_custom(|iterations| {
                    let run = |_| runtime.block_on(load(replicas, &workload, commands));
                    (0..iterations).map(run).sum()
                });
            });
        }
        runtime.block_on(cluster.shutdown(Duration::from_secs(5)));
    }
    group.finish();
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
