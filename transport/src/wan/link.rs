//! One directed link: the fate of each packet, and when it arrives.
//!
//! The order of effects is that of a real path: a bounded queue in front of a wire of finite
//! bandwidth, loss on the wire, then propagation delay with jitter. A link is first in, first out,
//! even with jitter: a packet never overtakes an earlier one. (Reordering alone made the
//! congestion controller's throughput collapse forty-fold; routes between cities rarely reorder.)
//!
//! Pure of clocks: the caller says what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use panchayat_consensus::NodeId;
use parking_lot::Mutex;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::lateness::LatenessRecorder;

/// What IPv4 and UDP headers add to a packet on the wire.
const HEADER_BYTES: u64 = 28;

/// Most bytes on their way over one link. A bound on memory: 64 MiB is 1 Gbit/s for half a second.
const FLIGHT_BYTES_MAX: u64 = 64 << 20;

/// The longest a packet is kept, whatever the jitter's tail says.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// Delay that varies from packet to packet: lognormal, added to the constant delay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter {
    /// Half of the packets get at most this.
    pub median: Duration,
    /// The standard deviation of the logarithm: p99 is `median * exp(2.326 * sigma)`.
    pub sigma: f64,
}

/// What packets suffer on a directed link. The default: nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkParams {
    /// Propagation delay, one way: half of the round trip.
    pub delay: Duration,
    /// Varying delay on top.
    pub jitter: Option<Jitter>,
    /// The part of packets that is lost, 0 to 1.
    pub loss: f64,
    /// The mean number of packets lost in a row. Up to 1: each packet's loss is independent.
    /// Above: a Gilbert–Elliott model with that burst length and the same loss on average.
    pub loss_burst: f64,
    /// Bits per second on the wire, headers included; `None` is unlimited.
    pub bandwidth_bps: Option<u64>,
    /// Most bytes that wait in front of the wire; a packet beyond is dropped.
    pub queue_bytes_max: u64,
}

impl Default for LinkParams {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: None,
            loss: 0.0,
            loss_burst: 1.0,
            bandwidth_bps: None,
            queue_bytes_max: 4 << 20,
        }
    }
}

impl LinkParams {
    /// A constant one-way delay and nothing else.
    pub fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Whether packets may go straight to the kernel.
    fn is_transparent(&self) -> bool {
        self.delay.is_zero()
            && self.jitter.is_none()
            && self.loss <= 0.0
            && self.bandwidth_bps.is_none()
    }
}

/// Counters of one directed link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Packets given to the link.
    pub packets: u64,
    /// Bytes given to the link, without headers.
    pub bytes: u64,
    /// Packets dropped by random loss.
    pub dropped_loss: u64,
    /// Packets dropped because the link was cut.
    pub dropped_partition: u64,
    /// Packets dropped because the queue in front of the wire, or the link's memory, was full.
    pub dropped_queue: u64,
    /// Packets the kernel would not take when they were due.
    pub dropped_socket: u64,
}

/// A directed link.
#[derive(Debug)]
pub(super) struct Link {
    cut: AtomicBool,
    transparent: AtomicBool,
    state: Mutex<LinkState>,
    counters: Counters,
    flight_bytes: AtomicU64,
    lateness: Arc<Mutex<LatenessRecorder>>,
}

#[derive(Debug, Default)]
struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped_loss: AtomicU64,
    dropped_partition: AtomicU64,
    dropped_queue: AtomicU64,
    dropped_socket: AtomicU64,
}

#[derive(Debug)]
struct LinkState {
    params: LinkParams,
    rng: Xoshiro256PlusPlus,
    /// Gilbert–Elliott: whether a burst of losses is on.
    in_burst: bool,
    /// When the wire has sent everything it was given.
    wire_free: Option<Instant>,
    /// When the last packet arrives.
    last_due: Option<Instant>,
}

/// Why a packet of a link never left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drop {
    Loss,
    Partition,
    Queue,
    Socket,
}

/// What to do with a packet now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Send it when this time has come.
    Due(Instant),
    /// It is gone.
    Dropped,
}

impl Link {
    pub(super) fn new(
        seed: u64,
        from: NodeId,
        to: NodeId,
        lateness: &Arc<Mutex<LatenessRecorder>>,
    ) -> Self {
        // Distinct odd multipliers keep the two directions, and all pairs, apart.
        let ends = from.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ to.0.wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(32);
        Self {
            cut: AtomicBool::new(false),
            transparent: AtomicBool::new(true),
            state: Mutex::new(LinkState {
                params: LinkParams::default(),
                rng: Xoshiro256PlusPlus::seed_from_u64(seed ^ ends),
                in_burst: false,
                wire_free: None,
                last_due: None,
            }),
            counters: Counters::default(),
            flight_bytes: AtomicU64::new(0),
            lateness: Arc::clone(lateness),
        }
    }

    pub(super) fn set(&self, params: LinkParams) {
        let mut state = self.state.lock();
        state.params = params;
        self.transparent.store(params.is_transparent(), Ordering::Relaxed);
    }

    pub(super) fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Whether packets need not pass through the scheduler at all.
    pub(super) fn is_transparent(&self) -> bool {
        self.transparent.load(Ordering::Relaxed) && !self.is_cut()
    }

    /// Decides the fate of a packet of `bytes` handed over at `now`.
    pub(super) fn fate(&self, now: Instant, bytes: u64) -> Fate {
        self.counters.packets.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.is_cut() {
            return self.drop_now(Drop::Partition);
        }
        if self.flight_bytes.load(Ordering::Relaxed) + bytes > FLIGHT_BYTES_MAX {
            return self.drop_now(Drop::Queue);
        }
        match self.state.lock().pass(now, bytes) {
            Ok(due) => {
                self.flight_bytes.fetch_add(bytes, Ordering::Relaxed);
                Fate::Due(due)
            }
            Err(reason) => self.drop_now(reason),
        }
    }

    /// A packet that was on its way has left, or been dropped.
    pub(super) fn landed(&self, bytes: u64, dropped: Option<Drop>) {
        self.flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(reason) = dropped {
            self.drop_now(reason);
        }
    }

    pub(super) fn record_lateness(&self, late: impl Iterator<Item = Duration>) {
        let mut recorder = self.lateness.lock();
        late.for_each(|late| recorder.record(late));
    }

    fn drop_now(&self, reason: Drop) -> Fate {
        let counter = match reason {
            Drop::Loss => &self.counters.dropped_loss,
            Drop::Partition => &self.counters.dropped_partition,
            Drop::Queue => &self.counters.dropped_queue,
            Drop::Socket => &self.counters.dropped_socket,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Fate::Dropped
    }

    pub(super) fn stats(&self) -> LinkStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkStats {
            packets: get(&self.counters.packets),
            bytes: get(&self.counters.bytes),
            dropped_loss: get(&self.counters.dropped_loss),
            dropped_partition: get(&self.counters.dropped_partition),
            dropped_queue: get(&self.counters.dropped_queue),
            dropped_socket: get(&self.counters.dropped_socket),
        }
    }
}

impl LinkState {
    fn pass(&mut self, now: Instant, bytes: u64) -> Result<Instant, Drop> {
        let sent = self.serialise(now, bytes)?;
        // Both are drawn for every packet, so that the n-th packet always sees the same numbers.
        let lost = self.draw_loss();
        let jitter = self.draw_jitter();
        if lost {
            return Err(Drop::Loss);
        }
        let delay = (self.params.delay + jitter).min(DELAY_MAX);
        let due = self.last_due.map_or(sent + delay, |last| last.max(sent + delay));
        self.last_due = Some(due);
        Ok(due)
    }

    /// When the wire has sent the packet; an error if the queue in front of it is full.
    fn serialise(&mut self, now: Instant, bytes: u64) -> Result<Instant, Drop> {
        let Some(bits_per_second) = self.params.bandwidth_bps else { return Ok(now) };
        let bits_per_second = bits_per_second.max(1) as f64;
        let start = self.wire_free.map_or(now, |free| free.max(now));
        let waiting = (start - now).as_secs_f64() * bits_per_second / 8.0;
        if waiting + bytes as f64 > self.params.queue_bytes_max as f64 {
            return Err(Drop::Queue);
        }
        let on_wire = ((bytes + HEADER_BYTES) * 8) as f64 / bits_per_second;
        let sent = start + Duration::from_secs_f64(on_wire.min(DELAY_MAX.as_secs_f64()));
        self.wire_free = Some(sent);
        Ok(sent)
    }

    fn draw_loss(&mut self) -> bool {
        let draw = self.uniform();
        let loss = self.params.loss.clamp(0.0, 1.0);
        let burst = self.params.loss_burst;
        if loss <= 0.0 {
            self.in_burst = false;
        } else if burst <= 1.0 || loss >= 1.0 {
            return draw < loss;
        } else if self.in_burst {
            self.in_burst = draw >= 1.0 / burst;
        } else {
            // The stationary probability of the lossy state is then exactly `loss`.
            self.in_burst = draw < loss / (burst * (1.0 - loss));
        }
        self.in_burst
    }

    fn draw_jitter(&mut self) -> Duration {
        let Some(jitter) = self.params.jitter else { return Duration::ZERO };
        // Box–Muller; 1 - u is in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.uniform()).cos();
        let seconds = jitter.median.as_secs_f64() * (jitter.sigma * normal).exp();
        Duration::try_from_secs_f64(seconds).unwrap_or(DELAY_MAX).min(DELAY_MAX)
    }

    /// Uniform in [0, 1), with 53 random bits.
    fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn link(seed: u64, params: LinkParams) -> Link {
        let lateness = Arc::new(Mutex::new(LatenessRecorder::new()));
        let link = Link::new(seed, NodeId(1), NodeId(2), &lateness);
        link.set(params);
        link
    }

    /// Passes `count` packets 1 ms apart; their delays, `None` where lost.
    fn delays(link: &Link, count: u32) -> Vec<Option<Duration>> {
        let start = Instant::now();
        let at = |i| start + Duration::from_millis(u64::from(i));
        (0..count)
            .map(|i| match link.fate(at(i), 1000) {
                Fate::Due(due) => {
                    link.landed(1000, None);
                    Some(due - at(i))
                }
                Fate::Dropped => None,
            })
            .collect()
    }

    #[test]
    fn a_constant_delay_is_exact() {
        let link = link(1, LinkParams::delay(Duration::from_millis(12)));
        assert!(delays(&link, 100).iter().all(|d| *d == Some(Duration::from_millis(12))));
    }

    #[test]
    fn the_same_seed_gives_the_same_fates() {
        let params = LinkParams {
            loss: 0.2,
            loss_burst: 3.0,
            jitter: Some(Jitter { median: Duration::from_millis(3), sigma: 0.9 }),
            ..LinkParams::default()
        };
        assert_eq!(delays(&link(7, params), 1000), delays(&link(7, params), 1000));
        assert_ne!(delays(&link(7, params), 1000), delays(&link(8, params), 1000));
    }

    #[test]
    fn the_two_directions_draw_differently() {
        let lateness = Arc::new(Mutex::new(LatenessRecorder::new()));
        let params = LinkParams { loss: 0.5, ..LinkParams::default() };
        let [there, back] = [(1, 2), (2, 1)].map(|(from, to)| {
            let link = Link::new(7, NodeId(from), NodeId(to), &lateness);
            link.set(params);
            delays(&link, 100)
        });
        assert_ne!(there, back);
    }

    #[test]
    fn loss_and_burst_length_are_as_configured() {
        for burst in [1.0, 5.0] {
            let params = LinkParams { loss: 0.05, loss_burst: burst, ..LinkParams::default() };
            let fates = delays(&link(3, params), 200_000);
            let lost = fates.iter().filter(|d| d.is_none()).count() as f64;
            let bursts = fates.windows(2).filter(|w| w[0].is_some() && w[1].is_none()).count();
            assert!((lost / 200_000.0 - 0.05).abs() < 0.006, "burst {burst}: lost {lost}");
            let mean = lost / bursts as f64;
            assert!((mean - burst.max(1.05)).abs() < 0.35, "burst {burst}: mean {mean}");
        }
    }

    #[test]
    fn jitter_has_the_stated_median_and_tail_and_keeps_order() {
        let jitter = Jitter { median: Duration::from_micros(200), sigma: 0.7 };
        let params = LinkParams { jitter: Some(jitter), ..LinkParams::default() };
        let link = link(5, params);
        let start = Instant::now();
        // A second apart: no packet waits for an earlier one.
        let mut drawn: Vec<Duration> = (0..20_000)
            .map(|i| match link.fate(start + SECOND * i, 100) {
                Fate::Due(due) => due - (start + SECOND * i),
                Fate::Dropped => panic!("lost without loss"),
            })
            .collect();
        drawn.sort();
        let p50 = drawn[10_000].as_secs_f64() * 1e6;
        let p99 = drawn[19_800].as_secs_f64() * 1e6;
        assert!((p50 - 200.0).abs() < 10.0, "median {p50} us");
        assert!((p99 - 200.0 * (2.326f64 * 0.7).exp()).abs() < 100.0, "p99 {p99} us");
        // All at once: later packets wait, none overtakes.
        let mut last = None;
        for _ in 0..1000 {
            let Fate::Due(due) = link.fate(start + SECOND * 30_000, 100) else { panic!("lost") };
            assert!(Some(due) >= last);
            last = Some(due);
        }
    }

    #[test]
    fn bandwidth_spaces_packets_and_the_queue_is_bounded() {
        let params = LinkParams {
            bandwidth_bps: Some(8 * 1028 * 1000),
            queue_bytes_max: 10_000,
            ..LinkParams::default()
        };
        let link = link(1, params);
        let now = Instant::now();
        let mut due = Vec::new();
        while let Fate::Due(at) = link.fate(now, 1000) {
            due.push(at - now);
        }
        // 1028 bytes with headers take 1 ms; the queue holds what is sent within about 10 ms.
        assert!((9..=11).contains(&due.len()), "{due:?}");
        for (i, at) in due.iter().enumerate() {
            assert!((at.as_secs_f64() * 1e3 - (i + 1) as f64).abs() < 0.01, "{due:?}");
        }
        assert_eq!(link.stats().dropped_queue, 1);
    }

    #[test]
    fn a_cut_link_drops_everything_and_heals() {
        let link = link(1, LinkParams::delay(SECOND));
        link.set_cut(true);
        assert_eq!(link.fate(Instant::now(), 10), Fate::Dropped);
        link.set_cut(false);
        assert!(matches!(link.fate(Instant::now(), 10), Fate::Due(_)));
        assert_eq!(link.stats().dropped_partition, 1);
    }

    #[test]
    fn memory_is_bounded() {
        let link = link(1, LinkParams::delay(SECOND));
        let packets = (0..).take_while(|_| link.fate(Instant::now(), 1 << 20) != Fate::Dropped);
        assert_eq!(packets.count() as u64, FLIGHT_BYTES_MAX >> 20);
    }
}
