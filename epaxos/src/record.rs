//! What an EPaxos replica keeps in its journal: every change of an instance that a later message
//! may promise. A payload is written once per instance; later records refer to it.

use std::sync::Arc;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Ballot, Command, InstanceId};

use crate::deps::Deps;
use crate::message::Proposal;

/// A journal record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The instance was pre-accepted at ballot zero.
    PreAccepted {
        /// Which.
        id: InstanceId,
        /// The command.
        command: Arc<Command>,
        /// What its coordinator sent.
        init_deps: Deps,
        /// That and the local conflicts.
        deps: Deps,
    },
    /// A value was voted for.
    Accepted {
        /// The ballot.
        ballot: Ballot,
        /// Which.
        id: InstanceId,
        /// The value; `Original` if an earlier record holds the payload.
        value: Proposal,
        /// Its dependencies.
        deps: Deps,
    },
    /// The value is decided.
    Committed {
        /// The ballot it was decided at.
        ballot: Ballot,
        /// Which.
        id: InstanceId,
        /// The value; `Original` if an earlier record holds the payload.
        value: Proposal,
        /// Its dependencies.
        deps: Deps,
    },
    /// A ballot was joined.
    Joined {
        /// The ballot.
        ballot: Ballot,
        /// Which.
        id: InstanceId,
    },
    /// A recoverer told what the coordinator had sent.
    Validated {
        /// Which.
        id: InstanceId,
        /// The command.
        command: Arc<Command>,
        /// What its coordinator sent.
        init_deps: Deps,
    },
}

impl Record {
    /// The instance it is about.
    pub fn instance(&self) -> InstanceId {
        match self {
            Self::PreAccepted { id, .. }
            | Self::Accepted { id, .. }
            | Self::Committed { id, .. }
            | Self::Joined { id, .. }
            | Self::Validated { id, .. } => *id,
        }
    }
}

impl Encode for Record {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::PreAccepted { id, command, init_deps, deps } => {
                out.put_u8(0);
                id.encode(out);
                init_deps.encode(out);
                deps.encode(out);
                command.encode(out);
            }
            Self::Accepted { ballot, id, value, deps } => {
                out.put_u8(1);
                id.encode(out);
                ballot.encode(out);
                deps.encode(out);
                value.encode(out);
            }
            Self::Committed { ballot, id, value, deps } => {
                out.put_u8(2);
                id.encode(out);
                ballot.encode(out);
                deps.encode(out);
                value.encode(out);
            }
            Self::Joined { ballot, id } => {
                out.put_u8(3);
                id.encode(out);
                ballot.encode(out);
            }
            Self::Validated { id, command, init_deps } => {
                out.put_u8(4);
                id.encode(out);
                init_deps.encode(out);
                command.encode(out);
            }
        }
    }
}

impl Decode for Record {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        let id = InstanceId::decode(input)?;
        match tag {
            0 => {
                let (init_deps, deps) = (Deps::decode(input)?, Deps::decode(input)?);
                let command = Arc::new(Command::decode(input)?);
                Ok(Self::PreAccepted { id, command, init_deps, deps })
            }
            1 => {
                let (ballot, deps) = (Ballot::decode(input)?, Deps::decode(input)?);
                Ok(Self::Accepted { ballot, id, value: Proposal::decode(input)?, deps })
            }
            2 => {
                let (ballot, deps) = (Ballot::decode(input)?, Deps::decode(input)?);
                Ok(Self::Committed { ballot, id, value: Proposal::decode(input)?, deps })
            }
            3 => Ok(Self::Joined { ballot: Ballot::decode(input)?, id }),
            4 => {
                let init_deps = Deps::decode(input)?;
                let command = Arc::new(Command::decode(input)?);
                Ok(Self::Validated { id, command, init_deps })
            }
            tag => Err(DecodeError::UnknownTag { what: "EPaxos record", tag }),
        }
    }
}
