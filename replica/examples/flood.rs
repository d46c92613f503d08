//! A producer that never waits, and what it costs: it is told `Overloaded`, and memory stays within
//! what the limits allow.
//!
//! `cargo run --release -p panchayat --example flood [SECONDS]`
//!
//! Three cities in one process are given as many commands as a thread can make, for half of the time
//! with one of them dead, so that the others keep what it misses. The program prints how much memory
//! the process came to hold beside what it held when it was idle, and fails if that is more than its
//! limits allow, or if nobody was refused.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat::kv::{KvCommand, KvOp, KvStore};
use panchayat::{Limits, LocalCluster, LocalConfig, ProposeError, Replica, ReplicaId, Topology};

const DELHI: ReplicaId = ReplicaId(1);
const KEYS: u64 = 1_000;
const VALUE_BYTES: usize = 1_000;
/// What an instance takes beside its command, and what a task takes that waits for its outcome.
const BESIDE_COMMAND: usize = 1_500;
/// What the journal and each lane to a peer may queue: not ours to choose, but bounded.
const JOURNAL_QUEUE: usize = 8 << 20;
const PEER_QUEUES: usize = 68 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(20), |word| word.parse())?;
    run(Duration::from_secs(seconds)).await
}

fn limits() -> Limits {
    Limits {
        proposals_max: 4_096,
        proposal_bytes_max: 8 << 20,
        inbox_bytes_max: 8 << 20,
        command_bytes_max: 64 << 10,
        retained_max: 10_000,
        retained_bytes_max: 12 << 20,
        snapshot_journal_bytes: 16 << 20,
        journal_segment_bytes: 16 << 20,
        journal_bytes_max: 256 << 20,
        ..Limits::default()
    }
}

async fn run(time: Duration) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
    config.profile = Some("backbone".into());
    config.limits = limits();
    let mut cluster = LocalCluster::start(config, |_city| KvStore::default()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let idle = resident_bytes()?;

    let counts = Arc::new(Counts::default());
    let mut peak = flood(&cluster, time / 2, &counts).await?;
    cluster.kill(DELHI);
    peak = peak.max(flood(&cluster, time / 2, &counts).await?);

    let [taken, refused] = [&counts.taken, &counts.refused].map(|n| n.load(Ordering::Relaxed));
    let bound = allowed(&limits(), cluster.replicas().len());
    let more = peak.saturating_sub(idle);
    println!(
        "{taken} commands of {VALUE_BYTES} bytes taken in {:.0} s, {refused} refused as overloaded",
        time.as_secs_f64()
    );
    println!(
        "memory: {} MiB idle, {} MiB at most, so {} MiB for the load; the limits of the three \
         cities allow {} MiB",
        idle >> 20,
        peak >> 20,
        more >> 20,
        bound >> 20
    );
    cluster.shutdown(Duration::from_secs(5)).await;
    if refused == 0 || more > bound {
        return Err("a producer without bounds must be refused, and within them".into());
    }
    Ok(())
}

/// What all limits together let `cities` replicas hold for load: commands without a result, frames not
/// handled, records not written, messages not sent, and decided commands kept for who lacks them.
/// The state is small here, and so is what is remembered of requests, since there are none.
fn allowed(limits: &Limits, cities: usize) -> usize {
    let in_flight = limits.proposal_bytes_max as usize + limits.proposals_max * BESIDE_COMMAND;
    // At four times as many, proposals are refused.
    let retained = 4 * (limits.retained_bytes_max + limits.retained_max * BESIDE_COMMAND);
    let queues = JOURNAL_QUEUE + limits.inbox_bytes_max as usize + (cities - 1) * PEER_QUEUES;
    cities * (in_flight + retained + queues)
}

#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
}

/// Proposes on a thread of its own without ever waiting; gives the most memory seen meanwhile.
async fn flood(
    cluster: &LocalCluster<KvStore>,
    time: Duration,
    counts: &Arc<Counts>,
) -> Result<usize, Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    let producer = {
        let (cities, counts, stop) = (cluster.replicas().to_vec(), counts.clone(), stop.clone());
        let runtime = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                produce(&cities[number as usize % cities.len()], number, &counts, &runtime);
            }
        })
    };
    let (began, mut peak) = (Instant::now(), 0);
    while began.elapsed() < time {
        peak = peak.max(resident_bytes()?);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    producer.join().map_err(|_| "the producer panicked")?;
    Ok(peak)
}

/// Proposes one command, and leaves a task behind only if it was taken.
fn produce(
    city: &Replica<KvStore>,
    number: u64,
    counts: &Arc<Counts>,
    runtime: &tokio::runtime::Handle,
) {
    let key = Bytes::from(format!("key {}", number % KEYS));
    let command = KvCommand::One(KvOp::Put { key, value: Bytes::from(vec![7; VALUE_BYTES]) });
    let city = city.clone();
    let mut asked = Box::pin(async move { city.propose(&command).await });
    let mut context = Context::from_waker(Waker::noop());
    match pin!(&mut asked).as_mut().poll(&mut context) {
        Poll::Ready(Err(ProposeError::Overloaded)) => {
            counts.refused.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(_) => {}
        Poll::Pending => {
            let counts = counts.clone();
            runtime.spawn(async move {
                match asked.await {
                    Ok(_) => counts.taken.fetch_add(1, Ordering::Relaxed),
                    Err(ProposeError::Overloaded) => counts.refused.fetch_add(1, Ordering::Relaxed),
                    Err(_) => 0,
                };
            });
        }
    }
}

/// What the process holds in memory, as the kernel counts.
fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("the kernel does not say how much memory is resident")?
        .parse()?;
    Ok(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_producer_without_bounds_is_refused_within_them() {
        run(Duration::from_secs(4)).await.unwrap();
    }
}
