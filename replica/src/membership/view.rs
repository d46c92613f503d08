//! Members and protocol of a group, for people and programs.

use panchayat_consensus::{NodeId, ReplicaId};
use panchayat_epochs::Epochs;
pub use panchayat_epochs::Standing;

use super::change::next_node;
use super::roster;
use crate::cluster::{Cluster, Member};
use crate::protocol::{ProtocolChoice, choice_of};

/// How a replica sees its group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupView {
    /// What the replica is to its group.
    pub standing: Standing,
    /// The number of the epoch it has come to; 0 before it has joined.
    pub epoch: u64,
    /// What orders commands in that epoch.
    pub protocol: ProtocolChoice,
    /// The members of that epoch, by seat.
    pub members: Vec<MemberView>,
    /// The first number with which a node could join.
    pub next_node: NodeId,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberView {
    /// Its name, number and address.
    pub member: Member,
    /// What frames to it are addressed to. It keeps it for as long as it is a member.
    pub place: ReplicaId,
    /// Whether it has said that it has the state this epoch began with, durably. Until then it has no vote.
    pub has_state: bool,
}

impl GroupView {
    pub(crate) fn of(epochs: &Epochs, began: &Cluster) -> Self {
        let standing = epochs.standing();
        let Some(epoch) = epochs.epoch() else {
            let (protocol, members) = (ProtocolChoice::EPaxos, Vec::new());
            return Self { standing, epoch: 0, protocol, members, next_node: NodeId(0) };
        };
        let reached = epochs.reached();
        let member = |(member, agreed): (Member, &panchayat_epochs::Member)| MemberView {
            member,
            place: agreed.place,
            has_state: reached.contains(agreed.place),
        };
        let members = roster(began, epoch).members.into_iter().zip(&epoch.members);
        let lingering = epochs.epoch_before().map(|epoch| epoch.places()).unwrap_or_default();
        Self {
            standing,
            epoch: epoch.number.0,
            protocol: choice_of(epoch),
            members: members.map(member).collect(),
            next_node: next_node(epoch, lingering),
        }
    }

    /// The member called so.
    pub fn member(&self, name: &str) -> Option<&MemberView> {
        self.members.iter().find(|member| member.member.name == name)
    }

    /// Whether all members have the state this epoch began with.
    pub fn is_complete(&self) -> bool {
        self.members.iter().all(|member| member.has_state)
    }
}
