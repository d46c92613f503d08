//! What an experiment does to a local cluster while it runs: kill, restart, cut, slow.

use std::net::UdpSocket;
use std::time::Duration;

use panchayat_consensus::{NodeId, ReplicaId};
use panchayat_storage::Durability;
use tokio::task::JoinHandle;

use crate::builder::Builder;
use crate::host::Node;
use crate::local::LocalError;
use crate::local_links::LocalLinks;
use crate::local_nodes::LocalNodes;

/// Whether a replica was killed.
#[derive(Debug, Default)]
pub(crate) struct Killed {
    dead: bool,
    /// Frees what the dead one held.
    pub(crate) ending: Option<JoinHandle<()>>,
}

impl LocalNodes {
    /// Kills a replica: it takes part no more, and what it had in flight has an unknown outcome.
    /// With emulated links nothing leaves it from this moment on, so that its peers hear no
    /// goodbye; without them its connections are closed. A replica that is killed already stays
    /// so.
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn kill(&mut self, seat: ReplicaId) {
        let seat = seat.index();
        if std::mem::replace(&mut self.killed[seat].dead, true) {
            return;
        }
        self.each_peer(seat, LocalLinks::cut);
        let host = self.nodes[seat].host.clone();
        host.abandon();
        self.killed[seat].ending = Some(tokio::spawn(async move {
            // How its journal was doing matters to nobody any more.
            let _ = host.end().await;
        }));
    }

    /// Starts a killed replica again at its address, from its journal, with the workloads that `add`
    /// gives to its builder. Waits until the killed one has given back its port and its journal, not
    /// until links are up.
    ///
    /// # Errors
    /// [`LocalError`]; the replica stays killed.
    ///
    /// # Panics
    /// If there is no such seat.
    pub async fn restart(
        &mut self,
        seat: ReplicaId,
        add: impl FnOnce(&str, Builder) -> Builder,
    ) -> Result<(), LocalError> {
        self.restart_with(seat, add).await.map(drop)
    }

    pub(crate) async fn restart_with(
        &mut self,
        seat: ReplicaId,
        add: impl FnOnce(&str, Builder) -> Builder,
    ) -> Result<&Node, LocalError> {
        let seat = seat.index();
        let name = self.member(seat).name.clone();
        if !self.killed[seat].dead {
            return Err(LocalError::Running { name });
        }
        if self.config.durability == Durability::Memory {
            return Err(LocalError::NothingKept { name });
        }
        if let Some(ending) = self.killed[seat].ending.take() {
            // Cancelled only with the runtime.
            let _ = ending.await;
        }
        let addr = self.member(seat).addr;
        let socket = UdpSocket::bind(addr).map_err(|source| LocalError::Bind { addr, source })?;
        // Before it starts, so that its first packets are not lost.
        self.each_peer(seat, LocalLinks::heal);
        match self.start_one(seat, socket, true, |builder| add(&name, builder)).await {
            Ok(node) => self.nodes[seat] = node,
            Err(error) => {
                self.each_peer(seat, LocalLinks::cut);
                return Err(error);
            }
        }
        self.killed[seat].dead = false;
        Ok(&self.nodes[seat])
    }

    /// Whether the replica was killed and not restarted.
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn is_killed(&self, seat: ReplicaId) -> bool {
        self.killed[seat.index()].dead
    }

    /// Cuts the emulated link from `from` to `to`; packets on their way are lost too. What is cut
    /// twice must be healed twice.
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn cut(&self, from: ReplicaId, to: ReplicaId) {
        self.link(from, to, LocalLinks::cut);
    }

    /// Takes back one [`cut`](Self::cut).
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn heal(&self, from: ReplicaId, to: ReplicaId) {
        self.link(from, to, LocalLinks::heal);
    }

    /// Adds `by` to the one-way delay of the emulated link from `from` to `to`. Several such
    /// delays add up.
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn slow(&self, from: ReplicaId, to: ReplicaId, by: Duration) {
        self.link(from, to, |links, from, to| links.slow(from, to, by));
    }

    /// Takes back one [`slow`](Self::slow).
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn unslow(&self, from: ReplicaId, to: ReplicaId, by: Duration) {
        self.link(from, to, |links, from, to| links.unslow(from, to, by));
    }

    fn link(&self, from: ReplicaId, to: ReplicaId, act: impl FnOnce(&LocalLinks, NodeId, NodeId)) {
        let node = |seat: ReplicaId| self.member(seat.index()).node;
        if let Some(links) = &self.links {
            act(links, node(from), node(to));
        }
    }

    /// Does something to every link of a replica, in both directions.
    fn each_peer(&self, seat: usize, act: impl Fn(&LocalLinks, NodeId, NodeId)) {
        let Some(links) = &self.links else { return };
        let own = self.member(seat).node;
        for peer in self.members().filter(|peer| peer.node != own) {
            act(links, own, peer.node);
            act(links, peer.node, own);
        }
    }
}
