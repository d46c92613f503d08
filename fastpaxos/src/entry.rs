//! What a slot of the log can hold, and what it is called in votes.

use std::sync::Arc;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Command, ReplicaId};

use crate::applied::NUMBER_MAX;

/// What an entry costs besides its payload and its keys: an estimate that limits use.
const ENTRY_BYTES: usize = 48;
/// What a key of a footprint costs.
const KEY_BYTES: usize = 9;

/// The origin of a command and its number there.
pub(crate) type Key = (ReplicaId, u64);

/// What a value is called in a vote. An origin never uses a number for two commands, across
/// restarts included, so equal names are equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Nothing.
    Nop,
    /// A command.
    Command {
        /// The replica whose client proposed it.
        origin: ReplicaId,
        /// Its number there.
        number: u64,
    },
}

/// A command, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Submission {
    /// The replica whose client proposed it.
    pub origin: ReplicaId,
    /// Its number among the commands of that replica.
    pub number: u64,
    /// Every command of `origin` with a number up to this one was settled when this was proposed.
    /// Below `number`.
    pub floor: u64,
    /// The command.
    pub command: Arc<Command>,
}

/// What is decided in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Nothing: fills a gap.
    Nop,
    /// A command.
    Command(Submission),
}

impl Name {
    pub(crate) fn key(self) -> Option<Key> {
        match self {
            Self::Nop => None,
            Self::Command { origin, number } => Some((origin, number)),
        }
    }
}

impl Submission {
    pub(crate) fn key(&self) -> Key {
        (self.origin, self.number)
    }
}

impl Entry {
    /// What it is called in votes.
    pub fn name(&self) -> Name {
        match self {
            Self::Nop => Name::Nop,
            Self::Command(Submission { origin, number, .. }) => {
                Name::Command { origin: *origin, number: *number }
            }
        }
    }

    /// The command and its name, unless it is Nop.
    pub fn submission(&self) -> Option<&Submission> {
        match self {
            Self::Nop => None,
            Self::Command(submission) => Some(submission),
        }
    }

    /// About how many bytes it takes, in memory and on the wire.
    pub fn bytes(&self) -> usize {
        ENTRY_BYTES + self.submission().map_or(0, |submission| bytes_of(&submission.command))
    }
}

pub(crate) fn bytes_of(command: &Command) -> usize {
    command.payload.len() + command.footprint.keys().len() * KEY_BYTES
}

/// A number, and the floor below it as what it is above that.
pub(crate) fn get_number(input: &mut Reader) -> Result<(u64, u64), DecodeError> {
    let (number, above) = (input.varint()?, input.varint()?);
    if above == 0 || above > number || number > NUMBER_MAX {
        return Err(DecodeError::OutOfRange("command number"));
    }
    Ok((number, number - above))
}

impl Encode for Name {
    fn encode(&self, out: &mut Writer) {
        // Numbers start at 1.
        let (number, origin) = match self {
            Self::Nop => (0, None),
            Self::Command { origin, number } => (*number, Some(origin)),
        };
        out.put_varint(number);
        if let Some(origin) = origin {
            origin.encode(out);
        }
    }
}

impl Decode for Name {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.varint()? {
            0 => Ok(Self::Nop),
            number if number > NUMBER_MAX => Err(DecodeError::OutOfRange("command number")),
            number => Ok(Self::Command { origin: ReplicaId::decode(input)?, number }),
        }
    }
}

impl Encode for Submission {
    fn encode(&self, out: &mut Writer) {
        self.origin.encode(out);
        out.put_varint(self.number);
        out.put_varint(self.number - self.floor);
        self.command.encode(out);
    }
}

impl Decode for Submission {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let origin = ReplicaId::decode(input)?;
        let (number, floor) = get_number(input)?;
        let command = Arc::new(Command::decode(input)?);
        Ok(Self { origin, number, floor, command })
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
