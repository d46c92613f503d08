//! Ballots: who may speak for an instance, and which word is newer.

use std::fmt;

use crate::ids::ReplicaId;
use crate::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// Rounds above this are refused on input, so that adding one never overflows.
const ROUND_MAX: u64 = 1 << 48;

/// An attempt to decide an instance, ordered by round and then by the replica that made it.
///
/// Ballot zero belongs to the instance's initial coordinator. Every other ballot names its owner,
/// so two replicas never share one, and an owner never uses one for two attempts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    round: u64,
    replica: ReplicaId,
}

impl Ballot {
    /// The initial coordinator's ballot.
    pub const INITIAL: Self = Self { round: 0, replica: ReplicaId(0) };

    /// The smallest ballot of `replica` above `self`, in a round of its own.
    pub fn next_for(self, replica: ReplicaId) -> Self {
        assert!(self.round < ROUND_MAX);
        Self { round: self.round + 1, replica }
    }

    /// Whether this is the initial coordinator's ballot.
    pub fn is_initial(self) -> bool {
        self == Self::INITIAL
    }

    /// The replica that made this ballot; `None` for the initial one, whose owner is the lane's.
    pub fn owner(self) -> Option<ReplicaId> {
        (!self.is_initial()).then_some(self.replica)
    }

    /// The round: how many attempts this one knows to be older, at least.
    pub fn round(self) -> u64 {
        self.round
    }
}

impl Encode for Ballot {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.round);
        if self.round > 0 {
            self.replica.encode(out);
        }
    }
}

impl Decode for Ballot {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let round = input.varint()?;
        if round >= ROUND_MAX {
            return Err(DecodeError::OutOfRange("ballot round"));
        }
        if round == 0 {
            return Ok(Self::INITIAL);
        }
        Ok(Self { round, replica: ReplicaId::decode(input)? })
    }
}

impl fmt::Debug for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_initial() {
            f.write_str("b0")
        } else {
            write!(f, "b{}.{}", self.round, self.replica)
        }
    }
}
