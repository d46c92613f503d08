//! The peers that the workloads of a replica need: each has members of its own, and they share a mesh.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use panchayat_consensus::{GroupId, NodeId};
use panchayat_transport::{Mesh, PeerConfig};
use parking_lot::Mutex;

use super::directory::Entry;

/// What a peer is dialled by.
type Wanted = BTreeMap<NodeId, (SocketAddr, Option<Duration>)>;

/// Keeps the mesh's peers what all workloads together need.
#[derive(Debug)]
pub(crate) struct Peers {
    mesh: Mesh,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    groups: BTreeMap<GroupId, Wanted>,
    /// Workloads that have not said yet whom they need.
    silent: usize,
    present: BTreeMap<NodeId, SocketAddr>,
    /// Somebody could not be added.
    unsettled: bool,
}

impl Peers {
    /// Of a mesh that began with `present`, for so many workloads.
    pub(crate) fn new(mesh: Mesh, present: BTreeMap<NodeId, SocketAddr>, groups: usize) -> Self {
        let state = State { groups: BTreeMap::new(), silent: groups, present, unsettled: false };
        Self { mesh, state: Mutex::new(state) }
    }

    pub(crate) fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// A workload needs these, and no others any more.
    pub(crate) fn set(&self, group: GroupId, entries: &[Entry]) {
        let wanted = |entry: &Entry| (entry.member.node, (entry.member.addr, entry.round_trip));
        let wanted: Wanted = entries.iter().map(wanted).collect();
        let mut state = self.state.lock();
        if state.groups.insert(group, wanted).is_none() {
            state.silent = state.silent.saturating_sub(1);
        }
        self.settle(&mut state);
    }

    /// To be called now and then: tries again what did not succeed.
    pub(crate) fn tend(&self) {
        let mut state = self.state.lock();
        if state.unsettled {
            self.settle(&mut state);
        }
    }

    fn settle(&self, state: &mut State) {
        let State { groups, silent, present, unsettled } = state;
        *unsettled = false;
        let mut all = Wanted::new();
        groups.values().for_each(|wanted| all.extend(wanted.clone()));
        if *silent == 0 {
            present.retain(|node, _| {
                let stays = all.contains_key(node);
                if !stays {
                    tracing::info!(peer = %node, "no member any more");
                    self.mesh.remove_peer(*node);
                }
                stays
            });
        }
        for (node, (addr, rtt)) in all {
            match present.get(&node) {
                Some(known) if *known == addr => {}
                Some(_) => {
                    self.mesh.set_peer_addr(node, addr);
                    present.insert(node, addr);
                }
                None => match self.mesh.add_peer(PeerConfig { node, addr, rtt }) {
                    Ok(()) => _ = present.insert(node, addr),
                    Err(error) => {
                        // Its last link may not have ended yet.
                        tracing::warn!(peer = %node, %error, "no peer yet");
                        *unsettled = true;
                    }
                },
            }
        }
    }
}
