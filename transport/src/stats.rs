//! What a mesh has seen: per peer, and refusals of every kind.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use panchayat_consensus::NodeId;
use parking_lot::Mutex;
use quinn::ConnectionStats;

use crate::bulk::TransferStats;
use crate::lane::{LANES, Lane};

/// The longest round trip told apart, in microseconds; longer counts as this.
const PING_MICROS_MAX: u64 = 60_000_000;

/// At most one log line per kind of refusal in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// A mesh's statistics at one moment.
#[derive(Clone, Debug)]
pub struct MeshStats {
    /// Each configured peer.
    pub peers: BTreeMap<NodeId, PeerStats>,
    /// What was refused, since the start.
    pub refused: Refusals,
    /// Tasks of this mesh that are running.
    pub tasks: usize,
    /// Connected clients.
    pub clients: usize,
    /// Client requests in progress.
    pub requests: usize,
}

impl MeshStats {
    /// Bulk transfers that this node serves, to all peers it has now.
    pub fn served(&self) -> TransferStats {
        self.transfers(|peer| &peer.served)
    }

    /// Bulk transfers that this node fetches, from all peers it has now.
    pub fn fetched(&self) -> TransferStats {
        self.transfers(|peer| &peer.fetched)
    }

    fn transfers(&self, of: impl Fn(&PeerStats) -> &TransferStats) -> TransferStats {
        let mut sum = TransferStats::default();
        self.peers.values().for_each(|peer| sum.add(of(peer)));
        sum
    }
}

/// One lane's traffic with one peer, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Frames handed to QUIC.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Frames given to the handler.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Bytes queued now, with 64 per frame.
    pub queue_bytes: usize,
}

/// Frames of one peer in QUIC datagrams, since the start; the lanes' counts include them. What was sent
/// here and neither received nor dropped there was lost on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramStats {
    /// Frames sent so.
    pub frames_sent: u64,
    /// Frames that were short enough and took the stream, since too many datagrams waited to be
    /// sent: the path was full.
    pub frames_diverted: u64,
    /// Frames given to the handler.
    pub frames_received: u64,
    /// Frames that came while the handler had not yet taken an earlier one of their lane.
    pub frames_dropped: u64,
}

/// Round trips of heartbeats, measured end to end through the runtime and, if there is one, the
/// WAN emulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PingStats {
    /// How many were answered.
    pub count: u64,
    /// The shortest.
    pub min: Duration,
    /// Half were at most this long.
    pub p50: Duration,
    /// 99 % were at most this long.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// One peer, as this node sees it. Counters run since the start, over all connections.
#[derive(Clone, Debug)]
pub struct PeerStats {
    /// Where it receives.
    pub addr: SocketAddr,
    /// Whether there is a link.
    pub up: bool,
    /// The wire version spoken on it: see [`crate::Mesh::wire_version`].
    pub wire_version: Option<u8>,
    /// How long ago anything was last heard; `None` if never.
    pub last_heard: Option<Duration>,
    /// Links made so far.
    pub links: u64,
    /// Links that replaced one that still existed (raced reconnects).
    pub superseded: u64,
    /// Attempts to connect that this side made.
    pub dials: u64,
    /// QUIC's smoothed round trip of the present link.
    pub rtt: Option<Duration>,
    /// QUIC's smallest round trip of the present link: the cleanest check of an emulated delay.
    pub rtt_min: Option<Duration>,
    /// QUIC's congestion window of the present link, in bytes.
    pub congestion_window: u64,
    /// Times the congestion controller saw congestion.
    pub congestion_events: u64,
    /// QUIC packets sent.
    pub packets_sent: u64,
    /// QUIC packets lost.
    pub packets_lost: u64,
    /// UDP datagrams sent.
    pub datagrams_sent: u64,
    /// UDP datagrams received.
    pub datagrams_received: u64,
    /// Bytes in UDP datagrams sent.
    pub udp_bytes_sent: u64,
    /// Bytes in UDP datagrams received.
    pub udp_bytes_received: u64,
    /// System calls that sent them.
    pub send_calls: u64,
    /// By lane, in the order of [`Lane::ALL`].
    pub lanes: [LaneStats; LANES],
    /// Of these, what went in QUIC datagrams.
    pub datagrams: DatagramStats,
    /// Frames refused because a queue was full.
    pub dropped_full: u64,
    /// Frames refused because the peer was down.
    pub dropped_down: u64,
    /// Frames not queued again because they were still on their way.
    pub repeats_spared: u64,
    /// Heartbeat round trips since the start or the last reset.
    pub ping: PingStats,
    /// Bulk transfers that this node serves to the peer.
    pub served: TransferStats,
    /// Bulk transfers that this node fetches from the peer.
    pub fetched: TransferStats,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $field:ident $kind:ident;)*) => {
        /// Counts of everything refused or dropped as not acceptable, since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Refusals {
            $($(#[$doc])* pub $field: u64,)*
        }

        /// The kinds of refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum RefusedKind {
            $($kind,)*
        }

        impl RefusedKind {
            const ALL: &[Self] = &[$(Self::$kind,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($field),)*
                }
            }
        }

        impl Refused {
            /// The counts now.
            pub(crate) fn snapshot(&self) -> Refusals {
                Refusals { $($field: self.get(RefusedKind::$kind),)* }
            }
        }
    };
}

refusals! {
    /// Certificates of another authority, missing, or naming nobody; nodes' used as clients' and
    /// the reverse.
    certificate Certificate;
    /// Valid certificates, or hellos, of another cluster.
    cluster Cluster;
    /// Another node than the one meant.
    node Node;
    /// Nodes of this cluster that are not configured as peers, or must not dial this one.
    unknown_peer UnknownPeer;
    /// No protocol in common.
    alpn Alpn;
    /// Malformed, late, or other-version hellos; TLS errors not named above.
    hello Hello;
    /// Connections, handshakes or requests over a limit.
    overloaded Overloaded;
    /// Times the other side refused us.
    by_peer ByPeer;
    /// Frames over the limit; each closed its connection.
    frame_too_large FrameTooLarge;
    /// Frames of another version; each closed its connection.
    frame_version FrameVersion;
    /// Streams or datagrams the protocol does not have; each closed its connection.
    protocol Protocol;
    /// Client requests over the limit.
    request_too_large RequestTooLarge;
    /// Transfer requests over the limit, or of another version.
    transfer_request TransferRequest;
    /// Datagrams that are not QUIC version 1. Seen at the socket, before QUIC drops them.
    garbage_datagrams GarbageDatagram;
    /// QUIC datagrams for connections this process never had.
    stray_datagrams StrayDatagram;
}

/// Counts refusals and logs them, at most once per kind and second.
#[derive(Debug)]
pub(crate) struct Refused {
    node: NodeId,
    kinds: Vec<RefusedCell>,
}

#[derive(Debug, Default)]
struct RefusedCell {
    count: AtomicU64,
    /// When it was last logged, and the count then.
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Refused {
    pub(crate) fn new(node: NodeId) -> Self {
        let kinds = RefusedKind::ALL.iter().map(|_| RefusedCell::default()).collect();
        Self { node, kinds }
    }

    fn get(&self, kind: RefusedKind) -> u64 {
        self.kinds[kind as usize].count.load(Ordering::Relaxed)
    }

    /// Counts one refusal of `remote` and logs why.
    pub(crate) fn count(
        &self,
        kind: RefusedKind,
        remote: Option<SocketAddr>,
        why: &dyn fmt::Display,
    ) {
        let cell = &self.kinds[kind as usize];
        let count = cell.count.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        // Whoever holds the lock is logging this kind now: that is this second's line.
        let Some(mut logged) = cell.logged.try_lock() else { return };
        let before = match *logged {
            Some((at, _)) if now.duration_since(at) < LOG_INTERVAL => return,
            Some((_, before)) => before,
            None => 0,
        };
        *logged = Some((now, count));
        drop(logged);
        tracing::warn!(
            node = %self.node,
            remote = remote.map(tracing::field::display),
            kind = kind.name(),
            since_last_line = count.saturating_sub(before),
            total = count,
            "refused: {why}"
        );
    }
}

/// Counters of one peer that outlive its connections.
#[derive(Debug)]
pub(crate) struct PeerCounters {
    pub(crate) lanes: [LaneCounters; LANES],
    pub(crate) datagrams: DatagramCounters,
    pub(crate) dropped_full: AtomicU64,
    pub(crate) dropped_down: AtomicU64,
    pub(crate) repeats_spared: AtomicU64,
    pub(crate) links: AtomicU64,
    pub(crate) superseded: AtomicU64,
    pub(crate) dials: AtomicU64,
    pings: Mutex<Histogram<u32>>,
    /// Sums over connections that have ended.
    pub(crate) past: Mutex<PathTotals>,
}

#[derive(Debug, Default)]
pub(crate) struct LaneCounters {
    frames_sent: AtomicU64,
    bytes_sent: AtomicU64,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
}

impl LaneCounters {
    pub(crate) fn sent(&self, frames: u64, bytes: u64) {
        self.frames_sent.fetch_add(frames, Ordering::Relaxed);
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.frames_received.fetch_add(1, Ordering::Relaxed);
        self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, queue_bytes: usize) -> LaneStats {
        LaneStats {
            frames_sent: self.frames_sent.load(Ordering::Relaxed),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            frames_received: self.frames_received.load(Ordering::Relaxed),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            queue_bytes,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct DatagramCounters {
    sent: AtomicU64,
    diverted: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
}

impl DatagramCounters {
    pub(crate) fn sent(&self, sent: u64, diverted: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.diverted.fetch_add(diverted, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> DatagramStats {
        DatagramStats {
            frames_sent: self.sent.load(Ordering::Relaxed),
            frames_diverted: self.diverted.load(Ordering::Relaxed),
            frames_received: self.received.load(Ordering::Relaxed),
            frames_dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

impl PeerCounters {
    pub(crate) fn new() -> Self {
        // Cannot fail: bounds and precision are constants within the documented range.
        let pings = Histogram::new_with_bounds(1, PING_MICROS_MAX, 3).expect("valid bounds");
        Self {
            lanes: Lane::ALL.map(|_| LaneCounters::default()),
            datagrams: DatagramCounters::default(),
            dropped_full: AtomicU64::new(0),
            dropped_down: AtomicU64::new(0),
            repeats_spared: AtomicU64::new(0),
            links: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
            dials: AtomicU64::new(0),
            pings: Mutex::new(pings),
            past: Mutex::new(PathTotals::default()),
        }
    }

    pub(crate) fn ping(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(PING_MICROS_MAX);
        self.pings.lock().saturating_record(micros);
    }

    pub(crate) fn reset_pings(&self) {
        self.pings.lock().reset();
    }

    pub(crate) fn pings(&self) -> PingStats {
        let pings = self.pings.lock();
        if pings.is_empty() {
            return PingStats::default();
        }
        let quantile = |q| Duration::from_micros(pings.value_at_quantile(q));
        PingStats {
            count: pings.len(),
            min: Duration::from_micros(pings.min()),
            p50: quantile(0.5),
            p99: quantile(0.99),
            max: Duration::from_micros(pings.max()),
        }
    }
}

/// The counters of QUIC connections, summed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathTotals {
    pub(crate) packets_sent: u64,
    pub(crate) packets_lost: u64,
    pub(crate) congestion_events: u64,
    pub(crate) datagrams_sent: u64,
    pub(crate) datagrams_received: u64,
    pub(crate) udp_bytes_sent: u64,
    pub(crate) udp_bytes_received: u64,
    pub(crate) send_calls: u64,
}

impl PathTotals {
    pub(crate) fn add(&mut self, stats: &ConnectionStats) {
        self.packets_sent += stats.path.sent_packets;
        self.packets_lost += stats.path.lost_packets;
        self.congestion_events += stats.path.congestion_events;
        self.datagrams_sent += stats.udp_tx.datagrams;
        self.datagrams_received += stats.udp_rx.datagrams;
        self.udp_bytes_sent += stats.udp_tx.bytes;
        self.udp_bytes_received += stats.udp_rx.bytes;
        self.send_calls += stats.udp_tx.ios;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_kind() {
        let refused = Refused::new(NodeId(1));
        for _ in 0..3 {
            refused.count(RefusedKind::Cluster, None, &"test");
        }
        refused.count(RefusedKind::StrayDatagram, None, &"test");
        let expected = Refusals { cluster: 3, stray_datagrams: 1, ..Refusals::default() };
        assert_eq!(refused.snapshot(), expected);
    }

    #[test]
    fn pings_are_summarised_and_reset() {
        let counters = PeerCounters::new();
        assert_eq!(counters.pings(), PingStats::default());
        for ms in 1..=100 {
            counters.ping(Duration::from_millis(ms));
        }
        let pings = counters.pings();
        assert_eq!(pings.count, 100);
        assert!((pings.p50.as_secs_f64() - 0.050).abs() < 0.0005, "{pings:?}");
        assert!((pings.p99.as_secs_f64() - 0.099).abs() < 0.0005, "{pings:?}");
        counters.reset_pings();
        assert_eq!(counters.pings().count, 0);
    }
}
