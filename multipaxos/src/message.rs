//! What Multi-Paxos replicas say to each other.

use std::sync::Arc;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Ballot, Command, Slot, Time};

use crate::entry::Entry;
use crate::origins::NUMBER_MAX;
use crate::read::Way;

/// Slots above this are refused on input, so that arithmetic on them never overflows.
const SLOT_MAX: Slot = 1 << 60;
/// Most entries in one message or record: a nop takes one byte.
const ENTRIES_MAX: usize = 1 << 24;

/// A slot as an acceptor reports it to a new leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// The slot.
    pub slot: Slot,
    /// The ballot of the acceptor's vote.
    pub ballot: Ballot,
    /// Whether it knows the value to be chosen.
    pub chosen: bool,
    /// The value.
    pub entry: Entry,
}

/// A message between members of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Give this command of the sender's client a slot.
    Forward {
        /// Its number among the sender's commands.
        number: u64,
        /// The sender waits for none up to this one.
        floor: u64,
        /// The command.
        command: Arc<Command>,
    },
    /// The leader has no room for this command now.
    Busy {
        /// The command's number.
        number: u64,
    },
    /// Would you promise this ballot? Nothing is promised by the answer.
    PreVote {
        /// The ballot.
        ballot: Ballot,
        /// The sender has executed everything up to here.
        chosen: Slot,
    },
    /// Yes: there is no leader here either.
    PreVoteOk {
        /// The ballot.
        ballot: Ballot,
    },
    /// Promise this ballot for every slot, and report from `from` on.
    Prepare {
        /// The ballot.
        ballot: Ballot,
        /// The first slot to report.
        from: Slot,
        /// The ballot of a leader that gave up its lease in favour of the sender; initial if none.
        released: Ballot,
    },
    /// The promise, and a part of the report.
    Promise {
        /// The ballot.
        ballot: Ballot,
        /// The slot asked for.
        from: Slot,
        /// Slots at or above it in which the sender voted or knows the outcome, ascending.
        reports: Vec<Report>,
        /// The slot to ask for next; 0 if this was the last part.
        next: Slot,
    },
    /// The sender has promised a higher ballot than the one it was asked to act at.
    Refused {
        /// The ballot it was asked to act at.
        ballot: Ballot,
        /// The ballot it has promised.
        promised: Ballot,
    },
    /// Vote for these values at this ballot. The sender's own vote for them is durable.
    Accept {
        /// The ballot.
        ballot: Ballot,
        /// The first of consecutive slots.
        first: Slot,
        /// Their values.
        entries: Vec<Entry>,
        /// Every slot up to here is chosen.
        chosen: Slot,
    },
    /// The votes, durable. They prove the leader's own.
    AcceptOk {
        /// The ballot.
        ballot: Ballot,
        /// The first of consecutive slots.
        first: Slot,
        /// The last of them.
        last: Slot,
    },
    /// The leader's word that every slot up to here is chosen. Only with
    /// [`Learning::Leader`](crate::Learning::Leader).
    Chosen {
        /// The leader's ballot.
        ballot: Ballot,
        /// The last of the slots.
        upto: Slot,
    },
    /// The leader is there, and asks for the lease.
    Heartbeat {
        /// Its ballot.
        ballot: Ballot,
        /// When it sent this, by its own clock.
        sent: Time,
        /// How far it is.
        progress: Progress,
    },
    /// The sender follows that leader, and grants the lease.
    HeartbeatOk {
        /// The leader's ballot.
        ballot: Ballot,
        /// The time in the heartbeat.
        sent: Time,
        /// How far the sender is.
        progress: Progress,
    },
    /// How far the sender is.
    Status(Progress),
    /// Tell me what was chosen from this slot on.
    Fetch {
        /// The first slot.
        from: Slot,
    },
    /// What was chosen.
    Learn {
        /// The first of consecutive slots.
        first: Slot,
        /// Their values.
        entries: Vec<Entry>,
    },
    /// The sender no longer has slots up to here: whoever needs them needs a state.
    Gone {
        /// The last slot it collected.
        base: Slot,
    },
    /// Lead from now on. The sender has stopped, and given up its lease.
    Transfer {
        /// The sender's ballot.
        ballot: Ballot,
    },
    /// The sender leads no longer, and has given up its lease.
    Resign {
        /// The sender's ballot.
        ballot: Ballot,
    },
    /// Which slot must a read that begins now wait for?
    Read {
        /// Names the read at the sender.
        id: u64,
        /// Whose word it takes.
        way: Way,
    },
    /// This one.
    ReadAt {
        /// The name.
        id: u64,
        /// The slot.
        slot: Slot,
    },
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Progress {
    /// Everything up to here is executed...
    pub chosen: Slot,
    /// ...and up to here the outcome is durable.
    pub kept: Slot,
    /// The highest slot voted for or chosen.
    pub highest: Slot,
}

impl Message {
    /// The ballot it speaks at, if it names one.
    pub(crate) fn ballot(&self) -> Option<Ballot> {
        match self {
            Self::PreVote { ballot, .. }
            | Self::PreVoteOk { ballot }
            | Self::Prepare { ballot, .. }
            | Self::Promise { ballot, .. }
            | Self::Refused { ballot, .. }
            | Self::Accept { ballot, .. }
            | Self::AcceptOk { ballot, .. }
            | Self::Chosen { ballot, .. }
            | Self::Heartbeat { ballot, .. }
            | Self::HeartbeatOk { ballot, .. }
            | Self::Transfer { ballot }
            | Self::Resign { ballot } => Some(*ballot),
            _ => None,
        }
    }

    /// Whether only the ballot's owner may say it.
    pub(crate) fn is_of_owner(&self) -> bool {
        matches!(
            self,
            Self::PreVote { .. }
                | Self::Prepare { .. }
                | Self::Accept { .. }
                | Self::Chosen { .. }
                | Self::Heartbeat { .. }
                | Self::Transfer { .. }
                | Self::Resign { .. }
        )
    }
}

pub(crate) fn get_slot(input: &mut Reader) -> Result<Slot, DecodeError> {
    let slot = input.varint()?;
    if slot > SLOT_MAX { Err(DecodeError::OutOfRange("slot")) } else { Ok(slot) }
}

pub(crate) fn put_entries(first: Slot, entries: &[Entry], out: &mut Writer) {
    out.put_varint(first);
    out.put_varint(entries.len() as u64);
    entries.iter().for_each(|entry| entry.encode(out));
}

/// At least one entry, from slot 1 on.
pub(crate) fn get_entries(input: &mut Reader) -> Result<(Slot, Vec<Entry>), DecodeError> {
    let first = get_slot(input)?;
    let count = input.count("log entries", 1, ENTRIES_MAX)?;
    if first == 0 || count == 0 {
        return Err(DecodeError::OutOfRange("log entries"));
    }
    // Not reserved by the count: an entry is larger in memory than the byte it may take here.
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(Entry::decode(input)?);
    }
    Ok((first, entries))
}

impl Encode for Progress {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.chosen);
        out.put_varint(self.kept);
        out.put_varint(self.highest);
    }
}

impl Decode for Progress {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { chosen: get_slot(input)?, kept: get_slot(input)?, highest: get_slot(input)? })
    }
}

impl Encode for Report {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.slot);
        self.ballot.encode(out);
        out.put_u8(u8::from(self.chosen));
        self.entry.encode(out);
    }
}

impl Decode for Report {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            slot: get_slot(input)?,
            ballot: Ballot::decode(input)?,
            chosen: input.u8()? != 0,
            entry: Entry::decode(input)?,
        })
    }
}

impl Encode for Way {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(*self as u8);
    }
}

impl Decode for Way {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Lease),
            1 => Ok(Self::Index),
            2 => Ok(Self::Quorum),
            tag => Err(DecodeError::UnknownTag { what: "way of reading", tag }),
        }
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(self.tag());
        if let Some(ballot) = self.ballot() {
            ballot.encode(out);
        }
        match self {
            Self::Forward { number, floor, command } => {
                out.put_varint(*number);
                out.put_varint(*floor);
                command.encode(out);
            }
            Self::Busy { number } => out.put_varint(*number),
            Self::PreVote { chosen, .. } => out.put_varint(*chosen),
            Self::PreVoteOk { .. } | Self::Transfer { .. } | Self::Resign { .. } => {}
            Self::Prepare { from, released, .. } => {
                out.put_varint(*from);
                released.encode(out);
            }
            Self::Promise { from, reports, next, .. } => {
                out.put_varint(*from);
                out.put_varint(*next);
                out.put_varint(reports.len() as u64);
                reports.iter().for_each(|report| report.encode(out));
            }
            Self::Refused { promised, .. } => promised.encode(out),
            Self::Accept { first, entries, chosen, .. } => {
                out.put_varint(*chosen);
                put_entries(*first, entries, out);
            }
            Self::AcceptOk { first, last, .. } => {
                out.put_varint(*first);
                out.put_varint(last - first);
            }
            Self::Chosen { upto, .. } => out.put_varint(*upto),
            Self::Heartbeat { sent, progress, .. } | Self::HeartbeatOk { sent, progress, .. } => {
                out.put_varint(sent.0);
                progress.encode(out);
            }
            Self::Status(progress) => progress.encode(out),
            Self::Fetch { from } => out.put_varint(*from),
            Self::Learn { first, entries } => put_entries(*first, entries, out),
            Self::Gone { base } => out.put_varint(*base),
            Self::Read { id, way } => {
                out.put_varint(*id);
                way.encode(out);
            }
            Self::ReadAt { id, slot } => {
                out.put_varint(*id);
                out.put_varint(*slot);
            }
        }
    }
}

impl Message {
    fn tag(&self) -> u8 {
        match self {
            Self::Forward { .. } => 0,
            Self::Busy { .. } => 1,
            Self::PreVote { .. } => 2,
            Self::PreVoteOk { .. } => 3,
            Self::Prepare { .. } => 4,
            Self::Promise { .. } => 5,
            Self::Refused { .. } => 6,
            Self::Accept { .. } => 7,
            Self::AcceptOk { .. } => 8,
            Self::Chosen { .. } => 9,
            Self::Heartbeat { .. } => 10,
            Self::HeartbeatOk { .. } => 11,
            Self::Status(_) => 12,
            Self::Fetch { .. } => 13,
            Self::Learn { .. } => 14,
            Self::Gone { .. } => 15,
            Self::Transfer { .. } => 16,
            Self::Resign { .. } => 17,
            Self::Read { .. } => 18,
            Self::ReadAt { .. } => 19,
        }
    }
}

impl Decode for Message {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        match tag {
            0 => {
                let (number, floor) = (input.varint()?, input.varint()?);
                if floor >= number || number > NUMBER_MAX {
                    return Err(DecodeError::OutOfRange("forward floor"));
                }
                Ok(Self::Forward { number, floor, command: Arc::new(Command::decode(input)?) })
            }
            1 => Ok(Self::Busy { number: input.varint()? }),
            2..=11 | 16 | 17 => decode_at(tag, Ballot::decode(input)?, input),
            12 => Ok(Self::Status(Progress::decode(input)?)),
            13 => Ok(Self::Fetch { from: get_slot(input)? }),
            14 => {
                let (first, entries) = get_entries(input)?;
                Ok(Self::Learn { first, entries })
            }
            15 => Ok(Self::Gone { base: get_slot(input)? }),
            18 => Ok(Self::Read { id: input.varint()?, way: Way::decode(input)? }),
            19 => Ok(Self::ReadAt { id: input.varint()?, slot: get_slot(input)? }),
            tag => Err(DecodeError::UnknownTag { what: "Multi-Paxos message", tag }),
        }
    }
}

fn decode_at(tag: u8, ballot: Ballot, input: &mut Reader) -> Result<Message, DecodeError> {
    match tag {
        2 => Ok(Message::PreVote { ballot, chosen: get_slot(input)? }),
        3 => Ok(Message::PreVoteOk { ballot }),
        4 => {
            let from = get_slot(input)?;
            Ok(Message::Prepare { ballot, from, released: Ballot::decode(input)? })
        }
        5 => {
            let (from, next) = (get_slot(input)?, get_slot(input)?);
            let count = input.count("reports", 4, ENTRIES_MAX)?;
            let mut reports = Vec::new();
            for _ in 0..count {
                reports.push(Report::decode(input)?);
            }
            Ok(Message::Promise { ballot, from, reports, next })
        }
        6 => Ok(Message::Refused { ballot, promised: Ballot::decode(input)? }),
        7 => {
            let chosen = get_slot(input)?;
            let (first, entries) = get_entries(input)?;
            Ok(Message::Accept { ballot, first, entries, chosen })
        }
        8 => {
            let (first, more) = (get_slot(input)?, get_slot(input)?);
            Ok(Message::AcceptOk { ballot, first, last: first + more })
        }
        9 => Ok(Message::Chosen { ballot, upto: get_slot(input)? }),
        10 | 11 => {
            let (sent, progress) = (Time(input.varint()?), Progress::decode(input)?);
            match tag {
                10 => Ok(Message::Heartbeat { ballot, sent, progress }),
                _ => Ok(Message::HeartbeatOk { ballot, sent, progress }),
            }
        }
        16 => Ok(Message::Transfer { ballot }),
        17 => Ok(Message::Resign { ballot }),
        tag => Err(DecodeError::UnknownTag { what: "Multi-Paxos message", tag }),
    }
}
