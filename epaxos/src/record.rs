//! What an EPaxos replica keeps in its journal: every change of an instance that a later message
//! may promise. A payload is written once per instance; later records refer to it.

use std::sync::Arc;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Ballot, Command, InstanceId, ReplicaId, ReplicaSet, Slot, WallTime};

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
    /// The command submitted under an id became known, and nothing else.
    Learned {
        /// Which.
        id: InstanceId,
        /// The command.
        command: Arc<Command>,
    },
    /// The members counted as absent changed.
    Absent {
        /// They.
        absent: ReplicaSet,
        /// The highest slots seen then.
        seen_then: Deps,
        /// Up to here the proposals of members taken back may ignore what was collected meanwhile.
        stale: Deps,
    },
    /// No own proposal will be made at this time or before, once the replica has restarted.
    ClockBound {
        /// The time.
        until: WallTime,
    },
    /// This run of the replica asks for what its reads need, under numbers of its own.
    Run {
        /// The number of the run.
        run: u64,
    },
    /// The first record of an image: what is collected.
    Collected {
        /// Everything up to here is executed and gone.
        collected: Deps,
        /// What had been collected in states taken over: nothing is endorsed that ignores it.
        fence: Deps,
    },
    /// In an image, before the instances: what is executed in a lane.
    Executed {
        /// The lane.
        lane: ReplicaId,
        /// Everything up to here.
        upto: Slot,
        /// And these above.
        beyond: Vec<Slot>,
    },
}

/// Most executed slots above the prefix that an image may name per lane.
const BEYOND_MAX: usize = 1 << 24;

impl Record {
    /// The instance it is about, if about one.
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::PreAccepted { id, .. }
            | Self::Accepted { id, .. }
            | Self::Committed { id, .. }
            | Self::Joined { id, .. }
            | Self::Validated { id, .. }
            | Self::Learned { id, .. } => Some(*id),
            Self::Absent { .. }
            | Self::ClockBound { .. }
            | Self::Run { .. }
            | Self::Collected { .. }
            | Self::Executed { .. } => None,
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
            Self::Learned { id, command } => {
                out.put_u8(5);
                id.encode(out);
                command.encode(out);
            }
            Self::Absent { absent, seen_then, stale } => {
                out.put_u8(6);
                absent.encode(out);
                seen_then.encode(out);
                stale.encode(out);
            }
            Self::ClockBound { until } => {
                out.put_u8(7);
                out.put_varint(until.0);
            }
            Self::Run { run } => {
                out.put_u8(10);
                out.put_varint(*run);
            }
            Self::Collected { collected, fence } => {
                out.put_u8(8);
                collected.encode(out);
                fence.encode(out);
            }
            Self::Executed { lane, upto, beyond } => {
                out.put_u8(9);
                out.put_u8(lane.0);
                out.put_varint(*upto);
                out.put_varint(beyond.len() as u64);
                for slot in beyond {
                    out.put_varint(*slot);
                }
            }
        }
    }
}

impl Decode for Record {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        if let 6..=10 = tag {
            return decode_general(tag, input);
        }
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
            5 => Ok(Self::Learned { id, command: Arc::new(Command::decode(input)?) }),
            tag => Err(DecodeError::UnknownTag { what: "EPaxos record", tag }),
        }
    }
}

/// A record that is not about one instance.
fn decode_general(tag: u8, input: &mut Reader) -> Result<Record, DecodeError> {
    Ok(match tag {
        6 => {
            let absent = ReplicaSet::decode(input)?;
            let (seen_then, stale) = (Deps::decode(input)?, Deps::decode(input)?);
            Record::Absent { absent, seen_then, stale }
        }
        7 => Record::ClockBound { until: WallTime(input.varint()?) },
        8 => Record::Collected { collected: Deps::decode(input)?, fence: Deps::decode(input)? },
        10 => Record::Run { run: input.varint()? },
        _ => {
            let (lane, upto) = (ReplicaId(input.u8()?), input.varint()?);
            let count = input.count("executed slots", 1, BEYOND_MAX)?;
            let beyond = (0..count).map(|_| input.varint()).collect::<Result<_, _>>()?;
            Record::Executed { lane, upto, beyond }
        }
    })
}
