//! Identifiers: who, where, which.
//!
//! Two names for a participant are kept apart on purpose. A [`NodeId`] names a process with its disk
//! for ever: it is what a certificate carries. A [`ReplicaId`] is a node's seat in one epoch of one
//! group: the small index that dependency vectors and ballots use. A lost disk means a new
//! `NodeId` in a new epoch; it never comes back under the old one.

use std::fmt;

use crate::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// Most replicas a group can have. Dependency vectors and replica sets are bounded by it.
pub const REPLICAS_MAX: usize = 16;

/// One deployment of Panchayat. Nodes of different clusters refuse each other's connections and
/// each other's data directories.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

/// One process with its disk, for ever. Carried by its certificate and by its journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// One replication group (one workload). All groups of a process share its mesh and its journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// The number of an epoch of a group: a period with fixed members, protocol and quorums.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochNumber(pub u64);

/// A member's seat in its epoch: its index in the epoch's member list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u8);

/// A position in a lane (EPaxos) or in a log (the Paxos modes). Slots start at 1; 0 means "none".
pub type Slot = u64;

/// The name of one consensus instance: the `slot`-th of the lane of `replica`.
///
/// The order of ids (replica first, then slot) is the order in which commands of one strongly
/// connected component execute, so it is part of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The replica that proposes in this lane.
    pub replica: ReplicaId,
    /// The slot in its lane, from 1.
    pub slot: Slot,
}

impl InstanceId {
    /// The instance at `slot` of `replica`'s lane.
    pub const fn new(replica: ReplicaId, slot: Slot) -> Self {
        Self { replica, slot }
    }
}

impl ReplicaId {
    /// The seat as an index into per-member arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of replicas of one epoch. Seats that no epoch can have are in none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReplicaSet(u16);

impl ReplicaSet {
    /// No replica.
    pub const EMPTY: Self = Self(0);

    /// Only `replica`.
    pub const fn only(replica: ReplicaId) -> Self {
        if replica.index() < REPLICAS_MAX { Self(1 << replica.0) } else { Self::EMPTY }
    }

    /// Every seat below `n`.
    pub fn all(n: usize) -> Self {
        assert!(n <= REPLICAS_MAX);
        Self(((1u32 << n) - 1) as u16)
    }

    /// Adds `replica`; true if it was not there.
    pub fn insert(&mut self, replica: ReplicaId) -> bool {
        let before = self.0;
        self.0 |= Self::only(replica).0;
        self.0 != before
    }

    /// Removes `replica`; true if it was there.
    pub fn remove(&mut self, replica: ReplicaId) -> bool {
        let before = self.0;
        self.0 &= !Self::only(replica).0;
        self.0 != before
    }

    /// The set without `replica`.
    pub const fn without(self, replica: ReplicaId) -> Self {
        self.minus(Self::only(replica))
    }

    /// Members of this set that are not in `other`.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `replica` is a member.
    pub const fn contains(self, replica: ReplicaId) -> bool {
        self.0 & Self::only(replica).0 != 0
    }

    /// How many members.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it has no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = ReplicaId> {
        (0..REPLICAS_MAX as u8).map(ReplicaId).filter(move |r| self.contains(*r))
    }
}

impl Encode for ReplicaSet {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(u64::from(self.0));
    }
}

impl Decode for ReplicaSet {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let bits = input.varint()?.try_into();
        bits.map(Self).map_err(|_| DecodeError::OutOfRange("replica set"))
    }
}

impl FromIterator<ReplicaId> for ReplicaSet {
    fn from_iter<I: IntoIterator<Item = ReplicaId>>(replicas: I) -> Self {
        let mut set = Self::EMPTY;
        for replica in replicas {
            set.insert(replica);
        }
        set
    }
}

impl Encode for InstanceId {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(self.replica.0);
        out.put_varint(self.slot);
    }
}

impl Decode for InstanceId {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let replica = ReplicaId::decode(input)?;
        let slot = input.varint()?;
        if slot == 0 {
            return Err(DecodeError::OutOfRange("slot"));
        }
        Ok(Self { replica, slot })
    }
}

impl Encode for ReplicaId {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(self.0);
    }
}

impl Decode for ReplicaId {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let replica = input.u8()?;
        if replica as usize >= REPLICAS_MAX {
            return Err(DecodeError::OutOfRange("replica"));
        }
        Ok(Self(replica))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster-{:032x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group-{}", self.0)
    }
}

impl fmt::Debug for EpochNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch-{}", self.0)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}/{}", self.replica.0, self.slot)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Debug for ReplicaSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a caller asks for: nothing wraps round to a seat that exists.
    #[test]
    fn a_seat_that_cannot_exist_is_in_no_set() {
        let all = ReplicaSet::all(REPLICAS_MAX);
        for seat in [16, 17, 31, 32, 33, 255].map(ReplicaId) {
            assert_eq!(ReplicaSet::only(seat), ReplicaSet::EMPTY);
            assert!(!all.contains(seat));
            assert_eq!(all.without(seat), all);
            let mut set = all;
            assert!(!set.insert(seat) && !set.remove(seat));
            assert_eq!(set, all);
        }
        for seat in all.iter() {
            assert_eq!(ReplicaSet::only(seat).iter().collect::<Vec<_>>(), [seat]);
            assert!(all.contains(seat) && !all.without(seat).contains(seat));
        }
    }
}
