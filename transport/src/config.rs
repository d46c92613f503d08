//! What a mesh is told when it starts. Every limit has a default that suits a WAN of a few nodes.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use panchayat_consensus::NodeId;
use tokio::runtime::Handle;

use crate::error::TransportError;
use crate::identity::Identity;
use crate::lane::LANES;
use crate::wan::WanControl;

/// The highest [`Limits::transfers_per_peer_max`]: every connection has windows for so many.
const TRANSFERS_PER_PEER_MAX: usize = 1024;

/// Where a mesh receives.
#[derive(Debug)]
pub enum Listen {
    /// Opens a socket at this address.
    Addr(SocketAddr),
    /// Uses a socket that is already bound, so that its address can be known before any mesh
    /// starts.
    Socket(UdpSocket),
}

/// Another node of the cluster.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Its name, which its certificate must carry.
    pub node: NodeId,
    /// Where it receives.
    pub addr: SocketAddr,
    /// The expected round trip, from the topology: paces the handshake's first retransmission
    /// (QUIC's own assumption is 333 ms). `None`: [`Timing::initial_rtt`].
    pub rtt: Option<Duration>,
}

/// What bounds memory and effort. Bytes where bytes are what runs out.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest frame, both ways.
    pub frame_bytes_max: usize,
    /// Bytes queued towards one peer, for each lane (in the order of [`crate::Lane::ALL`]). Each
    /// frame costs its length and 64 bytes.
    pub queue_bytes_max: [usize; LANES],
    /// QUIC flow control: bytes one lane may have sent beyond what the receiver has read. It
    /// bounds what an unread lane costs the receiver, and a lane's throughput to this per round
    /// trip.
    pub lane_window_bytes: u32,
    /// Peers a mesh can have.
    pub peers_max: usize,
    /// Handshakes in progress, and as many again from the addresses of configured peers. Beyond
    /// half of it, an address must first prove that it receives (QUIC's Retry).
    pub handshakes_max: usize,
    /// Connected clients.
    pub clients_max: usize,
    /// Requests in progress per client connection; a client waits at this limit.
    pub requests_per_client_max: u32,
    /// Requests in progress in all; beyond, they are answered `Overloaded`.
    pub requests_max: usize,
    /// Longest request.
    pub request_bytes_max: usize,
    /// Memory of all requests being read or handled; beyond, they are answered `Overloaded`.
    pub request_memory_bytes_max: usize,
    /// Bulk transfers in progress with one peer, in each direction. 0: none at all.
    pub transfers_per_peer_max: usize,
    /// Bulk transfers in progress with all peers together, in each direction. One that is not
    /// read costs [`Limits::lane_window_bytes`] of memory, on each side.
    pub transfers_max: usize,
    /// Longest request for a bulk transfer.
    pub transfer_request_bytes_max: usize,
    /// Most of a bulk transfer that is handed over at once: to QUIC (at most 64 KiB in any case),
    /// and to whoever reads it.
    pub transfer_chunk_bytes: usize,
    /// Wanted size of the socket's kernel buffers; the kernel may grant less.
    pub socket_buffer_bytes: usize,
    /// Longest UDP payload that is tried between nodes; what a path really carries is found by
    /// probing. Where it is large, as on loopback or with jumbo frames, a quarter of the packets
    /// do. An emulated WAN never gets more than [`INTERNET_DATAGRAM_BYTES`].
    pub datagram_bytes_max: u16,
}

/// The longest UDP payload that paths through the internet usually carry.
pub const INTERNET_DATAGRAM_BYTES: u16 = 1452;

/// QUIC must carry at least so much.
const DATAGRAM_BYTES_FLOOR: u16 = 1200;
/// quinn hands ten packets at once to the kernel, as one datagram that is cut there; more than
/// 64 KiB in all would be refused.
const DATAGRAM_BYTES_CEILING: u16 = 6_500;

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 8 << 20,
            queue_bytes_max: [4 << 20, 32 << 20, 32 << 20],
            lane_window_bytes: 8 << 20,
            peers_max: 64,
            handshakes_max: 64,
            clients_max: 1024,
            requests_per_client_max: 256,
            requests_max: 4096,
            request_bytes_max: 8 << 20,
            request_memory_bytes_max: 128 << 20,
            transfers_per_peer_max: 2,
            transfers_max: 8,
            transfer_request_bytes_max: 64 << 10,
            transfer_chunk_bytes: 64 << 10,
            socket_buffer_bytes: 4 << 20,
            datagram_bytes_max: 6_400,
        }
    }
}

/// Intervals and timeouts.
#[derive(Clone, Debug)]
pub struct Timing {
    /// How often each side of a link sends a heartbeat.
    pub heartbeat: Duration,
    /// A peer not heard for this long is silent: a fresh connection races the old one.
    pub silent_after: Duration,
    /// A link on which nothing was heard for this long is given up.
    pub idle_timeout: Duration,
    /// QUIC's keep-alive, beneath the heartbeats.
    pub keep_alive: Duration,
    /// Pause before the second attempt to connect; doubles, with jitter, up to
    /// [`Timing::reconnect_max`].
    pub reconnect_min: Duration,
    /// Longest pause between attempts. Attempts overlap, so this is also about how long a healed
    /// link stays unnoticed.
    pub reconnect_max: Duration,
    /// A handshake, or an answer to a hello, that takes longer is given up.
    pub handshake_timeout: Duration,
    /// A client's request that is not received whole, or whose response is not taken, within this
    /// time is given up: it holds a place that others want.
    pub request_transfer_timeout: Duration,
    /// A bulk transfer in which nothing moves for this long is ended, on both sides: its owner
    /// writes nothing, or the fetcher reads nothing, or the lanes leave nothing over. A reader says
    /// what it has read in steps of up to 64 KiB, so one that takes longer for so much counts as
    /// stalled.
    pub transfer_stall_timeout: Duration,
    /// What a bulk transfer may add to the round trip, about: it sends less as soon as the path
    /// makes packets wait longer than that, for whatever reason. Votes then wait no longer either.
    /// On a path whose delay varies by more, transfers are slow; where only throughput counts,
    /// set it to some seconds.
    pub transfer_delay_max: Duration,
    /// Round trip assumed where none is configured.
    pub initial_rtt: Duration,
    /// How long shutdown waits for peers to learn of it.
    pub shutdown_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            silent_after: Duration::from_millis(500),
            idle_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_millis(500),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_millis(500),
            handshake_timeout: Duration::from_secs(10),
            request_transfer_timeout: Duration::from_secs(10),
            transfer_stall_timeout: Duration::from_secs(30),
            transfer_delay_max: Duration::from_millis(10),
            initial_rtt: Duration::from_millis(50),
            shutdown_timeout: Duration::from_secs(1),
        }
    }
}

/// Everything a mesh needs to start.
#[derive(Debug)]
pub struct MeshConfig {
    /// The runtime its tasks run on.
    pub runtime: Handle,
    /// This node's certificate and key.
    pub identity: Identity,
    /// Where to receive.
    pub listen: Listen,
    /// The other nodes. More can be added later.
    pub peers: Vec<PeerConfig>,
    /// Bounds.
    pub limits: Limits,
    /// Intervals.
    pub timing: Timing,
    /// Emulate a WAN beneath QUIC.
    pub wan: Option<WanControl>,
    /// Send frames of [`Lane::Urgent`](crate::Lane::Urgent) and [`Lane::Normal`](crate::Lane::Normal)
    /// that fit a packet as QUIC datagrams, to peers that take them (wire version 3); whoever does
    /// not set this takes them, too, but has less room for a burst.
    ///
    /// On a stream a lost packet comes again, one or two round trips late, and all that was sent in
    /// its lane after it waits. A datagram that is lost takes its frame with it and holds up
    /// nothing: the owner has to send again what matters, and to expect any order, also against
    /// longer frames, which take the stream. Nor does a datagram wait for a receiver that
    /// takes no more: it is lost there, and counted ([`crate::DatagramStats`]).
    pub datagrams: bool,
}

impl MeshConfig {
    /// A configuration without peers, with the default limits and timing, and no emulation.
    pub fn new(runtime: Handle, identity: Identity, listen: Listen) -> Self {
        Self {
            runtime,
            identity,
            listen,
            peers: Vec::new(),
            limits: Limits::default(),
            timing: Timing::default(),
            wan: None,
            datagrams: false,
        }
    }

    pub(crate) fn check(&self) -> Result<(), TransportError> {
        let limits = &self.limits;
        let timing = &self.timing;
        let frame_cost = limits.frame_bytes_max.saturating_add(64);
        let rules = [
            (limits.frame_bytes_max > 0, "frame_bytes_max must not be 0"),
            (u32::try_from(limits.frame_bytes_max).is_ok(), "frame_bytes_max must fit 32 bits"),
            (
                limits.queue_bytes_max.iter().all(|bytes| *bytes >= 64),
                "queue_bytes_max must hold at least an empty frame",
            ),
            (
                limits.queue_bytes_max.iter().any(|bytes| *bytes >= frame_cost),
                "no lane's queue_bytes_max can hold the longest frame",
            ),
            (limits.lane_window_bytes >= 64 << 10, "lane_window_bytes must be at least 64 KiB"),
            (
                limits.request_memory_bytes_max > limits.request_bytes_max,
                "request_memory_bytes_max must hold the longest request",
            ),
            (
                limits.transfers_per_peer_max <= TRANSFERS_PER_PEER_MAX,
                "transfers_per_peer_max must be at most 1024",
            ),
            (limits.transfer_chunk_bytes > 0, "transfer_chunk_bytes must not be 0"),
            (u32::try_from(limits.transfer_chunk_bytes).is_ok(), {
                "transfer_chunk_bytes must fit 32 bits"
            }),
            (
                (DATAGRAM_BYTES_FLOOR..=DATAGRAM_BYTES_CEILING)
                    .contains(&limits.datagram_bytes_max),
                "datagram_bytes_max must be 1200 to 6500",
            ),
            (!timing.transfer_stall_timeout.is_zero(), "transfer_stall_timeout must not be 0"),
            (!timing.transfer_delay_max.is_zero(), "transfer_delay_max must not be 0"),
            (!timing.heartbeat.is_zero(), "heartbeat must not be 0"),
            (timing.silent_after > timing.heartbeat, "silent_after must exceed heartbeat"),
            (timing.idle_timeout > timing.silent_after, "idle_timeout must exceed silent_after"),
            (!timing.reconnect_min.is_zero(), "reconnect_min must not be 0"),
            (timing.reconnect_max >= timing.reconnect_min, "reconnect_max is below reconnect_min"),
            (!timing.initial_rtt.is_zero(), "initial_rtt must not be 0"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(TransportError::BadConfig(broken)),
            None => Ok(()),
        }
    }
}
