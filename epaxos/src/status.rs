//! What replicas tell each other now and then of all they know, not of one instance.

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{ReplicaSet, WallTime};

use crate::deps::Deps;

/// What a replica says of itself. It leaves when everything it speaks of is durable there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// The highest slot it knows to exist, per lane.
    pub seen: Deps,
    /// Up to where everything is executed there.
    pub reached: Deps,
    /// Its watermark: everything up to here is executed and durable there, and so is everything
    /// that it knew of when it had executed that.
    pub executed: Deps,
    /// Everything up to here it collects.
    pub collected: Deps,
    /// Everything up to here lies within the watermarks of all members, absent or not, as far as it
    /// has heard them.
    pub shared: Deps,
    /// The members it counts as absent: it takes no message of theirs and collects without them.
    pub absent: ReplicaSet,
    /// The highest slots it had seen when it settled on `absent`.
    pub seen_then: Deps,
    /// In its own lane, every slot above the one it has seen is proposed after this, by the times of
    /// proposals and by its clock.
    pub proposed_after: WallTime,
}

impl Status {
    pub(crate) fn vectors(&self) -> [&Deps; 6] {
        let Self { seen, reached, executed, collected, shared, seen_then, .. } = self;
        [seen, reached, executed, collected, shared, seen_then]
    }
}

impl Encode for Status {
    fn encode(&self, out: &mut Writer) {
        for vector in self.vectors() {
            vector.encode(out);
        }
        self.absent.encode(out);
        out.put_varint(self.proposed_after.0);
    }
}

impl Decode for Status {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            seen: Deps::decode(input)?,
            reached: Deps::decode(input)?,
            executed: Deps::decode(input)?,
            collected: Deps::decode(input)?,
            shared: Deps::decode(input)?,
            seen_then: Deps::decode(input)?,
            absent: ReplicaSet::decode(input)?,
            proposed_after: WallTime(input.varint()?),
        })
    }
}
