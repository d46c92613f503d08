//! What the records and messages of Fast Paxos say, in the terms that the checks of a log share.

use panchayat_consensus::{Ballot, Command, ReplicaId, Slot};
use panchayat_fastpaxos::{Entry, FastPaxos, Message, Name as VoteName, Progress, Record, Round};

use crate::invariants::{Name, Value};
use crate::log::{Claim, Fact, LogEntry, LogReplica, LogRound, VoteOf, values_of};

impl LogEntry for Entry {
    fn named(&self) -> Option<(Name, &Command)> {
        self.submission().map(|own| {
            let name = Name { origin: own.origin, number: own.number, floor: own.floor };
            (name, &*own.command)
        })
    }
}

impl LogReplica for FastPaxos {
    fn promised(&self) -> Ballot {
        Self::promised(self)
    }

    fn chosen_upto(&self) -> Slot {
        Self::chosen_upto(self)
    }

    fn collected_upto(&self) -> Slot {
        Self::collected_upto(self)
    }

    fn highest(&self) -> Slot {
        Self::highest(self)
    }

    fn in_flight(&self) -> usize {
        Self::in_flight(self)
    }

    fn chosen_value(&self, slot: Slot) -> Option<Value> {
        self.chosen_entry(slot).map(Value::of)
    }

    fn vote(&self, slot: Slot) -> Option<(LogRound, Value)> {
        let (round, entry) = Self::vote(self, slot)?;
        Some((of_round(round), Value::of(entry)))
    }
}

/// A round of the protocol.
pub(super) fn of_round(round: Round) -> LogRound {
    LogRound { ballot: round.ballot, classic: round.classic }
}

fn of_name(name: &VoteName) -> Option<(ReplicaId, u64)> {
    match name {
        VoteName::Nop => None,
        VoteName::Command { origin, number } => Some((*origin, *number)),
    }
}

/// What a record means. What a replica closed is checked apart.
pub(super) fn fact(record: &Record) -> Fact {
    match record {
        Record::Started { run } => Fact::Started { run: *run },
        Record::Promised { ballot } => Fact::Promised { ballot: *ballot },
        Record::Closed { .. } => Fact::Other,
        Record::Voted { round, first, entries } => {
            Fact::Voted { round: of_round(*round), values: values_of(*first, entries), chosen: 0 }
        }
        Record::Learned { first, entries } => Fact::Learned { values: values_of(*first, entries) },
        Record::Chosen { upto } => Fact::Chosen { upto: *upto },
        Record::Adopted { upto } => Fact::Adopted { upto: *upto },
        Record::Snapshot { upto, .. } => Fact::Snapshot { upto: *upto },
    }
}

fn of_progress(progress: &Progress) -> [Claim; 2] {
    [Claim::ChosenUpto(progress.chosen), Claim::Kept(progress.kept)]
}

/// What a message claims.
pub(super) fn claims(message: &Message) -> Vec<Claim> {
    match message {
        Message::Propose { number, .. } => vec![Claim::Number(*number)],
        Message::Prepare { ballot, .. }
        | Message::Close { ballot, .. }
        | Message::Accept { ballot, .. } => vec![Claim::Promised(*ballot)],
        Message::Reported { ballot, upto, from, reports, next } => {
            // Who promises a ballot tells all below it; who closes its fast round, that round too.
            let (below, end) = match upto {
                0 => (LogRound::fast(*ballot), Slot::MAX),
                upto => (LogRound::classic(*ballot), *upto),
            };
            let last = next.checked_sub(1).unwrap_or(end);
            let (mut claims, mut told) = (vec![Claim::Promised(*ballot)], Vec::new());
            for report in reports {
                let (slot, value) = (report.slot, Value::of(&report.entry));
                told.push((slot, report.round.map(of_round)));
                claims.push(match report.round {
                    None => Claim::Decided(slot, value),
                    Some(round) => Claim::Voted(of_round(round), slot, VoteOf::Value(value)),
                });
            }
            claims.push(Claim::AllVotes { below, first: *from, last, told });
            claims
        }
        Message::Votes { round, first, names } => {
            let round = of_round(*round);
            let votes = (*first..).zip(names);
            votes
                .map(|(slot, name)| Claim::Voted(round, slot, VoteOf::Named(of_name(name))))
                .collect()
        }
        Message::Heartbeat { ballot, progress, .. } | Message::HeartbeatOk { ballot, progress } => {
            let [chosen, kept] = of_progress(progress);
            vec![Claim::Promised(*ballot), chosen, kept]
        }
        Message::Status { progress, .. } => of_progress(progress).into(),
        Message::Learn { first, entries } => {
            let values = values_of(*first, entries).into_iter();
            values.map(|(slot, value)| Claim::Decided(slot, value)).collect()
        }
        Message::Gone { base } => vec![Claim::ChosenUpto(*base)],
        Message::PreVote { .. }
        | Message::PreVoteOk { .. }
        | Message::Refused { .. }
        | Message::Fetch { .. }
        | Message::Resign { .. } => Vec::new(),
    }
}
