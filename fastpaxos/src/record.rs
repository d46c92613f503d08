//! What a Fast Paxos replica keeps in its journal.

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Ballot, REPLICAS_MAX, Slot, WallTime};

use crate::applied::Applied;
use crate::entry::Entry;
use crate::message::{get_entries, get_slot, put_entries};
use crate::round::Round;

/// A journal record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// A run of the replica began. Its commands are numbered by it.
    Started {
        /// Which run, from 1.
        run: u64,
    },
    /// A ballot was promised, or first used.
    Promised {
        /// The ballot.
        ballot: Ballot,
    },
    /// No more votes in the fast round of the ballot promised last, up to a slot.
    Closed {
        /// The ballot.
        ballot: Ballot,
        /// The slot.
        upto: Slot,
    },
    /// Values were voted for in consecutive slots.
    Voted {
        /// The round.
        round: Round,
        /// The first slot.
        first: Slot,
        /// Their values.
        entries: Vec<Entry>,
    },
    /// Values were learned to be chosen in consecutive slots.
    Learned {
        /// The first slot.
        first: Slot,
        /// Their values.
        entries: Vec<Entry>,
    },
    /// Every slot up to here is chosen, with the value held now.
    Chosen {
        /// The last of them.
        upto: Slot,
    },
    /// A state with everything up to here was taken over from another member. Until a snapshot holds
    /// it, what the journal holds of those slots may not be what was chosen: what is said to be
    /// chosen later in this run is about slots above.
    Adopted {
        /// The last slot of that state.
        upto: Slot,
    },
    /// Everything up to here is executed, and in the state that goes with this record.
    Snapshot {
        /// The last slot executed.
        upto: Slot,
        /// The last time a command executed up to there was proposed at.
        proposed_at: WallTime,
        /// Which commands that makes applied, per member.
        applied: Vec<Applied>,
    },
}

impl Encode for Record {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Started { run } => {
                out.put_u8(0);
                out.put_varint(*run);
            }
            Self::Promised { ballot } => {
                out.put_u8(1);
                ballot.encode(out);
            }
            Self::Closed { ballot, upto } => {
                out.put_u8(2);
                ballot.encode(out);
                out.put_varint(*upto);
            }
            Self::Voted { round, first, entries } => {
                out.put_u8(3);
                round.encode(out);
                put_entries(*first, entries, out);
            }
            Self::Learned { first, entries } => {
                out.put_u8(4);
                put_entries(*first, entries, out);
            }
            Self::Chosen { upto } => {
                out.put_u8(5);
                out.put_varint(*upto);
            }
            Self::Adopted { upto } => {
                out.put_u8(7);
                out.put_varint(*upto);
            }
            Self::Snapshot { upto, proposed_at, applied } => {
                out.put_u8(6);
                out.put_varint(*upto);
                out.put_varint(proposed_at.0);
                out.put_varint(applied.len() as u64);
                applied.iter().for_each(|applied| applied.encode(out));
            }
        }
    }
}

impl Decode for Record {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Started { run: input.varint()? }),
            1 => Ok(Self::Promised { ballot: Ballot::decode(input)? }),
            2 => Ok(Self::Closed { ballot: Ballot::decode(input)?, upto: get_slot(input)? }),
            3 => {
                let round = Round::decode(input)?;
                let (first, entries) = get_entries(input)?;
                Ok(Self::Voted { round, first, entries })
            }
            4 => {
                let (first, entries) = get_entries(input)?;
                Ok(Self::Learned { first, entries })
            }
            5 => Ok(Self::Chosen { upto: get_slot(input)? }),
            6 => {
                let (upto, proposed_at) = (get_slot(input)?, WallTime(input.varint()?));
                let count = input.count("origins", 2, REPLICAS_MAX)?;
                let applied = (0..count).map(|_| Applied::decode(input)).collect::<Result<_, _>>();
                Ok(Self::Snapshot { upto, proposed_at, applied: applied? })
            }
            7 => Ok(Self::Adopted { upto: get_slot(input)? }),
            tag => Err(DecodeError::UnknownTag { what: "Fast Paxos record", tag }),
        }
    }
}
