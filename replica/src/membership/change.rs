//! What one wants to be different, and the epoch that follows from it.

use std::net::SocketAddr;
use std::time::Duration;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{NodeId, REPLICAS_MAX, ReplicaId, ReplicaSet};
use panchayat_epochs::{Epoch, EpochError, Epochs, Member};

use super::contact::{self, Contact, NAME_BYTES_MAX};
use super::error::ChangeError;
use super::roster;
use crate::cluster::Cluster;
use crate::limits::Limits;
use crate::protocol::{ProtocolChoice, ProtocolError, choice_of};

/// A node that is to become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    name: String,
    node: NodeId,
    addr: SocketAddr,
    round_trips: Vec<(NodeId, Duration)>,
}

impl Newcomer {
    /// `node` has a certificate, a number that no member ever had, and will be reached at `addr`. It needs
    /// not run yet. The number must be higher than that of any member there ever was; see
    /// [`GroupView::next_node`](crate::GroupView::next_node).
    pub fn new(name: impl Into<String>, node: NodeId, addr: SocketAddr) -> Self {
        Self { name: name.into(), node, addr, round_trips: Vec::new() }
    }

    /// The expected round trip to a member. Leaders are placed by it, and timeouts follow from it; one that
    /// is not told counts as the longest there is.
    pub fn round_trip(mut self, to: NodeId, expected: Duration) -> Self {
        self.round_trips.retain(|(node, _)| *node != to);
        self.round_trips.push((to, expected));
        self.round_trips.truncate(REPLICAS_MAX);
        self
    }

    fn contact(&self) -> Contact {
        let Self { name, addr, round_trips, .. } = self.clone();
        Contact { name, addr, later: true, round_trips }
    }
}

/// What is to be different of members and protocol. All of it happens at once, or none.
///
/// Asking again for what is there already, as the replica sees it that is asked, changes nothing, so that a change whose outcome was not heard can be
/// asked for again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    add: Vec<Newcomer>,
    remove: Vec<NodeId>,
    protocol: Option<ProtocolChoice>,
}

impl Change {
    /// Nothing is different.
    pub fn new() -> Self {
        Self::default()
    }

    /// `newcomer` becomes a member. It is one at once, for quorums too, and takes part as soon as it has
    /// taken over the state.
    pub fn add_member(mut self, newcomer: Newcomer) -> Self {
        self.add.push(newcomer);
        self
    }

    /// `node` is no member any more, and never will be again: what is lost of it is replaced by a node with a
    /// number of its own.
    pub fn remove_member(mut self, node: NodeId) -> Self {
        self.remove.push(node);
        self
    }

    /// Whether the group is to choose its protocol by itself.
    pub(crate) fn makes_adaptive(&self) -> bool {
        matches!(self.protocol, Some(ProtocolChoice::Adaptive(_)))
    }

    /// Commands are ordered by `protocol`. An adaptive one begins with what orders them now.
    pub fn protocol(mut self, protocol: ProtocolChoice) -> Self {
        self.protocol = Some(protocol);
        self
    }
}

/// The place of a node that joins. Members who were there first sit in the order of their list; this agrees
/// with it when they are numbered from 1.
pub(crate) fn home_place(node: NodeId) -> ReplicaId {
    ReplicaId((node.0.wrapping_sub(1) % REPLICAS_MAX as u64) as u8)
}

/// The first number with which a node could join.
pub(super) fn next_node(epoch: &Epoch, taken: ReplicaSet) -> NodeId {
    let mut next = NodeId(epoch.highest_node.0 + 1);
    // There are more places than members.
    for _ in 0..REPLICAS_MAX {
        let place = home_place(next);
        if !epoch.places().contains(place) && !taken.contains(place) {
            break;
        }
        next.0 += 1;
    }
    next
}

/// The epoch that a group begins with.
pub(crate) fn founding(cluster: &Cluster, protocol: &ProtocolChoice) -> Result<Epoch, ChangeError> {
    check_names(cluster)?;
    let members = cluster.members.iter().enumerate().map(|(seat, member)| {
        let row = cluster.round_trips.get(seat);
        let far = |other: usize| row.and_then(|row| row.get(other)).copied().unwrap_or_default();
        let others = cluster.members.iter().enumerate().filter(|(other, _)| *other != seat);
        let contact = Contact {
            name: member.name.clone(),
            addr: member.addr,
            later: false,
            round_trips: others.map(|(other, member)| (member.node, far(other))).collect(),
        };
        contact.at(ReplicaId(seat as u8), member.node)
    });
    Ok(Epoch::founding(protocol.order(), protocol.parameters(), members.collect())?)
}

/// Longest expected round trip: beyond it a link is down.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(60);

/// The epoch after the current one in which `change` is made; none if nothing would be different. `alive` are
/// the places that are not suspected.
pub(crate) fn next_epoch(
    epochs: &Epochs,
    began: &Cluster,
    change: &Change,
    alive: ReplicaSet,
    limits: &Limits,
) -> Result<Option<Epoch>, ChangeError> {
    let Some(epoch) = epochs.epoch().filter(|_| epochs.current().is_some()) else {
        return Err(ChangeError::NotMember);
    };
    let mut members = epoch.members.clone();
    members.retain(|member| !change.remove.contains(&member.node));
    let lingering = epochs.epoch_before().map(Epoch::places).unwrap_or_default();
    for newcomer in &change.add {
        let mut contact = newcomer.contact();
        if newcomer.round_trips.iter().any(|(_, far)| *far > ROUND_TRIP_MAX) {
            return Err(ChangeError::RoundTrip { node: newcomer.node });
        }
        if let Some(member) = members.iter_mut().find(|member| member.node == newcomer.node) {
            let known = Contact::read(member);
            if known.name != contact.name {
                let why = "its number is that of a member with another name";
                return Err(ChangeError::Name { name: contact.name, why });
            }
            if contact.round_trips.is_empty() {
                contact.round_trips = known.round_trips.clone();
            }
            // Of one that was there first the epoch may know an address that is not its own any more.
            let same_addr = known.addr == contact.addr;
            if !same_addr || known.round_trips != contact.round_trips {
                *member = contact.at(member.place, member.node);
            }
            continue;
        }
        let (node, place) = (newcomer.node, home_place(newcomer.node));
        let next = next_node(epoch, lingering);
        if node <= epoch.highest_node {
            return Err(EpochError::UsedNumber { node, next }.into());
        }
        if epoch.places().contains(place) || lingering.contains(place) {
            return Err(ChangeError::NoPlace { node, next });
        }
        members.push(contact.at(place, node));
    }
    let protocol = match (&change.protocol, choice_of(epoch)) {
        (None, current) => current,
        (Some(ProtocolChoice::Adaptive(adaptive)), current) => {
            ProtocolChoice::Adaptive(adaptive.at(&current))
        }
        (Some(other), _) => other.clone(),
    };
    if members == epoch.members && protocol == choice_of(epoch) {
        return Ok(None);
    }
    // Whoever comes has no state yet, and whoever is dead may not come back to take it on.
    let alive_of = |places: ReplicaSet| {
        let places = members.iter().map(|member| member.place).filter(|at| places.contains(*at));
        places.filter(|at| alive.contains(*at)).count()
    };
    let (alive, heard) = (alive_of(epochs.reached()), alive_of(epoch.places()));
    let next = Next { began, epoch, members: &members, alive, heard, limits };
    let protocol = next.able(protocol);
    let opens = next.epoch_under(&protocol);
    epochs.check_next(&opens)?;
    check_names(&roster(began, &opens))?;
    next.check(&protocol)?;
    Ok(Some(opens))
}

/// Who would be members next.
struct Next<'a> {
    began: &'a Cluster,
    epoch: &'a Epoch,
    members: &'a [Member],
    /// How many of them are heard and have the state.
    alive: usize,
    /// How many of them are heard and have it, or will once they have said so: members already.
    heard: usize,
    limits: &'a Limits,
}

impl Next<'_> {
    fn epoch_under(&self, protocol: &ProtocolChoice) -> Epoch {
        self.epoch.next(protocol.order(), protocol.parameters(), self.members.to_vec())
    }

    /// How many of them `protocol` needs, if they can run it.
    fn needed(&self, protocol: &ProtocolChoice) -> Result<usize, ProtocolError> {
        let cluster = roster(self.began, &self.epoch_under(protocol));
        protocol.check(&cluster, self.limits)?;
        protocol.quorum(self.members.len())
    }

    /// Whether they can run `protocol`, and enough of them are there for it.
    fn check(&self, protocol: &ProtocolChoice) -> Result<(), ChangeError> {
        let (alive, members) = (self.alive, self.members.len());
        let needed = self.needed(protocol)?;
        if alive < needed {
            return Err(ChangeError::TooFewAlive { alive, needed, members });
        }
        Ok(())
    }

    /// An adaptive group whose next members cannot go on as it does now, because its leader goes, say, has to
    /// choose anew, and begins with EPaxos.
    fn able(&self, protocol: ProtocolChoice) -> ProtocolChoice {
        let ProtocolChoice::Adaptive(adaptive) = &protocol else { return protocol };
        let anew = ProtocolChoice::Adaptive(adaptive.anew());
        // Who has yet to say that it has come to an epoch will: that is no reason.
        let can = |choice| self.needed(choice).is_ok_and(|needed| self.heard >= needed);
        if !can(&protocol) && can(&anew) { anew } else { protocol }
    }
}

fn check_names(cluster: &Cluster) -> Result<(), ChangeError> {
    for (seat, member) in cluster.members.iter().enumerate() {
        let before = &cluster.members[..seat];
        let why = match &member.name {
            name if name.is_empty() => "it is empty",
            name if name.len() > NAME_BYTES_MAX => "it is longer than 64 bytes",
            name if before.iter().any(|other| other.name == *name) => "another member has it",
            _ => continue,
        };
        return Err(ChangeError::Name { name: member.name.clone(), why });
    }
    Ok(())
}

impl Encode for Newcomer {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.node.0);
        self.contact().encode(out);
    }
}

impl Decode for Newcomer {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let node = NodeId(input.varint()?);
        let contact::Contact { name, addr, round_trips, .. } = Contact::decode(input)?;
        Ok(Self { name, node, addr, round_trips })
    }
}

impl Encode for Change {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.add.len() as u64);
        self.add.iter().for_each(|newcomer| newcomer.encode(out));
        out.put_varint(self.remove.len() as u64);
        self.remove.iter().for_each(|node| out.put_varint(node.0));
        out.put_u8(u8::from(self.protocol.is_some()));
        self.protocol.iter().for_each(|protocol| protocol.encode(out));
    }
}

impl Decode for Change {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let count = input.count("newcomers", 8, REPLICAS_MAX)?;
        let add = (0..count).map(|_| Newcomer::decode(input)).collect::<Result<_, _>>()?;
        let count = input.count("members to remove", 1, REPLICAS_MAX)?;
        let remove = (0..count).map(|_| Ok(NodeId(input.varint()?)));
        let remove = remove.collect::<Result<_, DecodeError>>()?;
        let protocol = match input.u8()? {
            0 => None,
            _ => Some(ProtocolChoice::decode(input)?),
        };
        Ok(Self { add, remove, protocol })
    }
}

#[cfg(test)]
mod tests;
