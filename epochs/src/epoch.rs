//! What an epoch is, and which may follow which.

use bytes::Bytes;
use panchayat_consensus::wire::{
    Decode, DecodeError, Encode, Reader, Writer, from_bytes, to_bytes,
};
use panchayat_consensus::{
    Command, EpochNumber, NodeId, QuorumError, Quorums, REPLICAS_MAX, ReplicaId, ReplicaSet,
    WallTime,
};
use thiserror::Error;

/// The highest number of an epoch: names of instances have room for so many.
pub(crate) const EPOCH_MAX: u64 = (1 << 18) - 1;
/// The highest number of a node.
const NODE_MAX: u64 = u32::MAX as u64;
/// Most bytes by which a member says how it is reached.
const CONTACT_BYTES_MAX: usize = 1 << 10;
/// Most bytes of an epoch's parameters.
const PARAMETERS_BYTES_MAX: usize = 4 << 10;

/// The protocol of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// EPaxos*.
    EPaxos,
    /// Multi-Paxos.
    MultiPaxos,
    /// Fast Paxos.
    FastPaxos,
}

/// A member of an epoch. Its *seat*, by which the epoch's protocol knows it, is its index among them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its place in the group: what messages of the driver are addressed to. It keeps it for as long
    /// as it is a member; afterwards another may have it.
    pub place: ReplicaId,
    /// The process with its disk.
    pub node: NodeId,
    /// How it is called and reached, in the driver's own encoding.
    pub contact: Bytes,
}

/// A period with fixed members, protocol and parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Its number; epochs of a group are numbered one by one.
    pub number: EpochNumber,
    /// The protocol.
    pub order: Order,
    /// What the protocol is configured with, in the driver's own encoding.
    pub parameters: Bytes,
    /// The members, by seat.
    pub members: Vec<Member>,
    /// The highest number of a node that was ever a member: the next to join has a higher one.
    pub highest_node: NodeId,
}

/// An epoch, and what holds of its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opening {
    /// The epoch.
    pub epoch: Epoch,
    /// Everything in it is proposed later than this.
    pub floor: WallTime,
}

/// Why an epoch cannot be, or cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EpochError {
    /// Too few or too many members.
    #[error(transparent)]
    Members(#[from] QuorumError),
    /// Two members have one place or one number.
    #[error("{node} at place {} is there twice, as a node or as a place", place.0)]
    Twice {
        /// The node of the second one.
        node: NodeId,
        /// Its place.
        place: ReplicaId,
    },
    /// It has another number than the one that comes next.
    #[error("epoch {} follows, not {}: another change was first", expected.0, found.0)]
    Number {
        /// The one that would follow.
        expected: EpochNumber,
        /// The one proposed.
        found: EpochNumber,
    },
    /// A node changes its place, or takes one that is not free.
    #[error("{0} has another place than before, or one that is not free")]
    Moved(NodeId),
    /// A number that a node of this group had already, or could have had.
    #[error(
        "{node} cannot join: its number was used before. Numbers are never used again; the next is {next}"
    )]
    UsedNumber {
        /// The node.
        node: NodeId,
        /// The first that is free.
        next: NodeId,
    },
    /// Too few of its members hold the state.
    #[error(
        "only {kept} of {members} members would be members of now, {needed} are needed: go in smaller steps"
    )]
    TooManyNew {
        /// How many stay.
        kept: usize,
        /// How many there would be.
        members: usize,
        /// How many of them must have been members before.
        needed: usize,
    },
    /// A contact, or the parameters, are too long.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// There are no more numbers.
    #[error("there are no more numbers for epochs or nodes: the highest of a node is {NODE_MAX}")]
    Exhausted,
}

impl Epoch {
    /// The first epoch of a group.
    ///
    /// # Errors
    /// [`EpochError`], if there cannot be such an epoch.
    pub fn founding(
        order: Order,
        parameters: Bytes,
        members: Vec<Member>,
    ) -> Result<Self, EpochError> {
        let highest_node = members.iter().map(|member| member.node).max().unwrap_or(NodeId(0));
        let epoch = Self { number: EpochNumber(1), order, parameters, members, highest_node };
        epoch.check()?;
        Ok(epoch)
    }

    /// The epoch after this one, with these members and this protocol.
    pub fn next(&self, order: Order, parameters: Bytes, members: Vec<Member>) -> Self {
        let joined = members.iter().map(|member| member.node).max();
        let highest_node = joined.map_or(self.highest_node, |node| node.max(self.highest_node));
        let number = EpochNumber(self.number.0 + 1);
        Self { number, order, parameters, members, highest_node }
    }

    fn check(&self) -> Result<(), EpochError> {
        Quorums::for_replicas(self.members.len())?;
        if self.number.0 > EPOCH_MAX || self.highest_node.0 > NODE_MAX {
            return Err(EpochError::Exhausted);
        }
        if self.parameters.len() > PARAMETERS_BYTES_MAX {
            return Err(EpochError::TooLong("what the protocol is configured with"));
        }
        for (seat, member) in self.members.iter().enumerate() {
            let before = &self.members[..seat];
            let Member { place, node, ref contact } = *member;
            if before.iter().any(|other| other.place == place || other.node == node) {
                return Err(EpochError::Twice { node, place });
            }
            if contact.len() > CONTACT_BYTES_MAX {
                return Err(EpochError::TooLong("how a member is reached"));
            }
        }
        Ok(())
    }

    /// Whether `next` may be the epoch after this one. A function of agreed data.
    ///
    /// # Errors
    /// [`EpochError`] names the rule broken.
    pub fn may_be_followed_by(&self, next: &Self) -> Result<(), EpochError> {
        next.check()?;
        let expected = EpochNumber(self.number.0 + 1);
        if next.number != expected {
            return Err(EpochError::Number { expected, found: next.number });
        }
        let mut kept = 0;
        for member in &next.members {
            let same_node = self.members.iter().find(|old| old.node == member.node);
            let same_place = self.members.iter().find(|old| old.place == member.place);
            match (same_node, same_place) {
                (Some(old), _) if old.place == member.place => kept += 1,
                (None, None) if member.node > self.highest_node => {}
                (None, None) => {
                    let next = NodeId(self.highest_node.0 + 1);
                    return Err(EpochError::UsedNumber { node: member.node, next });
                }
                _ => return Err(EpochError::Moved(member.node)),
            }
        }
        let (needed, members) = (next.slow_quorum(), next.members.len());
        if kept < needed {
            return Err(EpochError::TooManyNew { kept, members, needed });
        }
        if next.highest_node
            != self.next(next.order, Bytes::new(), next.members.clone()).highest_node
        {
            return Err(EpochError::Number { expected, found: next.number });
        }
        Ok(())
    }

    /// How many members make a slow quorum.
    pub fn slow_quorum(&self) -> usize {
        self.members.len() - (self.members.len() - 1) / 2
    }

    /// The seat of the member at `place`.
    pub fn seat_of(&self, place: ReplicaId) -> Option<ReplicaId> {
        let seat = self.members.iter().position(|member| member.place == place)?;
        Some(ReplicaId(seat as u8))
    }

    /// The places of all members.
    pub fn places(&self) -> ReplicaSet {
        self.members.iter().map(|member| member.place).collect()
    }

    /// The lowest place that no member has and that is not in `taken`.
    pub fn free_place(&self, taken: ReplicaSet) -> Option<ReplicaId> {
        let held = self.places();
        let mut places = ReplicaSet::all(REPLICAS_MAX).iter();
        places.find(|place| !held.contains(*place) && !taken.contains(*place))
    }

    /// The command that ends the epoch before this one, proposed where the clock shows `wall`.
    pub fn seal(&self, wall: WallTime) -> Command {
        Command::seal(to_bytes(&Opening { epoch: self.clone(), floor: wall }))
    }
}

impl Epoch {
    /// The epoch that a seal would open, if it reads as one.
    pub fn of_seal(seal: &Command) -> Option<Self> {
        Opening::of_seal(seal).map(|opening| opening.epoch)
    }
}

impl Opening {
    /// What a seal says, if it reads as one: the floor is its proposer's clock.
    pub(crate) fn of_seal(seal: &Command) -> Option<Self> {
        from_bytes(seal.payload.clone()).ok().filter(|_| seal.is_seal())
    }
}

impl Encode for Order {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(*self as u8);
    }
}

impl Decode for Order {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::EPaxos),
            1 => Ok(Self::MultiPaxos),
            2 => Ok(Self::FastPaxos),
            tag => Err(DecodeError::UnknownTag { what: "protocol of an epoch", tag }),
        }
    }
}

impl Encode for Member {
    fn encode(&self, out: &mut Writer) {
        self.place.encode(out);
        out.put_varint(self.node.0);
        out.put_bytes(&self.contact);
    }
}

impl Decode for Member {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let place = ReplicaId::decode(input)?;
        let node = NodeId(input.varint()?);
        Ok(Self { place, node, contact: input.bytes()? })
    }
}

impl Encode for Epoch {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.number.0);
        self.order.encode(out);
        out.put_bytes(&self.parameters);
        out.put_varint(self.highest_node.0);
        out.put_varint(self.members.len() as u64);
        self.members.iter().for_each(|member| member.encode(out));
    }
}

impl Decode for Epoch {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let number = EpochNumber(input.varint()?);
        let order = Order::decode(input)?;
        let parameters = input.bytes()?;
        let highest_node = NodeId(input.varint()?);
        let count = input.count("members", 3, REPLICAS_MAX)?;
        let members = (0..count).map(|_| Member::decode(input)).collect::<Result<_, _>>()?;
        let epoch = Self { number, order, parameters, members, highest_node };
        epoch.check().map(|()| epoch).map_err(|_| DecodeError::OutOfRange("epoch"))
    }
}

impl Encode for Opening {
    fn encode(&self, out: &mut Writer) {
        self.epoch.encode(out);
        out.put_varint(self.floor.0);
    }
}

impl Decode for Opening {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { epoch: Epoch::decode(input)?, floor: WallTime(input.varint()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(nodes: &[(u8, u64)]) -> Vec<Member> {
        let member = |(place, node): &(u8, u64)| Member {
            place: ReplicaId(*place),
            node: NodeId(*node),
            contact: Bytes::from_static(b"there"),
        };
        nodes.iter().map(member).collect()
    }

    fn founding() -> Epoch {
        let members = members(&[(0, 1), (1, 2), (2, 3)]);
        Epoch::founding(Order::EPaxos, Bytes::new(), members).unwrap()
    }

    fn followed_by(nodes: &[(u8, u64)]) -> Result<(), EpochError> {
        let first = founding();
        first.may_be_followed_by(&first.next(Order::MultiPaxos, Bytes::new(), members(nodes)))
    }

    #[test]
    fn most_of_the_next_members_must_hold_the_state() {
        assert_eq!(followed_by(&[(0, 1), (1, 2), (2, 3)]), Ok(()));
        assert_eq!(followed_by(&[(0, 1), (1, 2), (3, 4)]), Ok(()), "one replaced");
        assert_eq!(followed_by(&[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]), Ok(()), "3 to 5");
        let error = followed_by(&[(0, 1), (3, 4), (4, 5)]).unwrap_err();
        assert_eq!(error, EpochError::TooManyNew { kept: 1, members: 3, needed: 2 });
        assert!(followed_by(&[(0, 1), (1, 2)]).is_err(), "two are no group");
    }

    #[test]
    fn numbers_and_places_are_never_taken_from_others() {
        let taken = followed_by(&[(0, 1), (1, 2), (2, 4)]).unwrap_err();
        assert_eq!(taken, EpochError::Moved(NodeId(4)), "its place is not free");
        assert_eq!(followed_by(&[(0, 1), (2, 2), (1, 3)]), Err(EpochError::Moved(NodeId(2))));
        let first = founding();
        let second = first.next(Order::EPaxos, Bytes::new(), members(&[(0, 1), (1, 2), (3, 4)]));
        let back = second.next(Order::EPaxos, Bytes::new(), members(&[(0, 1), (1, 2), (2, 3)]));
        let refused = EpochError::UsedNumber { node: NodeId(3), next: NodeId(5) };
        assert_eq!(second.may_be_followed_by(&back), Err(refused), "it was removed");
        assert_eq!(
            first.may_be_followed_by(&back),
            Err(EpochError::Number { expected: EpochNumber(2), found: EpochNumber(3) })
        );
    }

    #[test]
    fn an_epoch_reads_back_from_the_seal_that_opens_it() {
        let epoch = founding();
        let seal = epoch.seal(WallTime(7));
        assert!(seal.is_seal() && seal.footprint.is_barrier());
        assert_eq!(Opening::of_seal(&seal), Some(Opening { epoch, floor: WallTime(7) }));
        let other = Command::new(panchayat_consensus::Footprint::barrier(), None, seal.payload);
        assert_eq!(Opening::of_seal(&other), None);
    }
}
