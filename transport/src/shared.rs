//! What every part of one mesh shares, and the QUIC configuration they agree on.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use panchayat_consensus::{ClusterId, NodeId};
use parking_lot::{Mutex, RwLock};
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    AsyncTimer, AsyncUdpSocket, Endpoint, IdleTimeout, MtuDiscoveryConfig, Runtime,
    TransportConfig, VarInt,
};
use tokio::sync::Semaphore;

use crate::bulk::streams_max;
use crate::config::{Limits, Timing};
use crate::datagram;
use crate::error::Refusal;
use crate::handler::MeshHandler;
use crate::lane::LANES;
use crate::peer::Peer;
use crate::stats::{Refused, RefusedKind};
use crate::tasks::Tasks;
use crate::wan::canonical;

/// What somebody who connects may send before we know who it is. [`crate::accept`] raises it.
const HELLO_WINDOW_BYTES: u32 = 16 << 10;

/// This node's certificates, as QUIC wants them.
pub(crate) struct Crypto {
    pub(crate) dial: Arc<QuicClientConfig>,
    pub(crate) accept: quinn::ServerConfig,
}

/// The state of one mesh.
pub(crate) struct Shared {
    pub(crate) me: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
    /// See [`crate::MeshConfig::datagrams`].
    pub(crate) datagrams: bool,
    pub(crate) handler: Arc<dyn MeshHandler>,
    pub(crate) peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    pub(crate) refused: Arc<Refused>,
    pub(crate) tasks: Tasks,
    /// Those that serve transfers: they end first.
    pub(crate) serving: Tasks,
    /// Taken at shutdown, so that the socket is freed.
    pub(crate) endpoint: Mutex<Option<Endpoint>>,
    /// How connections to come are made.
    pub(crate) crypto: RwLock<Crypto>,
    /// For strangers, and for the addresses of configured peers: neither can use up the other's.
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) peer_handshakes: Arc<Semaphore>,
    pub(crate) clients: Arc<Semaphore>,
    pub(crate) requests: Arc<Semaphore>,
    /// One permit per byte of requests being read or handled.
    pub(crate) request_bytes: Arc<Semaphore>,
    /// Transfers to all peers together, and from them.
    pub(crate) served: Arc<Semaphore>,
    pub(crate) fetched: Arc<Semaphore>,
    /// The zero of heartbeat timestamps and of [`Peer`]'s last-heard times.
    pub(crate) start: Instant,
}

impl Shared {
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint.lock().clone()
    }

    pub(crate) fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.peers.read().get(&node).cloned()
    }

    /// Microseconds since the start of this mesh.
    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The round trip to expect towards whoever is at `addr`.
    pub(crate) fn expected_rtt(&self, addr: SocketAddr) -> Duration {
        let peer = self.peer_at(addr);
        peer.and_then(|peer| peer.rtt).unwrap_or(self.timing.initial_rtt)
    }

    /// The peer configured to receive at `addr`. Says nothing about who really sends from there.
    pub(crate) fn peer_at(&self, addr: SocketAddr) -> Option<Arc<Peer>> {
        let addr = canonical(addr);
        self.peers.read().values().find(|peer| canonical(peer.addr()) == addr).cloned()
    }

    /// Counts and logs `refusal`; a connection that merely broke is neither.
    pub(crate) fn refused(&self, remote: SocketAddr, refusal: &Refusal) {
        let kind = match refusal {
            Refusal::Certificate(_) => RefusedKind::Certificate,
            Refusal::Cluster { .. } => RefusedKind::Cluster,
            Refusal::Node { .. } => RefusedKind::Node,
            Refusal::UnknownPeer(_) => RefusedKind::UnknownPeer,
            Refusal::Alpn(_) => RefusedKind::Alpn,
            Refusal::Hello(_) => RefusedKind::Hello,
            Refusal::Overloaded => RefusedKind::Overloaded,
            Refusal::ByPeer(_) => RefusedKind::ByPeer,
            Refusal::Lost(why) => {
                tracing::debug!(node = %self.me, %remote, "no connection: {why}");
                return;
            }
        };
        self.refused.count(kind, Some(remote), refusal);
    }
}

/// Which end of a connection a [`transport_config`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Accepts: at first only the hello; more once the other end is known.
    Acceptor,
    /// A node that dials: the acceptor opens a stream per lane towards it, and its transfers.
    DiallingNode,
    /// A client: nobody opens streams towards it.
    Client,
}

/// The window of a whole connection between nodes: every lane's, the hello's, and that of every
/// transfer there can be, both ways.
pub(crate) fn all_streams_bytes(limits: &Limits) -> u64 {
    let transfers = 2 * limits.transfers_per_peer_max as u64;
    u64::from(limits.lane_window_bytes).saturating_mul(LANES as u64 + 1 + transfers)
}

/// How many datagrams of the longest kind a new connection may have in flight. quinn reckons in
/// those of 1,200 bytes: as soon as it has found that longer ones pass, a single probe for still
/// longer ones fills its first window. Whatever is to be sent then waits for a round trip; and a
/// connection that is closed meanwhile is closed without a word to the peer (quinn issue 2785).
const INITIAL_DATAGRAMS: u64 = 4;

/// QUIC's settings for one connection; with `datagrams`, frames may come as such.
pub(crate) fn transport_config(
    limits: &Limits,
    timing: &Timing,
    initial_rtt: Duration,
    role: Role,
    datagrams: bool,
) -> Arc<TransportConfig> {
    let (bidirectional, unidirectional) = match role {
        Role::Acceptor => (1u32, 0u32),
        Role::DiallingNode => (streams_max(limits), LANES as u32),
        Role::Client => (0, 0),
    };
    // Each stream is limited by its own window; the connection's window and the send buffer hold
    // all streams at their limits, so a full bulk lane or transfer never stops an urgent one.
    let all_streams = all_streams_bytes(limits);
    let receive_window = match role {
        Role::Acceptor => HELLO_WINDOW_BYTES.into(),
        Role::DiallingNode | Role::Client => all_streams,
    };
    let unread = if datagrams { datagram::FRAMES_BUFFER_BYTES } else { datagram::BUFFER_BYTES };
    let idle = IdleTimeout::try_from(timing.idle_timeout).ok();
    // Fairness must be on. Without it quinn finishes the stream it has begun before it looks at any
    // other, whatever their priorities: a bulk lane that is never empty then starves the votes for
    // seconds. With it, only streams of equal priority take turns: here those of transfers.
    let fairness = true;
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(limits.datagram_bytes_max);
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_DATAGRAMS * u64::from(limits.datagram_bytes_max));
    let mut config = TransportConfig::default();
    config
        .congestion_controller_factory(Arc::new(congestion))
        .max_concurrent_bidi_streams(bidirectional.into())
        .max_concurrent_uni_streams(unidirectional.into())
        .stream_receive_window(limits.lane_window_bytes.into())
        .receive_window(VarInt::from_u64(receive_window).unwrap_or(VarInt::MAX))
        .send_window(all_streams)
        .send_fairness(fairness)
        .initial_rtt(initial_rtt)
        .mtu_discovery_config(Some(discovery))
        .keep_alive_interval(Some(timing.keep_alive))
        .max_idle_timeout(idle)
        .datagram_receive_buffer_size(Some(unread))
        .datagram_send_buffer_size(datagram::BUFFER_BYTES);
    Arc::new(config)
}

/// quinn's tasks, counted and ended like our own.
#[derive(Debug)]
pub(crate) struct CountedRuntime(pub(crate) Tasks);

impl Runtime for CountedRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        quinn::TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }

    fn wrap_udp_socket(
        &self,
        socket: std::net::UdpSocket,
    ) -> std::io::Result<Arc<dyn AsyncUdpSocket>> {
        quinn::TokioRuntime.wrap_udp_socket(socket)
    }
}
