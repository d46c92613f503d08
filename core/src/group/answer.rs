//! What a proposer learns.

use panchayat_consensus::wire::{Decode, from_bytes};

/// What became of a command proposed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<O> {
    /// It was applied.
    Applied(O),
    /// An earlier attempt at its request was applied, and answered this. It was not applied again.
    Duplicate(O),
    /// An earlier attempt at its request was applied; what it answered is no longer there. It was
    /// not applied again.
    OutputNotKept,
    /// Its payload is not a command of the state machine: no replica applied it.
    Undecodable,
    /// It ended its epoch, and the next has begun.
    Sealed,
    /// Nobody here knows whether its request was or will be applied.
    Unknown(Doubt),
}

/// Why the outcome of a request is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Doubt {
    /// It was first tried so long ago that the answer may have been forgotten.
    TooOld,
    /// It claims to be issued in the future: this clock or the client's is wrong, and another
    /// replica may have seen it otherwise.
    IssuedAhead,
    /// This replica's state was replaced by a peer's while the command was under way.
    StateReplaced,
    /// No leader, or no quorum, has said for too long what became of it.
    Unreachable,
}

impl Doubt {
    /// Whether this attempt is certain to have no effect. Of a request that was never tried before
    /// this says that it was not and will not be applied; of a retry it says nothing.
    pub fn attempt_is_void(self) -> bool {
        matches!(self, Self::TooOld | Self::IssuedAhead)
    }
}

impl<O: Decode> Answer<O> {
    /// The answer to a duplicate, from the output that is kept.
    pub(super) fn recorded(output: Option<bytes::Bytes>) -> Self {
        // Only an older version could have left an output that does not decode.
        output
            .and_then(|output| from_bytes(output).ok())
            .map_or(Self::OutputNotKept, Self::Duplicate)
    }
}
