//! WAN emulation under QUIC: what a packet suffers between two nodes of this process.
//!
//! A [`WanControl`] knows which address belongs to which node and what each *directed* link does:
//! delay, jitter, loss, bandwidth, partition. The socket of a mesh that was started with it splits what QUIC sends into packets, decides each one's fate on its link, and
//! hands the survivors to one dedicated thread of the process, which releases each when it is due.
//! Packets to addresses or over links that are not configured go straight to the kernel.
//!
//! Why not tokio's timers: they are millisecond-grained, which on a 25 ms round trip shows as
//! +2.5 ms. Why not the kernel's traffic control: it needs privileges and modules that containers
//! lack. How late packets really left is measured: see [`WanControl::lateness_snapshot`]. A
//! measurement in which the emulator itself was late should be thrown away.

mod lateness;
mod link;
mod scheduler;
pub(crate) mod socket;

use std::net::SocketAddr;
use std::sync::Arc;

use dashmap::DashMap;
use panchayat_consensus::NodeId;
use parking_lot::Mutex;

pub use lateness::Lateness;
pub use link::{Jitter, LinkParams, LinkStats};

use lateness::LatenessRecorder;
use link::Link;

/// Sets and changes what links do, while meshes run on them. Clones share one state.
#[derive(Clone, Debug)]
pub struct WanControl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    /// Looked up for every packet, by every mesh of the process; changed hardly ever.
    nodes: DashMap<SocketAddr, NodeId>,
    links: DashMap<(NodeId, NodeId), Arc<Link>>,
    lateness: Arc<Mutex<LatenessRecorder>>,
}

impl WanControl {
    /// No links yet. Every link draws its losses and jitter from `seed` and its own two ends, so
    /// the n-th packet of a link suffers the same in every run with that seed.
    pub fn new(seed: u64) -> Self {
        let lateness = Arc::new(Mutex::new(LatenessRecorder::new()));
        Self {
            shared: Arc::new(Shared {
                seed,
                nodes: DashMap::new(),
                links: DashMap::new(),
                lateness,
            }),
        }
    }

    /// Says that `node` receives at `addr`. A mesh does this for itself and for its peers.
    pub fn register(&self, node: NodeId, addr: SocketAddr) {
        self.shared.nodes.insert(canonical(addr), node);
    }

    /// Sets what packets from `from` to `to` suffer from now on. Packets already on their way keep
    /// what they were given.
    pub fn set_link(&self, from: NodeId, to: NodeId, params: LinkParams) {
        self.link(from, to).set(params);
    }

    /// [`WanControl::set_link`] in both directions.
    pub fn set_pair(&self, a: NodeId, b: NodeId, params: LinkParams) {
        self.set_link(a, b, params);
        self.set_link(b, a, params);
    }

    /// Cuts (`true`) or heals (`false`) the link from `from` to `to`. Packets on their way when it
    /// is cut are lost too.
    pub fn partition(&self, from: NodeId, to: NodeId, cut: bool) {
        self.link(from, to).set_cut(cut);
    }

    /// [`WanControl::partition`] in both directions.
    pub fn partition_pair(&self, a: NodeId, b: NodeId, cut: bool) {
        self.partition(a, b, cut);
        self.partition(b, a, cut);
    }

    /// Counters of one directed link; zeros if it was never configured.
    pub fn link_stats(&self, from: NodeId, to: NodeId) -> LinkStats {
        let link = self.shared.links.get(&(from, to));
        link.map(|link| link.stats()).unwrap_or_default()
    }

    /// How late packets left, over all links since the last reset.
    pub fn lateness_snapshot(&self) -> Lateness {
        self.shared.lateness.lock().snapshot()
    }

    /// Forgets the lateness seen so far, at the end of a warm-up.
    pub fn reset_lateness(&self) {
        self.shared.lateness.lock().reset();
    }

    fn link(&self, from: NodeId, to: NodeId) -> Arc<Link> {
        let new = || Arc::new(Link::new(self.shared.seed, from, to, &self.shared.lateness));
        Arc::clone(&self.shared.links.entry((from, to)).or_insert_with(new))
    }

    /// The configured link from `from` to whoever receives at `to`.
    fn find(&self, from: NodeId, to: SocketAddr) -> Option<Arc<Link>> {
        let to = *self.shared.nodes.get(&canonical(to))?;
        self.shared.links.get(&(from, to)).map(|link| Arc::clone(&link))
    }
}

/// An IPv4 address stays the same whether or not a dual-stack socket wraps it into IPv6.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
