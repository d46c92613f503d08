//! Dependency vectors.
//!
//! `deps[r] = s` stands for *every* id (r, s′) with s′ ≤ s, in every test of the protocol. A prefix
//! is a superset of the real conflicts, which is always safe; it is not "the last writer only",
//! which is not. Which members of a prefix are edges for execution is the graph's business.

use std::fmt;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{InstanceId, REPLICAS_MAX, ReplicaId, Slot};
use smallvec::SmallVec;

/// One slot per replica of the epoch: the prefix of its lane that the instance depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Deps(SmallVec<[Slot; 5]>);

impl Deps {
    /// No dependency, in an epoch of `n` replicas.
    pub fn none(n: usize) -> Self {
        Self(SmallVec::from_elem(0, n))
    }

    /// Whether `id` is among the dependencies.
    pub fn contains(&self, id: InstanceId) -> bool {
        self.0.get(id.replica.index()).is_some_and(|last| id.slot <= *last)
    }

    /// The last slot of `replica`'s lane depended on; 0 for none.
    pub fn last(&self, replica: ReplicaId) -> Slot {
        self.0[replica.index()]
    }

    /// Extends the prefix of one lane to `slot`, if it is shorter.
    pub fn include(&mut self, replica: ReplicaId, slot: Slot) {
        let last = &mut self.0[replica.index()];
        *last = (*last).max(slot);
    }

    /// The same vector with another prefix in one lane.
    pub fn with(mut self, replica: ReplicaId, slot: Slot) -> Self {
        self.0[replica.index()] = slot;
        self
    }

    /// The union with `other`.
    pub fn union(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Shortens every prefix to that of `other`, where that is shorter.
    pub fn meet(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).min(*theirs);
        }
    }

    /// Every lane with the last slot depended on, zeros included.
    pub fn lanes(&self) -> impl Iterator<Item = (ReplicaId, Slot)> + '_ {
        self.0.iter().enumerate().map(|(index, last)| (ReplicaId(index as u8), *last))
    }

    /// How many lanes there are: the epoch's replicas.
    pub fn width(&self) -> usize {
        self.0.len()
    }

    /// Whether every prefix of `other` lies within this one's.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| mine >= theirs)
    }
}

impl FromIterator<Slot> for Deps {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        Self(slots.into_iter().collect())
    }
}

impl Encode for Deps {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(self.0.len() as u8);
        for last in &self.0 {
            out.put_varint(*last);
        }
    }
}

impl Decode for Deps {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let width = input.u8()? as usize;
        if width > REPLICAS_MAX {
            return Err(DecodeError::OutOfRange("dependency lanes"));
        }
        let mut slots = SmallVec::with_capacity(width);
        for _ in 0..width {
            slots.push(input.varint()?);
        }
        Ok(Self(slots))
    }
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_stands_for_its_whole_prefix() {
        let deps: Deps = [0, 7, 2].into_iter().collect();
        assert!(deps.contains(InstanceId::new(ReplicaId(1), 1)));
        assert!(deps.contains(InstanceId::new(ReplicaId(1), 7)));
        assert!(!deps.contains(InstanceId::new(ReplicaId(1), 8)));
        assert!(!deps.contains(InstanceId::new(ReplicaId(0), 1)));
    }

    #[test]
    fn a_union_covers_both() {
        let a: Deps = [3, 0, 5].into_iter().collect();
        let b: Deps = [1, 4, 5].into_iter().collect();
        let mut union = a.clone();
        union.union(&b);
        assert_eq!(union, [3, 4, 5].into_iter().collect());
        assert!(union.covers(&a) && union.covers(&b) && !a.covers(&b));
    }
}
