//! Rounds: a ballot has a fast one, and after it a classic one of the same coordinator.

use panchayat_consensus::Ballot;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// A round of voting. The fast round of a ballot comes before its classic one, in which the
/// ballot's coordinator settles what the fast one left open, slot by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round {
    /// The ballot.
    pub ballot: Ballot,
    /// Whether the value is the coordinator's, rather than any that came.
    pub classic: bool,
}

impl Round {
    /// The fast round of `ballot`.
    pub const fn fast(ballot: Ballot) -> Self {
        Self { ballot, classic: false }
    }

    /// The classic round of `ballot`.
    pub const fn classic(ballot: Ballot) -> Self {
        Self { ballot, classic: true }
    }
}

impl Encode for Round {
    fn encode(&self, out: &mut Writer) {
        self.ballot.encode(out);
        out.put_u8(u8::from(self.classic));
    }
}

impl Decode for Round {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let ballot = Ballot::decode(input)?;
        match input.u8()? {
            0 => Ok(Self::fast(ballot)),
            1 => Ok(Self::classic(ballot)),
            tag => Err(DecodeError::UnknownTag { what: "round", tag }),
        }
    }
}
