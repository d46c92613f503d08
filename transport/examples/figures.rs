//! Prints what the mesh does on this machine: throughput, round trips, punctuality.
//!
//! ```text
//! cargo run --release -p panchayat-transport --example figures [-- emulated | transfers]
//! ```
//!
//! Two nodes in one process over loopback sockets, each with a runtime of its own; so every figure
//! includes both ends. Say how busy the machine was when you quote one.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat_consensus::{ClusterId, NodeId};
use panchayat_transport::identity::Authority;
use panchayat_transport::wan::{LinkParams, WanControl};
use panchayat_transport::{
    BoxFuture, BulkSink, ClientIdentity, Delivery, DownReason, Lane, Listen, Mesh, MeshConfig,
    MeshHandler, PeerConfig, RequestError, SendError,
};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const CLUSTER: ClusterId = ClusterId(1);

/// Counts frames; sends those of the urgent lane back if told to.
#[derive(Default)]
struct Counter {
    frames: AtomicU64,
    bytes: AtomicU64,
    echo: OnceLock<Mesh>,
}

impl MeshHandler for Counter {
    fn frame(&self, from: NodeId, lane: Lane, frame: Bytes) -> Delivery {
        self.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        if lane == Lane::Urgent
            && let Some(mesh) = self.echo.get()
        {
            let _ = mesh.send(from, lane, frame);
        }
        self.frames.fetch_add(1, Ordering::Release);
        Delivery::Done
    }

    fn peer_up(&self, _: NodeId) {}

    fn peer_down(&self, peer: NodeId, reason: DownReason) {
        println!("{peer} down: {reason}");
    }

    fn request(&self, _: ClientIdentity, request: Bytes) -> BoxFuture<Result<Bytes, RequestError>> {
        Box::pin(async { Ok(request) })
    }

    /// As many bytes as the request says.
    fn serve(
        &self,
        _: NodeId,
        request: Bytes,
        mut sink: BulkSink,
    ) -> BoxFuture<Result<(), RequestError>> {
        Box::pin(async move {
            let bytes = std::str::from_utf8(&request).ok().and_then(|text| text.parse().ok());
            let bytes: usize = bytes.ok_or(RequestError::Rejected("not a number".into()))?;
            let piece = Bytes::from(vec![7; 1 << 20]);
            for start in (0..bytes).step_by(piece.len()) {
                sink.write(piece.slice(..piece.len().min(bytes - start))).await?;
            }
            Ok(())
        })
    }
}

struct Pair {
    runtimes: Vec<tokio::runtime::Runtime>,
    meshes: Vec<Mesh>,
    counters: Vec<Arc<Counter>>,
}

impl Pair {
    fn start(wan: Option<WanControl>) -> Result<Self, Box<dyn std::error::Error>> {
        Self::start_with(wan, |_| {})
    }

    fn start_with(
        wan: Option<WanControl>,
        change: impl Fn(&mut MeshConfig),
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let authority = Authority::create()?;
        let mut sockets = Vec::new();
        for id in [A, B] {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            sockets.push((id, socket.local_addr()?, socket));
        }
        let addrs: Vec<_> = sockets.iter().map(|(id, addr, _)| (*id, *addr)).collect();
        let mut pair = Self { runtimes: Vec::new(), meshes: Vec::new(), counters: Vec::new() };
        for (id, _, socket) in sockets {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            let identity = authority.issue_node(CLUSTER, id)?;
            let listen = Listen::Socket(socket);
            let mut config = MeshConfig::new(runtime.handle().clone(), identity, listen);
            config.wan = wan.clone();
            let others = addrs.iter().filter(|(other, _)| *other != id);
            config.peers = others
                .map(|(node, addr)| PeerConfig { node: *node, addr: *addr, rtt: None })
                .collect();
            change(&mut config);
            let counter = Arc::new(Counter::default());
            pair.meshes.push(Mesh::start(config, Arc::clone(&counter) as _)?);
            pair.counters.push(counter);
            pair.runtimes.push(runtime);
        }
        while !(pair.meshes[0].is_up(B) && pair.meshes[1].is_up(A)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(pair)
    }

    fn received(&self, node: usize) -> u64 {
        self.counters[node].frames.load(Ordering::Acquire)
    }

    fn end(self) {
        for (mesh, runtime) in self.meshes.iter().zip(&self.runtimes) {
            runtime.block_on(mesh.shutdown());
        }
    }
}

/// CPU time this process has used.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn one_way(pair: &Pair, lane: Lane, bytes: usize, count: u64) {
    let frame = Bytes::from(vec![7; bytes]);
    let before = pair.received(1);
    let (start, cpu_start) = (Instant::now(), cpu());
    let mut sent = 0;
    while sent < count {
        match pair.meshes[0].send(B, lane, frame.clone()) {
            Ok(()) => sent += 1,
            Err(SendError::Full) => std::thread::sleep(Duration::from_micros(50)),
            Err(error) => return println!("{error}"),
        }
    }
    while pair.received(1) < before + count {
        std::thread::sleep(Duration::from_micros(50));
    }
    let (took, used) = (start.elapsed().as_secs_f64(), (cpu() - cpu_start).as_secs_f64());
    println!(
        "one way, {bytes} B frames, {lane:?}: {:.0} frames/s, {:.1} MB/s, {:.2} CPU-us per frame",
        count as f64 / took,
        (count * bytes as u64) as f64 / took / 1e6,
        used * 1e6 / count as f64,
    );
}

/// `flight` frames there and back at a time.
fn echo(pair: &Pair, flight: u64, rounds: usize) {
    let frame = Bytes::from(vec![7; 100]);
    let mut times = Vec::with_capacity(rounds);
    let (all, cpu_start) = (Instant::now(), cpu());
    for _ in 0..rounds {
        let before = pair.received(0);
        let start = Instant::now();
        for _ in 0..flight {
            if let Err(error) = pair.meshes[0].send(B, Lane::Urgent, frame.clone()) {
                return println!("{error}");
            }
        }
        while pair.received(0) < before + flight {
            std::thread::yield_now();
        }
        times.push(start.elapsed());
    }
    let total = flight * rounds as u64;
    let (took, used) = (all.elapsed().as_secs_f64(), (cpu() - cpu_start).as_secs_f64());
    times.sort();
    let micros = |at: usize| times[at.min(rounds - 1)].as_secs_f64() * 1e6;
    println!(
        "echo, 100 B, {flight} in flight: {:.0}/s, p50 {:.0} us, p99 {:.0} us, {:.2} CPU-us each \
         (the caller spins)",
        total as f64 / took,
        micros(rounds / 2),
        micros(rounds * 99 / 100),
        used * 1e6 / total as f64,
    );
}

/// Votes there and back while the bulk lane is kept full.
fn echo_beside_bulk(pair: &Pair) {
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let frame = Bytes::from(vec![1; 256 << 10]);
            while stop.load(Ordering::Relaxed) == 0 {
                if pair.meshes[0].send(B, Lane::Bulk, frame.clone()).is_err() {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        std::thread::sleep(Duration::from_millis(500));
        print!("beside a full bulk lane: ");
        echo(pair, 1, 500);
        stop.store(1, Ordering::Relaxed);
    });
}

/// Votes there and back, one at a time, alone and beside a transfer in the same direction.
fn echo_beside_transfer(
    path: &str,
    wan: Option<LinkParams>,
    delay_max: Duration,
    bytes: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let control = wan.map(|link| {
        let control = WanControl::new(1);
        control.set_pair(A, B, link);
        control
    });
    let pair = Pair::start_with(control, |config| config.timing.transfer_delay_max = delay_max)?;
    if pair.counters[1].echo.set(pair.meshes[1].clone()).is_err() {
        println!("already echoing");
    }
    let frame = Bytes::from(vec![7; 100]);
    let votes = |over: &dyn Fn(usize) -> bool| -> Result<Vec<Duration>, SendError> {
        let mut times = Vec::new();
        while !over(times.len()) {
            let before = pair.received(0);
            let start = Instant::now();
            pair.meshes[0].send(B, Lane::Urgent, frame.clone())?;
            while pair.received(0) < before + 1 {
                std::thread::sleep(Duration::from_micros(50));
            }
            times.push(start.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
        times.sort();
        Ok(times)
    };
    let alone = votes(&|sent| sent == 300)?;
    let fetcher = pair.meshes[1].clone();
    let transfer = pair.runtimes[1].spawn(async move {
        let start = Instant::now();
        let mut reader = fetcher.fetch(A, bytes.to_string().into()).await?;
        while reader.chunk().await?.is_some() {}
        Ok::<_, panchayat_transport::FetchError>((reader.received(), start.elapsed()))
    });
    let beside = votes(&|_| transfer.is_finished())?;
    let (moved, took) = pair.runtimes[1].block_on(transfer)??;
    let ms =
        |times: &[Duration], part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "{path}, may add {delay_max:?}: {} MiB at {:.1} MB/s; votes there and back p50 {:.2} p99 \
         {:.2} ms alone, p50 {:.2} p99 {:.2} ms beside it ({})",
        moved >> 20,
        moved as f64 / took.as_secs_f64() / 1e6,
        ms(&alone, 50),
        ms(&alone, 99),
        ms(&beside, 50),
        ms(&beside, 99),
        beside.len(),
    );
    pair.end();
    Ok(())
}

fn transfers() -> Result<(), Box<dyn std::error::Error>> {
    let wan = |mbit: u64| LinkParams {
        bandwidth_bps: Some(mbit * 1_000_000),
        ..LinkParams::delay(Duration::from_millis(12))
    };
    // The second one never holds a transfer back: what priority alone achieves.
    for delay_max in [Duration::from_millis(10), Duration::from_secs(60)] {
        echo_beside_transfer("loopback", None, delay_max, 1 << 30)?;
        echo_beside_transfer("24 ms, 400 Mbit/s", Some(wan(400)), delay_max, 256 << 20)?;
        echo_beside_transfer("24 ms, 100 Mbit/s", Some(wan(100)), delay_max, 256 << 20)?;
    }
    Ok(())
}

fn emulated(rtt_ms: f64, frames_per_second: u64) -> Result<(), Box<dyn std::error::Error>> {
    let wan = WanControl::new(1);
    let delay = Duration::from_secs_f64(rtt_ms / 2e3);
    let link = LinkParams { bandwidth_bps: Some(1_000_000_000), ..LinkParams::delay(delay) };
    wan.set_pair(A, B, link);
    let pair = Pair::start(Some(wan.clone()))?;
    std::thread::sleep(Duration::from_millis(500));
    pair.meshes[0].reset_pings();
    wan.reset_lateness();
    let frame = Bytes::from(vec![7; 1000]);
    let (start, cpu_start) = (Instant::now(), cpu());
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(5) {
        let due = start.elapsed().as_millis() as u64 * frames_per_second / 1000;
        while sent < due {
            let _ = pair.meshes[0].send(B, Lane::Normal, frame.clone());
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let used = (cpu() - cpu_start).as_secs_f64() / start.elapsed().as_secs_f64();
    let stats = &pair.meshes[0].stats().peers[&B];
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let late = wan.lateness_snapshot();
    println!(
        "emulated {rtt_ms} ms, {frames_per_second} frames of 1 kB/s: ping p50 {:.3} p99 {:.3}, \
         min_rtt {:.3} ms; late p50 {:.3} p99 {:.3} max {:.3} ms of {} packets; {used:.2} cores",
        ms(stats.ping.p50),
        ms(stats.ping.p99),
        ms(stats.rtt_min.unwrap_or_default()),
        ms(late.p50),
        ms(late.p99),
        ms(late.max),
        late.packets,
    );
    pair.end();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("emulated") {
        return [0, 1000, 20_000].into_iter().try_for_each(|load| emulated(25.0, load));
    }
    if std::env::args().nth(1).as_deref() == Some("transfers") {
        return transfers();
    }
    let pair = Pair::start(None)?;
    one_way(&pair, Lane::Normal, 100, 2_000_000);
    one_way(&pair, Lane::Normal, 1000, 500_000);
    one_way(&pair, Lane::Bulk, 1 << 20, 2000);
    if pair.counters[1].echo.set(pair.meshes[1].clone()).is_err() {
        println!("already echoing");
    }
    for (flight, rounds) in [(1, 5000), (64, 2000), (1024, 500)] {
        echo(&pair, flight, rounds);
    }
    echo_beside_bulk(&pair);
    println!("{:?}", pair.meshes[0].stats().peers[&B]);
    pair.end();
    [0, 1000, 20_000].into_iter().try_for_each(|load| emulated(25.0, load))
}
