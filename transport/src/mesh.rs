//! The mesh: this node's endpoint, its peers, and the way in for frames to send.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat_consensus::NodeId;
use parking_lot::{Mutex, RwLock};
use quinn::udp::UdpSocketState;
use quinn::{Endpoint, EndpointConfig, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::sync::{Semaphore, mpsc};

use crate::accept::accept;
use crate::bulk::{BulkReader, FetchError, fetch};
use crate::certificate::CertificateFacts;
use crate::close::CloseCode;
use crate::config::{INTERNET_DATAGRAM_BYTES, Limits, Listen, MeshConfig, PeerConfig};
use crate::error::{DownReason, SendError, TransportError};
use crate::handler::MeshHandler;
use crate::identity::Identity;
use crate::lane::Lane;
use crate::peer::{ARRIVALS_MAX, Peer, supervise};
use crate::queue::Queued;
use crate::shared::{CountedRuntime, Crypto, Shared};
use crate::stats::{MeshStats, Refused};
use crate::tasks::Tasks;
use crate::tls::{MESH_ALPN, quic_client, quic_server};
use crate::wan::WanControl;
use crate::wan::socket::{CidStamp, MeshSocket, QUIC_VERSION};

/// Handshakes quinn keeps waiting for us to take, and what it buffers for all of them.
const INCOMING_MAX: usize = 1024;
const INCOMING_BYTES_MAX: u64 = 16 << 20;

/// A node's place in the mesh. Clones share it. When the last clone goes, the mesh ends abruptly;
/// call [`Mesh::shutdown`] to end it in order.
#[derive(Clone)]
pub struct Mesh {
    running: Arc<Running>,
}

struct Running {
    shared: Arc<Shared>,
    /// quinn's own tasks, which must outlive ours to tell peers of the end.
    quic_tasks: Tasks,
    socket: std::sync::Weak<MeshSocket>,
    local_addr: SocketAddr,
    wan: Option<WanControl>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(endpoint) = self.shared.endpoint.lock().take() {
            endpoint.close(CloseCode::Dropped.into(), b"");
        }
        self.shared.serving.cancel();
        self.shared.tasks.cancel();
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("node", &self.running.shared.me)
            .field("local_addr", &self.running.local_addr)
            .finish_non_exhaustive()
    }
}

impl Mesh {
    /// Opens the socket and starts to connect to the peers. Returns at once; the handler learns
    /// of each peer as it comes up.
    pub fn start(
        config: MeshConfig,
        handler: Arc<dyn MeshHandler>,
    ) -> Result<Self, TransportError> {
        config.check()?;
        let _in_runtime = config.runtime.enter();
        let me = config.identity.node()?;
        let refused = Arc::new(Refused::new(me));
        let std_socket = open_socket(config.listen, &config.limits)?;
        let local_addr = std_socket.local_addr().map_err(TransportError::Socket)?;
        let stamp = CidStamp::default();
        let wan = config.wan.as_ref();
        let mut limits = config.limits;
        if wan.is_some() {
            // What an experiment says of a link should hold on the internet.
            limits.datagram_bytes_max = limits.datagram_bytes_max.min(INTERNET_DATAGRAM_BYTES);
        }
        let socket = MeshSocket::new(std_socket, me, stamp.clone(), Arc::clone(&refused), wan)?;
        let socket = Arc::new(socket);
        if let Some(wan) = wan
            && !local_addr.ip().is_unspecified()
        {
            wan.register(me, local_addr);
        }
        let mut server_config = ServerConfig::with_crypto(quic_server(&config.identity)?);
        server_config
            .migration(false)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX);
        let mut endpoint_config = EndpointConfig::default();
        endpoint_config
            .cid_generator(move || Box::new(stamp.clone()))
            .supported_versions(vec![QUIC_VERSION])
            .grease_quic_bit(false)
            .max_udp_payload_size(limits.datagram_bytes_max)
            .map_err(|_| TransportError::BadConfig("datagram_bytes_max is below QUIC's least"))?;
        let quic_tasks = Tasks::new(config.runtime.clone());
        let weak_socket = Arc::downgrade(&socket);
        let endpoint = Endpoint::new_with_abstract_socket(
            endpoint_config,
            Some(server_config.clone()),
            socket,
            Arc::new(CountedRuntime(quic_tasks.clone())),
        )
        .map_err(TransportError::Socket)?;
        let shared = Arc::new(Shared {
            me,
            cluster: config.identity.cluster(),
            handler,
            peers: RwLock::new(BTreeMap::new()),
            refused,
            tasks: Tasks::new(config.runtime.clone()),
            serving: Tasks::new(config.runtime.clone()),
            endpoint: Mutex::new(Some(endpoint.clone())),
            crypto: RwLock::new(Crypto {
                dial: quic_client(&config.identity, MESH_ALPN)?,
                accept: server_config,
            }),
            handshakes: semaphore(limits.handshakes_max),
            peer_handshakes: semaphore(limits.handshakes_max),
            clients: semaphore(limits.clients_max),
            requests: semaphore(limits.requests_max),
            request_bytes: semaphore(limits.request_memory_bytes_max),
            served: semaphore(limits.transfers_max),
            fetched: semaphore(limits.transfers_max),
            limits,
            timing: config.timing,
            datagrams: config.datagrams,
            start: Instant::now(),
        });
        let running =
            Running { shared, quic_tasks, socket: weak_socket, local_addr, wan: config.wan };
        let mesh = Self { running: Arc::new(running) };
        for peer in config.peers {
            mesh.add_peer(peer)?;
        }
        // Only now: a peer that is quicker than this must not be told that it is unknown.
        let shared = &mesh.running.shared;
        shared.tasks.spawn(accept(Arc::clone(shared), endpoint));
        Ok(mesh)
    }

    /// Adds a peer at run time.
    pub fn add_peer(&self, config: PeerConfig) -> Result<(), TransportError> {
        let shared = &self.running.shared;
        let bad = |reason| TransportError::BadPeer { peer: config.node, reason };
        if config.node == shared.me {
            return Err(bad("is this node itself"));
        }
        let mut peers = shared.peers.write();
        if peers.contains_key(&config.node) {
            return Err(bad("is configured twice"));
        }
        if peers.len() >= shared.limits.peers_max {
            return Err(bad("is one more than the limit of peers"));
        }
        if let Some(wan) = &self.running.wan {
            wan.register(config.node, config.addr);
        }
        let (arrivals, arrived) = mpsc::channel(ARRIVALS_MAX);
        let peer = Arc::new(Peer::new(&config, &shared.limits, arrivals));
        peers.insert(config.node, Arc::clone(&peer));
        drop(peers);
        shared.tasks.spawn(supervise(Arc::clone(shared), peer, arrived));
        Ok(())
    }

    /// Removes a peer; its link is closed soon after. False if there is no such peer. The same
    /// node can be added again once it has gone from [`Mesh::stats`].
    pub fn remove_peer(&self, node: NodeId) -> bool {
        self.running.shared.peer(node).is_some_and(|peer| peer.remove())
    }

    /// Changes where a peer is dialled from now on. False if there is no such peer.
    pub fn set_peer_addr(&self, node: NodeId, addr: SocketAddr) -> bool {
        let peer = self.running.shared.peer(node);
        peer.is_some_and(|peer| {
            if let Some(wan) = &self.running.wan {
                wan.register(node, addr);
            }
            peer.set_addr(addr);
            true
        })
    }

    /// Shows another certificate, and trusts other authorities, on connections to come. Those that are
    /// there go on as they are, whatever has become of their certificates.
    ///
    /// # Errors
    /// If it is not this node's identity, or cannot be used; then nothing has changed.
    pub fn renew(&self, identity: &Identity) -> Result<(), TransportError> {
        let shared = &self.running.shared;
        if identity.cluster() != shared.cluster || identity.node()? != shared.me {
            return Err(TransportError::WrongIdentity {
                given: identity.name().to_string(),
                needed: "the node and the cluster of before",
            });
        }
        let (dial, accept) = (quic_client(identity, MESH_ALPN)?, quic_server(identity)?);
        let mut crypto = shared.crypto.write();
        crypto.dial = dial;
        crypto.accept.crypto = accept;
        if let Some(endpoint) = shared.endpoint() {
            endpoint.set_server_config(Some(crypto.accept.clone()));
        }
        Ok(())
    }

    /// The certificate that `peer` has shown on the link there is now.
    pub fn peer_certificate(&self, peer: NodeId) -> Option<CertificateFacts> {
        let connection = self.running.shared.peer(peer)?.connection()?;
        let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        CertificateFacts::of(chain.first()?).ok()
    }

    /// Queues `frame` for `to`. From any thread; never waits. An `Ok` promises nothing about
    /// delivery.
    pub fn send(&self, to: NodeId, lane: Lane, frame: Bytes) -> Result<(), SendError> {
        self.queue(to, frame, |peer, frame| peer.queue.push(lane, frame))
    }

    /// Like [`Mesh::send`] in [`Lane::Bulk`], unless the same frame is still on its way to that
    /// peer over the present link: then it does nothing, says `false`, and counts it in
    /// [`crate::PeerStats::repeats_spared`]. For what is sent again until it is answered, and large
    /// enough to take longer than that.
    pub fn send_once(&self, to: NodeId, frame: Bytes) -> Result<bool, SendError> {
        self.queue(to, frame, |peer, frame| {
            let queued = peer.queue.push_once(frame)? == Queued::Now;
            peer.counters.repeats_spared.fetch_add(u64::from(!queued), Ordering::Relaxed);
            Ok(queued)
        })
    }

    fn queue<T>(
        &self,
        to: NodeId,
        frame: Bytes,
        push: impl FnOnce(&Peer, Bytes) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let shared = &self.running.shared;
        let limit = shared.limits.frame_bytes_max;
        if frame.len() > limit {
            return Err(SendError::TooLarge { bytes: frame.len(), limit });
        }
        let peers = shared.peers.read();
        let peer = peers.get(&to).ok_or(SendError::UnknownPeer)?;
        push(peer, frame).inspect_err(|error| {
            let dropped = match error {
                SendError::Full => &peer.counters.dropped_full,
                _ => &peer.counters.dropped_down,
            };
            dropped.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Fetches something of any size from a peer: see [`MeshHandler::serve`], which gets `request`
    /// there. Returns once the peer's owner has begun to answer, or has refused. Call it, and read,
    /// within a tokio runtime that has its timers enabled.
    ///
    /// The bytes travel below [`Lane::Bulk`] in priority, and only as fast as they are read. They
    /// come over the link there is now: when that ends or is replaced, the transfer breaks with an
    /// error, never silently, and what goes on from there is a new one with its own request.
    ///
    /// # Errors
    ///
    /// [`FetchError`]; the limits are those of [`Limits`], here and at the peer.
    pub async fn fetch(&self, from: NodeId, request: Bytes) -> Result<BulkReader, FetchError> {
        let shared = &self.running.shared;
        let peer = shared.peer(from).ok_or(FetchError::UnknownPeer)?;
        fetch(shared, &peer, request).await
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.running.shared.me
    }

    /// Where this node receives.
    pub fn local_addr(&self) -> SocketAddr {
        self.running.local_addr
    }

    /// Whether there is a link to `peer` now.
    pub fn is_up(&self, peer: NodeId) -> bool {
        self.running.shared.peer(peer).is_some_and(|peer| peer.is_up())
    }

    /// Which version of what follows TLS is spoken on the present link to `peer`: the highest that
    /// both ends know. `None` if there is no link. The next link to it may speak another, as members
    /// are upgraded, or taken back, one by one.
    pub fn wire_version(&self, peer: NodeId) -> Option<u8> {
        self.running.shared.peer(peer)?.wire_version()
    }

    /// How long ago anything of `peer` (a heartbeat at least) arrived; `None` if nothing ever
    /// did, or there is no such peer.
    pub fn last_heard(&self, peer: NodeId) -> Option<Duration> {
        let shared = &self.running.shared;
        shared.peer(peer)?.since_heard(shared)
    }

    /// Statistics at this moment.
    pub fn stats(&self) -> MeshStats {
        let shared = &self.running.shared;
        let peers: Vec<Arc<Peer>> = shared.peers.read().values().cloned().collect();
        let in_use = |semaphore: &Semaphore, limit| {
            semaphore_permits(limit).saturating_sub(semaphore.available_permits())
        };
        MeshStats {
            peers: peers.iter().map(|peer| (peer.node, peer.stats(shared))).collect(),
            refused: shared.refused.snapshot(),
            tasks: shared.tasks.live() + shared.serving.live() + self.running.quic_tasks.live(),
            clients: in_use(&shared.clients, shared.limits.clients_max),
            requests: in_use(&shared.requests, shared.limits.requests_max),
        }
    }

    /// Forgets the heartbeat round trips seen so far, at the end of a warm-up.
    pub fn reset_pings(&self) {
        for peer in self.running.shared.peers.read().values() {
            peer.counters.reset_pings();
        }
    }

    /// Ends the mesh in order: tells every peer and client, ends every task, frees the port. The
    /// handler gets a last `peer_down` for each peer that was up, and nothing after this returns.
    pub async fn shutdown(&self) {
        let shared = &self.running.shared;
        let Some(endpoint) = shared.endpoint.lock().take() else {
            return;
        };
        self.stop_serving().await;
        // quinn's endpoint closes connections by way of their tasks; ours would drop them first.
        for peer in shared.peers.read().values() {
            peer.close(CloseCode::Shutdown);
        }
        endpoint.close(CloseCode::Shutdown.into(), b"shutting down");
        shared.tasks.cancel();
        shared.tasks.wait().await;
        // Whatever arrives from here on meets a peer that is down.
        let peers = std::mem::take(&mut *shared.peers.write());
        for peer in peers.values() {
            peer.down(shared, DownReason::ClosedByUs(CloseCode::Shutdown));
        }
        let told = tokio::time::timeout(shared.timing.shutdown_timeout, endpoint.wait_idle());
        if told.await.is_err() {
            tracing::debug!(node = %shared.me, "shut down before every peer could be told");
        }
        if let Some(socket) = self.running.socket.upgrade() {
            socket.close();
        }
        drop(endpoint);
        self.running.quic_tasks.cancel();
        self.running.quic_tasks.wait().await;
    }
}

impl Mesh {
    /// Breaks off the transfers being served, so that peers can be told of what comes next: while
    /// data waits that congestion control holds back, quinn cannot send that it closes the
    /// connection, and then never does (quinn issue 2785).
    async fn stop_serving(&self) {
        let shared = &self.running.shared;
        let serving = shared.serving.live() > 0;
        shared.serving.cancel();
        shared.serving.wait().await;
        if !serving {
            return;
        }
        let peers: Vec<Arc<Peer>> = shared.peers.read().values().cloned().collect();
        let round_trips = peers.iter().filter_map(|peer| Some(peer.connection()?.rtt()));
        // What is in flight is acknowledged within about one, if at all.
        let patience = round_trips.max().unwrap_or_default() * 2;
        tokio::time::sleep(patience.min(shared.timing.shutdown_timeout)).await;
    }
}

fn semaphore_permits(limit: usize) -> usize {
    limit.min(Semaphore::MAX_PERMITS)
}

fn semaphore(limit: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(semaphore_permits(limit)))
}

/// Opens the socket and asks for large kernel buffers: the usual 208 KiB lose packets under load.
fn open_socket(listen: Listen, limits: &Limits) -> Result<UdpSocket, TransportError> {
    let socket = match listen {
        Listen::Socket(socket) => socket,
        Listen::Addr(addr) => {
            UdpSocket::bind(addr).map_err(|source| TransportError::Bind { addr, source })?
        }
    };
    let state = UdpSocketState::new((&socket).into()).map_err(TransportError::Socket)?;
    let wanted = limits.socket_buffer_bytes;
    // The kernel caps what it grants without privileges: not an error, but worth knowing.
    let sized = state
        .set_send_buffer_size((&socket).into(), wanted)
        .and_then(|()| state.set_recv_buffer_size((&socket).into(), wanted))
        .and_then(|()| state.recv_buffer_size((&socket).into()));
    match sized {
        Ok(granted) if granted >= wanted => {}
        Ok(granted) => tracing::info!(
            wanted,
            granted,
            "small UDP receive buffer; raise net.core.rmem_max if packets get lost under load"
        ),
        Err(error) => tracing::warn!(%error, "cannot enlarge the UDP buffers"),
    }
    Ok(socket)
}
