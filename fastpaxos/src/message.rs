//! What Fast Paxos replicas say to each other.

use std::sync::Arc;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Ballot, Command, REPLICAS_MAX, Slot, WallTime};

use crate::entry::{Entry, Name, get_number};
use crate::mode::Mode;
use crate::round::Round;

/// Slots above this are refused on input, so that arithmetic on them never overflows.
const SLOT_MAX: Slot = 1 << 60;
/// Most entries in one message or record: a nop takes one byte.
const ENTRIES_MAX: usize = 1 << 24;

/// A slot as an acceptor reports it to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// The slot.
    pub slot: Slot,
    /// The round of the acceptor's vote; `None` if it knows `entry` to be chosen.
    pub round: Option<Round>,
    /// The value.
    pub entry: Entry,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Progress {
    /// Everything up to here is executed...
    pub chosen: Slot,
    /// ...and up to here the outcome is durable.
    pub kept: Slot,
    /// The highest slot voted in or chosen.
    pub highest: Slot,
}

/// A message between members of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A command of the sender's client, for the acceptors in a fast round and for the coordinator
    /// in a classic one.
    Propose {
        /// The sender's wall clock.
        sent: WallTime,
        /// When it should have reached a fast quorum, by the receiver's wall clock; zero if it is
        /// to be taken when it comes.
        due: WallTime,
        /// Its number among the sender's commands.
        number: u64,
        /// The sender waits for none up to this one.
        floor: u64,
        /// The command.
        command: Arc<Command>,
    },
    /// Would you promise this ballot? Nothing is promised by the answer.
    PreVote {
        /// The ballot.
        ballot: Ballot,
        /// The sender has executed everything up to here.
        chosen: Slot,
    },
    /// Yes: there is no coordinator here either.
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
    },
    /// Vote no more in the fast round of this ballot up to `upto`, and report from `from` to there.
    /// In its turn among the commands: so all acceptors jump between the same two.
    Close {
        /// The ballot.
        ballot: Ballot,
        /// The first slot to report.
        from: Slot,
        /// The last slot closed.
        upto: Slot,
        /// When that turn is, by the receiver's wall clock; zero for at once.
        due: WallTime,
    },
    /// The promise asked for by `Prepare` or `Close`, and a part of the report.
    Reported {
        /// The ballot.
        ballot: Ballot,
        /// The last slot the promise is for; 0 for all.
        upto: Slot,
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
    /// Vote for these values in the classic round of this ballot.
    Accept {
        /// The ballot.
        ballot: Ballot,
        /// The first of consecutive slots.
        first: Slot,
        /// Their values.
        entries: Vec<Entry>,
    },
    /// The sender's votes in consecutive slots, durable.
    Votes {
        /// The round.
        round: Round,
        /// The first slot.
        first: Slot,
        /// What it voted for.
        names: Vec<Name>,
    },
    /// The coordinator is there.
    Heartbeat {
        /// Its ballot.
        ballot: Ballot,
        /// Which rounds it runs, and why.
        mode: Mode,
        /// Any value will do from this slot on; 0 while it runs classic rounds.
        fast_from: Slot,
        /// Up to here fast rounds are over.
        closed: Slot,
        /// How far it is.
        progress: Progress,
    },
    /// The sender follows that coordinator.
    HeartbeatOk {
        /// The coordinator's ballot.
        ballot: Ballot,
        /// How far the sender is.
        progress: Progress,
    },
    /// How far the sender is, and how the network looks from there.
    Status {
        /// How far.
        progress: Progress,
        /// Its wall clock.
        sent: WallTime,
        /// Per member, by how much its wall clock at sending was behind the sender's at receiving,
        /// in microseconds; `None` if not known.
        delays: Vec<Option<i64>>,
    },
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
    /// The sender coordinates no longer.
    Resign {
        /// The sender's ballot.
        ballot: Ballot,
    },
}

impl Message {
    /// The ballot it speaks at, if it names one.
    pub(crate) fn ballot(&self) -> Option<Ballot> {
        match self {
            Self::PreVote { ballot, .. }
            | Self::PreVoteOk { ballot }
            | Self::Prepare { ballot, .. }
            | Self::Close { ballot, .. }
            | Self::Reported { ballot, .. }
            | Self::Refused { ballot, .. }
            | Self::Accept { ballot, .. }
            | Self::Heartbeat { ballot, .. }
            | Self::HeartbeatOk { ballot, .. }
            | Self::Resign { ballot } => Some(*ballot),
            Self::Votes { round, .. } => Some(round.ballot),
            _ => None,
        }
    }

    /// Whether only the ballot's owner may say it.
    pub(crate) fn is_of_owner(&self) -> bool {
        matches!(
            self,
            Self::PreVote { .. }
                | Self::Prepare { .. }
                | Self::Close { .. }
                | Self::Accept { .. }
                | Self::Heartbeat { .. }
                | Self::Resign { .. }
        )
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Propose { .. } => 0,
            Self::PreVote { .. } => 1,
            Self::PreVoteOk { .. } => 2,
            Self::Prepare { .. } => 3,
            Self::Close { .. } => 4,
            Self::Reported { .. } => 5,
            Self::Refused { .. } => 6,
            Self::Accept { .. } => 7,
            Self::Votes { .. } => 8,
            Self::Heartbeat { .. } => 9,
            Self::HeartbeatOk { .. } => 10,
            Self::Status { .. } => 11,
            Self::Fetch { .. } => 12,
            Self::Learn { .. } => 13,
            Self::Gone { .. } => 14,
            Self::Resign { .. } => 15,
        }
    }
}

pub(crate) fn get_slot(input: &mut Reader) -> Result<Slot, DecodeError> {
    let slot = input.varint()?;
    if slot > SLOT_MAX { Err(DecodeError::OutOfRange("slot")) } else { Ok(slot) }
}

fn put_run<T: Encode>(first: Slot, items: &[T], out: &mut Writer) {
    out.put_varint(first);
    out.put_varint(items.len() as u64);
    items.iter().for_each(|item| item.encode(out));
}

/// At least one item, from slot 1 on.
fn get_run<T: Decode>(input: &mut Reader) -> Result<(Slot, Vec<T>), DecodeError> {
    let first = get_slot(input)?;
    let count = input.count("consecutive slots", 1, ENTRIES_MAX)?;
    if first == 0 || count == 0 {
        return Err(DecodeError::OutOfRange("consecutive slots"));
    }
    // Not reserved by the count: an item is larger in memory than the byte it may take here.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(T::decode(input)?);
    }
    Ok((first, items))
}

pub(crate) fn put_entries(first: Slot, entries: &[Entry], out: &mut Writer) {
    put_run(first, entries, out);
}

pub(crate) fn get_entries(input: &mut Reader) -> Result<(Slot, Vec<Entry>), DecodeError> {
    get_run(input)
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
        out.put_u8(u8::from(self.round.is_some()));
        if let Some(round) = &self.round {
            round.encode(out);
        }
        self.entry.encode(out);
    }
}

impl Decode for Report {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let slot = get_slot(input)?;
        let round = match input.u8()? {
            0 => None,
            1 => Some(Round::decode(input)?),
            tag => return Err(DecodeError::UnknownTag { what: "report", tag }),
        };
        Ok(Self { slot, round, entry: Entry::decode(input)? })
    }
}

/// Zero for unknown, else one more than the zigzag of the number.
fn put_delay(delay: Option<i64>, out: &mut Writer) {
    let zigzag = |delay: i64| ((delay << 1) ^ (delay >> 63)) as u64;
    out.put_varint(delay.map_or(0, |delay| zigzag(delay).saturating_add(1)));
}

fn get_delay(input: &mut Reader) -> Result<Option<i64>, DecodeError> {
    let coded = input.varint()?.checked_sub(1);
    Ok(coded.map(|zigzag| (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)))
}

impl Encode for Message {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(self.tag());
        if let Some(ballot) = self.ballot() {
            ballot.encode(out);
        }
        match self {
            Self::Propose { sent, due, number, floor, command } => {
                for part in [sent.0, due.0, *number, number - floor] {
                    out.put_varint(part);
                }
                command.encode(out);
            }
            Self::PreVoteOk { .. } | Self::Resign { .. } => {}
            Self::Prepare { from: slot, .. } | Self::PreVote { chosen: slot, .. } => {
                out.put_varint(*slot);
            }
            Self::Close { from, upto, due, .. } => {
                out.put_varint(*from);
                out.put_varint(*upto);
                out.put_varint(due.0);
            }
            Self::Reported { upto, from, reports, next, .. } => {
                for part in [*upto, *from, *next, reports.len() as u64] {
                    out.put_varint(part);
                }
                reports.iter().for_each(|report| report.encode(out));
            }
            Self::Refused { promised, .. } => promised.encode(out),
            Self::Accept { first, entries, .. } => put_entries(*first, entries, out),
            Self::Votes { round, first, names } => {
                out.put_u8(u8::from(round.classic));
                put_run(*first, names, out);
            }
            Self::Heartbeat { mode, fast_from, closed, progress, .. } => {
                mode.encode(out);
                out.put_varint(*fast_from);
                out.put_varint(*closed);
                progress.encode(out);
            }
            Self::HeartbeatOk { progress, .. } => progress.encode(out),
            Self::Status { progress, sent, delays } => {
                progress.encode(out);
                out.put_varint(sent.0);
                out.put_varint(delays.len() as u64);
                delays.iter().for_each(|delay| put_delay(*delay, out));
            }
            Self::Fetch { from } => out.put_varint(*from),
            Self::Learn { first, entries } => put_entries(*first, entries, out),
            Self::Gone { base } => out.put_varint(*base),
        }
    }
}

impl Decode for Message {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        match tag {
            0 => {
                let (sent, due) = (WallTime(input.varint()?), WallTime(input.varint()?));
                let (number, floor) = get_number(input)?;
                let command = Arc::new(Command::decode(input)?);
                Ok(Self::Propose { sent, due, number, floor, command })
            }
            1..=10 | 15 => decode_at(tag, Ballot::decode(input)?, input),
            11 => {
                let (progress, sent) = (Progress::decode(input)?, WallTime(input.varint()?));
                let count = input.count("delays", 1, REPLICAS_MAX)?;
                let delays = (0..count).map(|_| get_delay(input)).collect::<Result<_, _>>()?;
                Ok(Self::Status { progress, sent, delays })
            }
            12 => Ok(Self::Fetch { from: get_slot(input)? }),
            13 => {
                let (first, entries) = get_entries(input)?;
                Ok(Self::Learn { first, entries })
            }
            14 => Ok(Self::Gone { base: get_slot(input)? }),
            tag => Err(DecodeError::UnknownTag { what: "Fast Paxos message", tag }),
        }
    }
}

fn decode_at(tag: u8, ballot: Ballot, input: &mut Reader) -> Result<Message, DecodeError> {
    match tag {
        1 => Ok(Message::PreVote { ballot, chosen: get_slot(input)? }),
        2 => Ok(Message::PreVoteOk { ballot }),
        3 => Ok(Message::Prepare { ballot, from: get_slot(input)? }),
        4 => {
            let (from, upto) = (get_slot(input)?, get_slot(input)?);
            Ok(Message::Close { ballot, from, upto, due: WallTime(input.varint()?) })
        }
        5 => {
            let (upto, from, next) = (get_slot(input)?, get_slot(input)?, get_slot(input)?);
            let count = input.count("reports", 3, ENTRIES_MAX)?;
            let mut reports = Vec::new();
            for _ in 0..count {
                reports.push(Report::decode(input)?);
            }
            Ok(Message::Reported { ballot, upto, from, reports, next })
        }
        6 => Ok(Message::Refused { ballot, promised: Ballot::decode(input)? }),
        7 => {
            let (first, entries) = get_entries(input)?;
            Ok(Message::Accept { ballot, first, entries })
        }
        8 => {
            let classic = match input.u8()? {
                0 => false,
                1 => true,
                tag => return Err(DecodeError::UnknownTag { what: "round", tag }),
            };
            let (first, names) = get_run(input)?;
            Ok(Message::Votes { round: Round { ballot, classic }, first, names })
        }
        9 => Ok(Message::Heartbeat {
            ballot,
            mode: Mode::decode(input)?,
            fast_from: get_slot(input)?,
            closed: get_slot(input)?,
            progress: Progress::decode(input)?,
        }),
        10 => Ok(Message::HeartbeatOk { ballot, progress: Progress::decode(input)? }),
        15 => Ok(Message::Resign { ballot }),
        tag => Err(DecodeError::UnknownTag { what: "Fast Paxos message", tag }),
    }
}
