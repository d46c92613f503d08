//! What one wants to be different, and the epoch that follows from it.

use std::net::SocketAddr;
use std::time::Duration;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{NodeId, REPLICAS_MAX, ReplicaId, ReplicaSet};
use panchayat_epochs::{Epoch, EpochError, Epochs};

use super::contact::{self, Contact, NAME_BYTES_MAX};
use super::error::ChangeError;
use super::roster;
use crate::cluster::Cluster;
use crate::limits::Limits;
use crate::protocol::{ProtocolChoice, choice_of};

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

    /// Commands are ordered by `protocol`.
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
    let protocol = change.protocol.clone().unwrap_or_else(|| choice_of(epoch));
    if members == epoch.members && protocol == choice_of(epoch) {
        return Ok(None);
    }
    let next = epoch.next(protocol.order(), protocol.parameters(), members);
    epochs.check_next(&next)?;
    // Whoever comes has no state yet, and whoever is dead may not come back to take it on.
    let have_state = epochs.reached().iter().filter(|place| alive.contains(*place));
    let have_state = have_state.filter(|place| next.places().contains(*place)).count();
    if have_state < next.slow_quorum() {
        let (needed, members) = (next.slow_quorum(), next.members.len());
        return Err(ChangeError::TooFewAlive { alive: have_state, needed, members });
    }
    let cluster = roster(began, &next);
    check_names(&cluster)?;
    for seat in 0..cluster.members.len() as u8 {
        protocol.config(ReplicaId(seat), &cluster, limits)?;
    }
    Ok(Some(next))
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
mod tests {
    use std::sync::Arc;

    use panchayat_consensus::wire::{from_bytes, to_bytes};
    use panchayat_consensus::{ClusterId, Effects, EpochNumber, Input, Now, Protocol, Span};
    use panchayat_epochs::{Config, Message, Timing};
    use panchayat_topology::Topology;

    use super::*;
    use crate::protocol::{Hosting, Leader, MultiPaxosChoice};

    const ID: ClusterId = ClusterId(1);

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn india() -> Cluster {
        let matrix = Topology::builtin().matrix("india3").unwrap();
        Cluster::of_sites(ID, &matrix, &[addr(1), addr(2), addr(3)])
    }

    fn led_from(city: &str) -> ProtocolChoice {
        let leader = Leader::At(city.to_owned());
        ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, ..Default::default() })
    }

    fn group(protocol: &ProtocolChoice) -> Epochs {
        let config = Config {
            place: ReplicaId(0),
            node: NodeId(1),
            founding: Some(founding(&india(), protocol).unwrap()),
            openings: Arc::new(Hosting { began: india(), limits: Limits::default() }),
            timing: Timing::for_rtt(Span::from_ms(40)),
        };
        let (now, mut effects) = (Now::default(), Effects::default());
        let mut group = Epochs::restore(config, [], now, &mut effects);
        for place in 1..3 {
            let message = Message::Reached { epoch: EpochNumber(1) };
            group.step(now, Input::Receive { from: ReplicaId(place), message }, &mut effects);
        }
        group
    }

    fn chennai() -> Newcomer {
        let far = |ms| Duration::from_millis(ms);
        let chennai = Newcomer::new("chennai", NodeId(4), addr(4));
        chennai.round_trip(NodeId(1), far(25)).round_trip(NodeId(2), far(43))
    }

    fn next(group: &Epochs, change: &Change) -> Result<Option<Epoch>, ChangeError> {
        next_epoch(group, &india(), change, ReplicaSet::all(3), &Limits::default())
    }

    #[test]
    fn the_members_of_an_epoch_are_who_was_asked_for_and_as_far_as_was_told() {
        let group = group(&ProtocolChoice::EPaxos);
        let change = Change::new().add_member(chennai()).remove_member(NodeId(2));
        assert_eq!(from_bytes::<Change>(to_bytes(&change)), Ok(change.clone()));
        let epoch = next(&group, &change).unwrap().unwrap();
        let cluster = roster(&india(), &epoch);
        let names: Vec<_> = cluster.members.iter().map(|member| &*member.name).collect();
        assert_eq!(names, ["mumbai", "bangalore", "chennai"]);
        assert_eq!(cluster.members[2].addr, addr(4));
        let ms = |from: usize, to: usize| cluster.round_trips[from][to].as_millis();
        assert_eq!((ms(0, 1), ms(0, 2), ms(2, 0)), (24, 25, 25));
        assert_eq!(ms(1, 2), 25, "nobody told: the longest between those who are left");
    }

    #[test]
    fn what_is_there_already_changes_nothing() {
        let group = group(&led_from("delhi"));
        let mumbai = Newcomer::new("mumbai", NodeId(1), addr(1));
        let same =
            Change::new().add_member(mumbai).remove_member(NodeId(9)).protocol(led_from("delhi"));
        assert_eq!(next(&group, &same), Ok(None));
        let moved = Change::new().add_member(Newcomer::new("mumbai", NodeId(1), addr(7)));
        let epoch = next(&group, &moved).unwrap().unwrap();
        assert_eq!(roster(&india(), &epoch).members[0].addr, addr(7));
        let switched = next(&group, &Change::new().protocol(ProtocolChoice::EPaxos));
        assert_eq!(choice_of(&switched.unwrap().unwrap()), ProtocolChoice::EPaxos);
    }

    #[test]
    fn what_cannot_follow_is_refused_with_what_to_do_instead() {
        let group = group(&led_from("delhi"));
        let refused = |change: Change| next(&group, &change).unwrap_err().to_string();
        let text = refused(Change::new().remove_member(NodeId(2)));
        assert!(text.contains("3 to 16"), "{text}");
        let text = refused(Change::new().add_member(chennai()).remove_member(NodeId(2)));
        assert!(
            text.contains("delhi, which should lead") && text.contains("same change"),
            "{text}"
        );
        let text = refused(Change::new().add_member(Newcomer::new("delhi", NodeId(4), addr(4))));
        assert!(text.contains("another member has it"), "{text}");
        let text = refused(Change::new().add_member(Newcomer::new("pune", NodeId(17), addr(4))));
        assert!(text.contains("take node-4"), "{text}");
        let everybody =
            Change::new().add_member(chennai()).remove_member(NodeId(1)).remove_member(NodeId(2));
        assert!(refused(everybody).contains("3 to 16"));
        let text = refused(Change::new().protocol(led_from("paris")));
        assert!(text.contains("paris"), "{text}");
    }
}
