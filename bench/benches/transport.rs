//! The mesh between two nodes on loopback: the round trip of a frame, and how many go through.
//!
//! What it measures: frames through queue, lane, QUIC with its encryption, the kernel and back, on a
//! runtime of two threads. Round trip: one frame there and one back. Throughput: so many frames one
//! way, and one back when all have arrived. An element is a frame sent one way.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panchayat::identity::Authority;
use panchayat::transport::{
    BoxFuture, ClientIdentity, Delivery, DownReason, Lane, Listen, Mesh, MeshConfig, MeshHandler,
    PeerConfig, RequestError,
};
use panchayat::{ClusterId, NodeId};

const FRAME_BYTES: usize = 100;
const FRAMES: u64 = 1_000;

/// Counts frames, and says when a number of them is complete.
struct Counter {
    seen: AtomicU64,
    every: u64,
    complete: Sender<()>,
}

impl MeshHandler for Counter {
    fn frame(&self, _from: NodeId, _lane: Lane, _frame: Bytes) -> Delivery {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if seen.is_multiple_of(self.every) {
            // Nobody listens any more at the end of a bench.
            let _ = self.complete.send(());
        }
        Delivery::Done
    }

    fn peer_up(&self, _peer: NodeId) {}

    fn peer_down(&self, _peer: NodeId, _reason: DownReason) {}

    fn request(
        &self,
        _client: ClientIdentity,
        _request: Bytes,
    ) -> BoxFuture<Result<Bytes, RequestError>> {
        Box::pin(async { Err(RequestError::Overloaded) })
    }
}

const NODES: [NodeId; 2] = [NodeId(1), NodeId(2)];

/// Two linked nodes; the second says when it has had `every` frames, the first at each.
fn pair(runtime: &tokio::runtime::Runtime, every: u64) -> ([Mesh; 2], [Receiver<()>; 2]) {
    let authority = Authority::create().expect("an authority");
    let sockets = NODES.map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    let addrs = [0, 1].map(|i: usize| sockets[i].local_addr().expect("an address"));
    let mut receivers = Vec::new();
    let mut meshes = Vec::new();
    for (i, socket) in sockets.into_iter().enumerate() {
        let identity = authority.issue_node(ClusterId(1), NODES[i]).expect("a certificate");
        let handle = runtime.handle().clone();
        let mut config = MeshConfig::new(handle, identity, Listen::Socket(socket));
        let rtt = Some(Duration::from_millis(1));
        config.peers = vec![PeerConfig { node: NODES[1 - i], addr: addrs[1 - i], rtt }];
        let (complete, receiver) = channel();
        let every = if i == 1 { every } else { 1 };
        let handler = Counter { seen: AtomicU64::new(0), every, complete };
        meshes.push(Mesh::start(config, Arc::new(handler)).expect("a mesh"));
        receivers.push(receiver);
    }
    let meshes: [Mesh; 2] = meshes.try_into().expect("two");
    while !(meshes[0].is_up(NODES[1]) && meshes[1].is_up(NODES[0])) {
        std::thread::sleep(Duration::from_millis(1));
    }
    (meshes, receivers.try_into().expect("two"))
}

fn transport(criterion: &mut Criterion) {
    println!(
        "conditions: commit {}; frames of {FRAME_BYTES} B in the normal lane, two nodes in one \
         process on loopback",
        panchayat_bench::COMMIT
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let frame = Bytes::from(vec![0x5a; FRAME_BYTES]);
    let mut group = criterion.benchmark_group("transport");
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    for frames in [1, FRAMES] {
        let name = if frames == 1 { "round_trip" } else { "throughput" };
        let ([a, b], [at_a, at_b]) = pair(&runtime, frames);
        group.throughput(Throughput::Elements(frames));
        group.bench_function(BenchmarkId::new(name, frames), |bencher| {
            bencher.iter(|| {
                for _ in 0..frames {
                    a.send(NODES[1], Lane::Normal, frame.clone()).expect("the queue has room");
                }
                at_b.recv().expect("all arrive");
                b.send(NODES[0], Lane::Normal, frame.clone()).expect("the queue has room");
                at_a.recv().expect("it arrives");
            });
        });
        runtime.block_on(async {
            a.shutdown().await;
            b.shutdown().await;
        });
    }
    group.finish();
}

criterion_group!(benches, transport);
criterion_main!(benches);
