//! What a slot of the log can hold.

use std::sync::Arc;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Command, ReplicaId};

use crate::origins::NUMBER_MAX;

/// What an entry costs besides its payload and its keys: an estimate that limits use.
const ENTRY_BYTES: usize = 48;
/// What a key of a footprint costs.
const KEY_BYTES: usize = 9;

/// A command, and whose it is.
///
/// A command that is forwarded again, because its leader was lost, may win two slots. Its name
/// (origin, number) is part of the value, so every replica sees the second one for what it is when
/// it comes to execute it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Submission {
    /// The replica whose client proposed it.
    pub origin: ReplicaId,
    /// Its number among the commands of that replica; never used twice, across restarts included.
    pub number: u64,
    /// Every command of `origin` with a number up to this one was settled when this was proposed.
    /// Below `number`.
    pub floor: u64,
    /// The command. Its `proposed_at` is the time of the leader that gave it its slot.
    pub command: Arc<Command>,
}

/// What is decided in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Nothing: fills a gap that an earlier leader left.
    Nop,
    /// A command.
    Command(Submission),
}

impl Entry {
    /// The command and its name, unless it is Nop.
    pub fn submission(&self) -> Option<&Submission> {
        match self {
            Self::Nop => None,
            Self::Command(submission) => Some(submission),
        }
    }

    /// About how many bytes it takes, in memory and on the wire.
    pub fn bytes(&self) -> usize {
        let of_command = |submission: &Submission| {
            let command = &submission.command;
            command.payload.len() + command.footprint.keys().len() * KEY_BYTES
        };
        ENTRY_BYTES + self.submission().map_or(0, of_command)
    }
}

impl Encode for Submission {
    fn encode(&self, out: &mut Writer) {
        self.origin.encode(out);
        out.put_varint(self.number);
        out.put_varint(self.floor);
        self.command.encode(out);
    }
}

impl Decode for Submission {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let origin = ReplicaId::decode(input)?;
        let (number, floor) = (input.varint()?, input.varint()?);
        if floor >= number || number > NUMBER_MAX {
            return Err(DecodeError::OutOfRange("submission floor"));
        }
        Ok(Self { origin, number, floor, command: Arc::new(Command::decode(input)?) })
    }
}

impl Encode for Entry {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Nop => out.put_u8(0),
            Self::Command(submission) => {
                out.put_u8(1);
                submission.encode(out);
            }
        }
    }
}

impl Decode for Entry {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Nop),
            1 => Ok(Self::Command(Submission::decode(input)?)),
            tag => Err(DecodeError::UnknownTag { what: "log entry", tag }),
        }
    }
}
