//! What a Multi-Paxos replica keeps in its journal.

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Ballot, REPLICAS_MAX, Slot, WallTime};

use crate::entry::Entry;
use crate::message::{get_entries, get_slot, put_entries};
use crate::origins::Applied;

/// A journal record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// A run of the replica began. Its forwarded commands and reads are numbered by it.
    Started {
        /// Which run, from 1.
        run: u64,
    },
    /// A ballot was promised, or first used.
    Promised {
        /// The ballot.
        ballot: Ballot,
    },
    /// Values were voted for in consecutive slots.
    Accepted {
        /// The ballot.
        ballot: Ballot,
        /// The first slot.
        first: Slot,
        /// Their values.
        entries: Vec<Entry>,
        /// Every slot up to here was known as chosen, with the value held then.
        chosen: Slot,
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
    /// A state that contains everything up to here took this replica's place. Until a snapshot of
    /// it is durable a crash brings the old state back, with votes whose slots had been decided
    /// otherwise: what later records of the same run say of slots up to here is about values that are
    /// not held then.
    Adopted {
        /// The last slot in that state.
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
            Self::Accepted { ballot, first, entries, chosen } => {
                out.put_u8(2);
                ballot.encode(out);
                out.put_varint(*chosen);
                put_entries(*first, entries, out);
            }
            Self::Learned { first, entries } => {
                out.put_u8(3);
                put_entries(*first, entries, out);
            }
            Self::Chosen { upto } => {
                out.put_u8(4);
                out.put_varint(*upto);
            }
            Self::Snapshot { upto, proposed_at, applied } => {
                out.put_u8(5);
                out.put_varint(*upto);
                out.put_varint(proposed_at.0);
                out.put_varint(applied.len() as u64);
                applied.iter().for_each(|applied| applied.encode(out));
            }
            Self::Adopted { upto } => {
                out.put_u8(6);
                out.put_varint(*upto);
            }
        }
    }
}

impl Decode for Record {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Started { run: input.varint()? }),
            1 => Ok(Self::Promised { ballot: Ballot::decode(input)? }),
            2 => {
                let (ballot, chosen) = (Ballot::decode(input)?, get_slot(input)?);
                let (first, entries) = get_entries(input)?;
                Ok(Self::Accepted { ballot, first, entries, chosen })
            }
            3 => {
                let (first, entries) = get_entries(input)?;
                Ok(Self::Learned { first, entries })
            }
            4 => Ok(Self::Chosen { upto: get_slot(input)? }),
            5 => {
                let (upto, proposed_at) = (get_slot(input)?, WallTime(input.varint()?));
                let count = input.count("origins", 2, REPLICAS_MAX)?;
                let applied = (0..count).map(|_| Applied::decode(input)).collect::<Result<_, _>>();
                Ok(Self::Snapshot { upto, proposed_at, applied: applied? })
            }
            6 => Ok(Self::Adopted { upto: get_slot(input)? }),
            tag => Err(DecodeError::UnknownTag { what: "Multi-Paxos record", tag }),
        }
    }
}
