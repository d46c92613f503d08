//! Small clusters on loopback sockets, and a handler that remembers what it was told.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat_consensus::{ClusterId, NodeId};
use panchayat_transport::identity::Authority;
use panchayat_transport::wan::WanControl;
use panchayat_transport::{
    BoxFuture, ClientIdentity, Delivery, DownReason, Lane, Listen, Mesh, MeshConfig, MeshHandler,
    PeerConfig, RequestError,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub const CLUSTER: ClusterId = ClusterId(0x5eed);

/// What a handler was told about links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    Up(NodeId),
    Down(NodeId, DownReason),
}

/// Remembers everything; takes frames only while not stalled.
#[derive(Debug)]
pub struct Recorder {
    pub links: Mutex<Vec<LinkEvent>>,
    pub frames: Mutex<HashMap<(NodeId, Lane), Vec<Bytes>>>,
    pub stalled: watch::Sender<bool>,
}

impl Recorder {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            links: Mutex::default(),
            frames: Mutex::default(),
            stalled: watch::Sender::new(false),
        })
    }

    pub fn frames(&self, from: NodeId, lane: Lane) -> Vec<Bytes> {
        self.frames.lock().get(&(from, lane)).cloned().unwrap_or_default()
    }

    pub fn frame_count(&self, from: NodeId, lane: Lane) -> usize {
        self.frames.lock().get(&(from, lane)).map_or(0, Vec::len)
    }

    pub fn downs(&self, peer: NodeId) -> Vec<DownReason> {
        let links = self.links.lock();
        let downs = links.iter().filter_map(|event| match event {
            LinkEvent::Down(node, reason) if *node == peer => Some(reason.clone()),
            _ => None,
        });
        downs.collect()
    }

    /// Up and down must alternate for each peer, beginning with up.
    pub fn assert_alternating(&self) {
        let mut up: HashMap<NodeId, bool> = HashMap::new();
        for event in self.links.lock().iter() {
            let (node, now) = match event {
                LinkEvent::Up(node) => (*node, true),
                LinkEvent::Down(node, _) => (*node, false),
            };
            assert_ne!(up.insert(node, now).unwrap_or(false), now, "{event:?} twice");
        }
    }
}

impl MeshHandler for Recorder {
    fn frame(&self, from: NodeId, lane: Lane, frame: Bytes) -> Delivery {
        self.frames.lock().entry((from, lane)).or_default().push(frame);
        if lane == Lane::Urgent || !*self.stalled.borrow() {
            return Delivery::Done;
        }
        let mut stalled = self.stalled.subscribe();
        Delivery::Wait(Box::pin(async move {
            let _ = stalled.wait_for(|stalled| !*stalled).await;
        }))
    }

    fn peer_up(&self, peer: NodeId) {
        self.links.lock().push(LinkEvent::Up(peer));
    }

    fn peer_down(&self, peer: NodeId, reason: DownReason) {
        self.links.lock().push(LinkEvent::Down(peer, reason));
    }

    fn request(
        &self,
        client: ClientIdentity,
        request: Bytes,
    ) -> BoxFuture<Result<Bytes, RequestError>> {
        Box::pin(async move {
            match &request[..] {
                b"reject" => Err(RequestError::Rejected("because".into())),
                b"overload" => Err(RequestError::Overloaded),
                b"hang" => std::future::pending().await,
                b"who" => Ok(Bytes::from(client.name)),
                _ => Ok(request),
            }
        })
    }
}

/// A node of a test cluster.
pub struct Node {
    pub id: NodeId,
    pub mesh: Mesh,
    pub seen: Arc<Recorder>,
}

/// Sockets and certificates of a cluster that is about to start.
pub struct Plan {
    pub authority: Authority,
    pub sockets: Vec<(NodeId, SocketAddr, Option<UdpSocket>)>,
    pub wan: Option<WanControl>,
    /// Expected round trip told to the meshes.
    pub rtt: Option<Duration>,
}

impl Plan {
    /// `count` nodes, with ids from 1.
    pub fn new(count: u64) -> Self {
        let sockets = (1..=count).map(|id| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            (NodeId(id), socket.local_addr().unwrap(), Some(socket))
        });
        let sockets = sockets.collect();
        Self { authority: Authority::create().unwrap(), sockets, wan: None, rtt: None }
    }

    pub fn addr(&self, id: NodeId) -> SocketAddr {
        self.sockets.iter().find(|(node, ..)| *node == id).unwrap().1
    }

    /// The configuration of `id`; binds its address again if its socket has been used.
    pub fn config(&mut self, id: NodeId) -> MeshConfig {
        let identity = self.authority.issue_node(CLUSTER, id).unwrap();
        let own = self.sockets.iter_mut().find(|(node, ..)| *node == id).unwrap();
        let listen = match own.2.take() {
            Some(socket) => Listen::Socket(socket),
            None => Listen::Addr(own.1),
        };
        let mut config = MeshConfig::new(Handle::current(), identity, listen);
        let others = self.sockets.iter().filter(|(node, ..)| *node != id);
        let peer = |(node, addr, _): &(NodeId, SocketAddr, _)| PeerConfig {
            node: *node,
            addr: *addr,
            rtt: self.rtt,
        };
        config.peers = others.map(peer).collect();
        config.wan = self.wan.clone();
        config
    }

    pub fn start_with(&mut self, id: NodeId, change: impl FnOnce(&mut MeshConfig)) -> Node {
        let mut config = self.config(id);
        change(&mut config);
        let seen = Recorder::new();
        let handler: Arc<dyn MeshHandler> = Arc::clone(&seen) as _;
        Node { id, mesh: Mesh::start(config, handler).unwrap(), seen }
    }

    pub fn start(&mut self, id: NodeId) -> Node {
        self.start_with(id, |_| {})
    }

    pub fn start_all(&mut self) -> Vec<Node> {
        let ids: Vec<NodeId> = self.sockets.iter().map(|(node, ..)| *node).collect();
        ids.into_iter().map(|id| self.start(id)).collect()
    }
}

/// Waits until `condition` holds; panics with `what` after ten seconds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "timed out waiting: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until every node has a link to every other.
pub async fn all_up(nodes: &[Node]) {
    until("every node up", || {
        nodes
            .iter()
            .all(|node| nodes.iter().all(|other| other.id == node.id || node.mesh.is_up(other.id)))
    })
    .await;
}

/// Ends every node and checks what its handler was told.
pub async fn end(nodes: Vec<Node>) {
    for node in &nodes {
        node.mesh.shutdown().await;
        assert_eq!(node.mesh.stats().tasks, 0, "{} left tasks behind", node.id);
        node.seen.assert_alternating();
    }
}

/// Prints a figure against its bound without failing: wall-clock bounds are not asserted.
pub fn figure(name: &str, value: f64, unit: &str, within: std::ops::RangeInclusive<f64>) {
    let verdict = if within.contains(&value) { "PASS" } else { "FAIL" };
    println!("{verdict} {name}: {value:.3} {unit} (wanted {within:?})");
}
