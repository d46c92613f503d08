//! What the records and messages of Multi-Paxos say, in the terms that the checks of a log share.

use panchayat_consensus::{Ballot, Command, Slot};
use panchayat_multipaxos::{Entry, Message, MultiPaxos, Progress, Record};

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

impl LogReplica for MultiPaxos {
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
        let (ballot, entry) = Self::vote(self, slot)?;
        Some((LogRound::classic(ballot), Value::of(entry)))
    }
}

/// What a record means.
pub(super) fn fact(record: &Record) -> Fact {
    match record {
        Record::Started { run } => Fact::Started { run: *run },
        Record::Promised { ballot } => Fact::Promised { ballot: *ballot },
        Record::Accepted { ballot, first, entries, chosen } => Fact::Voted {
            round: LogRound::classic(*ballot),
            values: values_of(*first, entries),
            chosen: *chosen,
        },
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
        Message::Forward { number, .. } | Message::Read { id: number, .. } => {
            vec![Claim::Number(*number)]
        }
        Message::Prepare { ballot, .. } => vec![Claim::Promised(*ballot)],
        Message::Promise { ballot, from, reports, next } => {
            let last = next.checked_sub(1).unwrap_or(Slot::MAX);
            let (mut claims, mut told) = (vec![Claim::Promised(*ballot)], Vec::new());
            for report in reports {
                let (slot, value) = (report.slot, Value::of(&report.entry));
                let round = LogRound::classic(report.ballot);
                told.push((slot, (!report.chosen).then_some(round)));
                claims.push(if report.chosen {
                    Claim::Decided(slot, value)
                } else {
                    Claim::Voted(round, slot, VoteOf::Value(value))
                });
            }
            let below = LogRound::classic(*ballot);
            claims.push(Claim::AllVotes { below, first: *from, last, told });
            claims
        }
        Message::Accept { ballot, first, entries, chosen } => {
            let round = LogRound::classic(*ballot);
            let votes = values_of(*first, entries).into_iter();
            let votes = votes.map(|(slot, value)| Claim::Voted(round, slot, VoteOf::Value(value)));
            std::iter::once(Claim::ChosenUpto(*chosen)).chain(votes).collect()
        }
        Message::AcceptOk { ballot, first, last } => {
            let round = LogRound::classic(*ballot);
            (*first..=*last).map(|slot| Claim::Voted(round, slot, VoteOf::Anything)).collect()
        }
        Message::Heartbeat { ballot, progress, .. }
        | Message::HeartbeatOk { ballot, progress, .. } => {
            let [chosen, kept] = of_progress(progress);
            vec![Claim::Promised(*ballot), chosen, kept]
        }
        Message::Status(progress) => of_progress(progress).into(),
        Message::Chosen { upto, .. } | Message::Gone { base: upto } => {
            vec![Claim::ChosenUpto(*upto)]
        }
        Message::Learn { first, entries } => {
            let values = values_of(*first, entries).into_iter();
            values.map(|(slot, value)| Claim::Decided(slot, value)).collect()
        }
        Message::Refused { .. }
        | Message::Busy { .. }
        | Message::PreVote { .. }
        | Message::PreVoteOk { .. }
        | Message::Fetch { .. }
        | Message::Transfer { .. }
        | Message::Resign { .. }
        | Message::ReadAt { .. } => Vec::new(),
    }
}
