//! What EPaxos replicas say to each other.
//!
//! Names follow the EPaxos* paper. A payload crosses each link once: `Accept` and `Commit` usually
//! refer to it ([`Proposal::Original`]), and a receiver that never got it asks with `Fetch`.

use std::sync::Arc;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Ballot, Command, InstanceId, KeyHash, ReplicaSet, Value};

use crate::deps::Deps;
use crate::instance::Phase;
use crate::status::Status;

/// Most invalidators one reply may name. They are ids in flight, so a real one stays far below.
pub const INVALIDATORS_MAX: usize = 1 << 20;

/// A value on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Proposal {
    /// Nothing.
    Nop,
    /// The command submitted under the instance's id, which the receiver should have.
    Original,
    /// That command itself.
    Full(Arc<Command>),
}

/// What a replica reports to a recoverer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// *abal*: where the value was accepted; not the ballot that was joined.
    pub accepted_ballot: Ballot,
    /// *phase*.
    pub phase: Phase,
    /// *cmd*, if known.
    pub value: Option<Value>,
    /// *dep*.
    pub deps: Deps,
    /// *initDep*, if known.
    pub init_deps: Option<Deps>,
}

/// An instance that may make the recovered one's fast commit impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Invalidator {
    /// Which.
    pub id: InstanceId,
    /// Whether the reporting replica knows it as committed.
    pub committed: bool,
}

/// A message between members of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// The coordinator's proposal, at ballot zero.
    PreAccept {
        /// Which instance.
        id: InstanceId,
        /// The command.
        command: Arc<Command>,
        /// The conflicts its coordinator knew.
        deps: Deps,
    },
    /// Agreement, with the conflicts the sender knows added.
    PreAcceptOk {
        /// Which instance.
        id: InstanceId,
        /// The coordinator's dependencies and the sender's.
        deps: Deps,
        /// Whom the sender counts as absent: their agreement is worth nothing beside its own.
        absent: ReplicaSet,
    },
    /// Vote for this value at this ballot.
    Accept {
        /// The ballot.
        ballot: Ballot,
        /// Which instance.
        id: InstanceId,
        /// The value.
        value: Proposal,
        /// Its dependencies.
        deps: Deps,
    },
    /// The vote.
    AcceptOk {
        /// The ballot.
        ballot: Ballot,
        /// Which instance.
        id: InstanceId,
    },
    /// The value is decided.
    Commit {
        /// The ballot it was decided at.
        ballot: Ballot,
        /// Which instance.
        id: InstanceId,
        /// The value.
        value: Proposal,
        /// Its dependencies.
        deps: Deps,
    },
    /// Join this ballot and report.
    Recover {
        /// The ballot.
        ballot: Ballot,
        /// Which instance.
        id: InstanceId,
    },
    /// The report.
    RecoverOk {
        /// The ballot joined.
        ballot: Ballot,
        /// Which instance.
        id: InstanceId,
        /// What the sender knew when it joined.
        report: Report,
    },
    /// Check whether the coordinator can have committed this on the fast path.
    Validate {
        /// The ballot.
        ballot: Ballot,
        /// Which instance.
        id: InstanceId,
        /// The command to validate.
        command: Arc<Command>,
        /// The dependencies its coordinator sent.
        deps: Deps,
    },
    /// The instances that speak against it.
    ValidateOk {
        /// The ballot.
        ballot: Ballot,
        /// Which instance.
        id: InstanceId,
        /// Conflicting instances that may have ignored it.
        invalidators: Vec<Invalidator>,
    },
    /// The sender's recovery of `id` waits for its invalidators.
    Waiting {
        /// Which instance.
        id: InstanceId,
        /// |R|: how many of its quorum had pre-accepted it unchanged.
        endorsers: u8,
    },
    /// What do you know of this instance? Answered by `Commit`, `Accept`, `PreAccept`, `Payload` or
    /// `Gone`, or not at all.
    Fetch {
        /// Which instance.
        id: InstanceId,
        /// Whether the sender lacks its payload, too.
        payload: bool,
    },
    /// The command submitted under an id. It agrees to nothing.
    Payload {
        /// Which instance.
        id: InstanceId,
        /// Its command.
        command: Arc<Command>,
    },
    /// The sender has joined a higher ballot than the one it was asked to act at.
    Refused {
        /// The ballot it has joined.
        ballot: Ballot,
        /// Which instance.
        id: InstanceId,
    },
    /// The sender no longer keeps this instance: everyone who counts has executed it. It says
    /// nothing else of it; whoever was recovering it gives up.
    Gone {
        /// Which instance.
        id: InstanceId,
    },
    /// What the sender has seen and executed, so that nothing lost goes unnoticed.
    Status(Box<Status>),
    /// Which instances do you know that write this key?
    Read {
        /// Names the read at the sender.
        number: u64,
        /// The key.
        key: KeyHash,
    },
    /// These, and what may be forgotten.
    ReadOk {
        /// The read.
        number: u64,
        /// The last ones of each lane.
        named: Deps,
    },
}

impl Message {
    /// The instance it speaks of, if of one.
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::PreAccept { id, .. }
            | Self::PreAcceptOk { id, .. }
            | Self::Accept { id, .. }
            | Self::AcceptOk { id, .. }
            | Self::Commit { id, .. }
            | Self::Recover { id, .. }
            | Self::RecoverOk { id, .. }
            | Self::Validate { id, .. }
            | Self::ValidateOk { id, .. }
            | Self::Waiting { id, .. }
            | Self::Fetch { id, .. }
            | Self::Payload { id, .. }
            | Self::Refused { id, .. }
            | Self::Gone { id } => Some(*id),
            Self::Status(_) | Self::Read { .. } | Self::ReadOk { .. } => None,
        }
    }

    /// Whether it votes, or asks for a vote, or for all that the receiver knows. Others only tell
    /// what is known.
    pub(crate) fn needs_a_vote(&self) -> bool {
        !matches!(
            self,
            Self::Commit { .. }
                | Self::Payload { .. }
                | Self::Fetch { .. }
                | Self::Gone { .. }
                | Self::Status(_)
        )
    }

    /// The ballot it speaks at, if it names one.
    pub(crate) fn ballot(&self) -> Option<Ballot> {
        match self {
            Self::Accept { ballot, .. }
            | Self::AcceptOk { ballot, .. }
            | Self::Commit { ballot, .. }
            | Self::Recover { ballot, .. }
            | Self::RecoverOk { ballot, .. }
            | Self::Validate { ballot, .. }
            | Self::ValidateOk { ballot, .. }
            | Self::Refused { ballot, .. } => Some(*ballot),
            _ => None,
        }
    }

    /// Every dependency vector it carries, for checks of their width and reach.
    pub(crate) fn vectors(&self) -> impl Iterator<Item = &Deps> {
        let (two, status) = match self {
            Self::PreAccept { deps, .. }
            | Self::PreAcceptOk { deps, .. }
            | Self::Accept { deps, .. }
            | Self::Commit { deps, .. }
            | Self::Validate { deps, .. }
            | Self::ReadOk { named: deps, .. } => ([Some(deps), None], None),
            Self::RecoverOk { report, .. } => {
                ([Some(&report.deps), report.init_deps.as_ref()], None)
            }
            Self::Status(status) => ([None, None], Some(status.vectors())),
            _ => ([None, None], None),
        };
        two.into_iter().flatten().chain(status.into_iter().flatten())
    }
}

impl Encode for Proposal {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Nop => out.put_u8(0),
            Self::Original => out.put_u8(1),
            Self::Full(command) => {
                out.put_u8(2);
                command.encode(out);
            }
        }
    }
}

impl Decode for Proposal {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Nop),
            1 => Ok(Self::Original),
            2 => Ok(Self::Full(shared_command(input)?)),
            tag => Err(DecodeError::UnknownTag { what: "proposal", tag }),
        }
    }
}

impl Encode for Phase {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(*self as u8);
    }
}

impl Decode for Phase {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Initial),
            1 => Ok(Self::PreAccepted),
            2 => Ok(Self::Accepted),
            3 => Ok(Self::Committed),
            tag => Err(DecodeError::UnknownTag { what: "phase", tag }),
        }
    }
}

impl Encode for Report {
    fn encode(&self, out: &mut Writer) {
        self.accepted_ballot.encode(out);
        self.phase.encode(out);
        match &self.value {
            None => out.put_u8(0),
            Some(value) => {
                out.put_u8(1);
                value.encode(out);
            }
        }
        self.deps.encode(out);
        match &self.init_deps {
            None => out.put_u8(0),
            Some(deps) => {
                out.put_u8(1);
                deps.encode(out);
            }
        }
    }
}

impl Decode for Report {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            accepted_ballot: Ballot::decode(input)?,
            phase: Phase::decode(input)?,
            value: optional(input)?,
            deps: Deps::decode(input)?,
            init_deps: optional(input)?,
        })
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(self.tag());
        if let Some(id) = self.instance() {
            id.encode(out);
        }
        match self {
            Self::PreAccept { command, deps, .. } => {
                deps.encode(out);
                command.encode(out);
            }
            Self::PreAcceptOk { deps, absent, .. } => {
                deps.encode(out);
                absent.encode(out);
            }
            Self::Accept { ballot, value, deps, .. } | Self::Commit { ballot, value, deps, .. } => {
                ballot.encode(out);
                deps.encode(out);
                value.encode(out);
            }
            Self::AcceptOk { ballot, .. }
            | Self::Recover { ballot, .. }
            | Self::Refused { ballot, .. } => ballot.encode(out),
            Self::RecoverOk { ballot, report, .. } => {
                ballot.encode(out);
                report.encode(out);
            }
            Self::Validate { ballot, command, deps, .. } => {
                ballot.encode(out);
                deps.encode(out);
                command.encode(out);
            }
            Self::ValidateOk { ballot, invalidators, .. } => {
                ballot.encode(out);
                out.put_varint(invalidators.len() as u64);
                for invalidator in invalidators {
                    invalidator.id.encode(out);
                    out.put_u8(u8::from(invalidator.committed));
                }
            }
            Self::Waiting { endorsers, .. } => out.put_u8(*endorsers),
            Self::Fetch { payload, .. } => out.put_u8(u8::from(*payload)),
            Self::Gone { .. } => {}
            Self::Payload { command, .. } => command.encode(out),
            Self::Status(status) => status.encode(out),
            Self::Read { number, key } => {
                out.put_varint(*number);
                out.put_u64(key.0);
            }
            Self::ReadOk { number, named } => {
                out.put_varint(*number);
                named.encode(out);
            }
        }
    }
}

impl Message {
    const STATUS_TAG: u8 = 13;

    fn tag(&self) -> u8 {
        match self {
            Self::PreAccept { .. } => 0,
            Self::PreAcceptOk { .. } => 1,
            Self::Accept { .. } => 2,
            Self::AcceptOk { .. } => 3,
            Self::Commit { .. } => 4,
            Self::Recover { .. } => 5,
            Self::RecoverOk { .. } => 6,
            Self::Validate { .. } => 7,
            Self::ValidateOk { .. } => 8,
            Self::Waiting { .. } => 9,
            Self::Fetch { .. } => 10,
            Self::Payload { .. } => 11,
            Self::Refused { .. } => 12,
            Self::Status(_) => Self::STATUS_TAG,
            Self::Gone { .. } => 14,
            Self::Read { .. } => 15,
            Self::ReadOk { .. } => 16,
        }
    }
}

impl Decode for Message {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        match tag {
            Self::STATUS_TAG => return Ok(Self::Status(Box::new(Status::decode(input)?))),
            15 => return Ok(Self::Read { number: input.varint()?, key: KeyHash(input.u64()?) }),
            16 => {
                let number = input.varint()?;
                return Ok(Self::ReadOk { number, named: Deps::decode(input)? });
            }
            _ => {}
        }
        let id = InstanceId::decode(input)?;
        match tag {
            0 => {
                let deps = Deps::decode(input)?;
                Ok(Self::PreAccept { id, command: shared_command(input)?, deps })
            }
            1 => Ok(Self::PreAcceptOk {
                id,
                deps: Deps::decode(input)?,
                absent: ReplicaSet::decode(input)?,
            }),
            2 => {
                let (ballot, deps) = (Ballot::decode(input)?, Deps::decode(input)?);
                Ok(Self::Accept { ballot, id, value: Proposal::decode(input)?, deps })
            }
            3 => Ok(Self::AcceptOk { ballot: Ballot::decode(input)?, id }),
            4 => {
                let (ballot, deps) = (Ballot::decode(input)?, Deps::decode(input)?);
                Ok(Self::Commit { ballot, id, value: Proposal::decode(input)?, deps })
            }
            5 => Ok(Self::Recover { ballot: Ballot::decode(input)?, id }),
            6 => {
                let ballot = Ballot::decode(input)?;
                Ok(Self::RecoverOk { ballot, id, report: Report::decode(input)? })
            }
            7 => {
                let (ballot, deps) = (Ballot::decode(input)?, Deps::decode(input)?);
                Ok(Self::Validate { ballot, id, command: shared_command(input)?, deps })
            }
            8 => {
                let ballot = Ballot::decode(input)?;
                let count = input.count("invalidators", 3, INVALIDATORS_MAX)?;
                let mut invalidators = Vec::with_capacity(count);
                for _ in 0..count {
                    let id = InstanceId::decode(input)?;
                    invalidators.push(Invalidator { id, committed: input.u8()? != 0 });
                }
                Ok(Self::ValidateOk { ballot, id, invalidators })
            }
            9 => Ok(Self::Waiting { id, endorsers: input.u8()? }),
            10 => Ok(Self::Fetch { id, payload: input.u8()? != 0 }),
            11 => Ok(Self::Payload { id, command: shared_command(input)? }),
            12 => Ok(Self::Refused { ballot: Ballot::decode(input)?, id }),
            14 => Ok(Self::Gone { id }),
            tag => Err(DecodeError::UnknownTag { what: "EPaxos message", tag }),
        }
    }
}

fn shared_command(input: &mut Reader) -> Result<Arc<Command>, DecodeError> {
    Command::decode(input).map(Arc::new)
}

fn optional<T: Decode>(input: &mut Reader) -> Result<Option<T>, DecodeError> {
    match input.u8()? {
        0 => Ok(None),
        1 => T::decode(input).map(Some),
        tag => Err(DecodeError::UnknownTag { what: "option", tag }),
    }
}
