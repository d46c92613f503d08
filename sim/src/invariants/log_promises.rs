//! Invariant 7 for a log. Nothing leaves before what it promises is durable.
//!
//! What each replica durably holds is rebuilt from the records that its simulated disk confirmed,
//! and every message seen on the wire is held against it.

use panchayat_consensus::{Ballot, ReplicaId, Slot};
use panchayat_multipaxos::{Entry, Message, Progress, Record};
use rustc_hash::{FxHashMap, FxHashSet};

use super::log_values::{LogValues, Value};
use crate::flaw::{Flaw, Invariant};
use crate::multipaxos::instance;
use crate::subject::Place;

/// Numbers begin with the run of their origin, above this many bits.
const RUN_SHIFT: u32 = 40;

/// What one replica durably holds.
#[derive(Clone, Debug, Default)]
pub struct HeldLog {
    /// The highest ballot promised.
    pub promised: Option<Ballot>,
    /// How often it was started.
    pub run: u64,
    /// Every vote, by slot, in the order of ballots.
    pub votes: FxHashMap<Slot, Vec<(Ballot, Value)>>,
    known: FxHashSet<Slot>,
    /// What is said to be chosen from now on is about values above this slot.
    adopted: Slot,
    /// The outcome of every slot up to here can be told after a loss of power.
    pub upto: Slot,
}

impl HeldLog {
    /// The highest ballot promised, the initial one if none.
    pub fn ballot(&self) -> Ballot {
        self.promised.unwrap_or(Ballot::INITIAL)
    }

    /// The last vote in `slot`.
    pub fn vote(&self, slot: Slot) -> Option<(Ballot, Value)> {
        self.votes.get(&slot)?.last().copied()
    }

    fn promise(&mut self, ballot: Ballot) {
        self.promised = self.promised.max(Some(ballot));
    }

    fn know_upto(&mut self, upto: Slot) {
        for slot in self.upto.max(self.adopted) + 1..=upto {
            if self.votes.contains_key(&slot) {
                self.known.insert(slot);
            }
        }
        self.advance();
    }

    fn advance(&mut self) {
        while self.known.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
    }

    /// One more record.
    pub fn add(&mut self, record: &Record) {
        match record {
            Record::Started { run } => (self.run, self.adopted) = (self.run.max(*run), 0),
            Record::Promised { ballot } => self.promise(*ballot),
            Record::Accepted { ballot, first, entries, chosen } => {
                self.promise(*ballot);
                self.know_upto(*chosen);
                for (slot, entry) in (*first..).zip(entries) {
                    let votes = self.votes.entry(slot).or_default();
                    if votes.last().is_none_or(|(last, _)| last < ballot) {
                        votes.push((*ballot, Value::of(entry)));
                    }
                }
            }
            Record::Learned { first, entries } => {
                self.known.extend(*first..*first + entries.len() as u64);
                self.advance();
            }
            Record::Chosen { upto } => self.know_upto(*upto),
            Record::Adopted { upto } => self.adopted = *upto,
            Record::Snapshot { upto, .. } => {
                self.upto = self.upto.max(*upto);
                self.advance();
            }
        }
    }

    fn voted(&self, slot: Slot, ballot: Ballot, value: Option<Value>) -> bool {
        let votes = self.votes.get(&slot).map_or(&[][..], |votes| votes);
        let same = |known: &Value| value.is_none_or(|value| value == *known);
        votes.iter().any(|(at, known)| *at == ballot && same(known))
    }
}

/// What every replica durably holds.
#[derive(Clone, Debug, Default)]
pub struct LogPromises {
    held: FxHashMap<ReplicaId, HeldLog>,
    /// How far states reach that were taken over and are not durable yet.
    taking_over: FxHashMap<ReplicaId, Slot>,
}

impl LogPromises {
    /// A record of `replica` is durable.
    pub fn durable(&mut self, replica: ReplicaId, record: &Record) {
        self.held.entry(replica).or_default().add(record);
    }

    /// `replica` starts from `records`. Gives what it held before.
    pub fn restart(&mut self, replica: ReplicaId, records: &[Record]) -> HeldLog {
        self.taking_over.remove(&replica);
        let mut held = HeldLog::default();
        records.iter().for_each(|record| held.add(record));
        self.held.insert(replica, held).unwrap_or_default()
    }

    /// `replica` has taken over a state that is not durable there yet.
    pub fn taken_over(&mut self, replica: ReplicaId, upto: Slot) {
        self.taking_over.insert(replica, upto);
    }

    /// A snapshot of `replica` is durable, and with it the state it may have taken over.
    pub fn snapshot_durable(&mut self, replica: ReplicaId) {
        if let Some(upto) = self.taking_over.remove(&replica) {
            let held = self.held.entry(replica).or_default();
            held.upto = held.upto.max(upto);
            held.advance();
        }
    }

    /// What `replica` durably holds.
    pub fn held(&mut self, replica: ReplicaId) -> &HeldLog {
        self.held.entry(replica).or_default()
    }

    /// Up to which slot `replica` durably knows every outcome.
    pub fn kept(&self, replica: ReplicaId) -> Slot {
        self.held.get(&replica).map_or(0, |held| held.upto)
    }

    /// Up to which slot `replica` need ask nobody: what it keeps, and what it has taken over.
    pub fn settled(&self, replica: ReplicaId) -> Slot {
        let taking_over = self.taking_over.get(&replica).copied().unwrap_or(0);
        let begin = self.kept(replica).max(taking_over);
        let known = self.held.get(&replica).map(|held| &held.known);
        let goes_on = |slot: &Slot| known.is_some_and(|known| known.contains(slot));
        (begin + 1..).take_while(goes_on).last().unwrap_or(begin)
    }

    /// Holds a message that left `at` against what is durable there, and against what is chosen.
    ///
    /// # Errors
    /// It promises more.
    pub fn sent(&mut self, at: Place, message: &Message, values: &LogValues) -> Result<(), Flaw> {
        let held = self.held(at.replica);
        let progress = |progress: &Progress| progress.kept <= held.upto;
        let mut slot = None;
        let kept = match message {
            Message::Forward { number, .. } => number >> RUN_SHIFT <= held.run,
            Message::Read { id, .. } => id >> RUN_SHIFT <= held.run,
            Message::Prepare { ballot, .. } => held.ballot() >= *ballot,
            Message::Promise { ballot, from, reports, next } => {
                let end = if *next == 0 { Slot::MAX } else { *next };
                for report in reports {
                    let value = Value::of(&report.entry);
                    if report.chosen {
                        values.decided(at, report.slot, value)?;
                    } else if !held.voted(report.slot, report.ballot, Some(value)) {
                        slot = Some(report.slot);
                    }
                }
                let told = |wanted: Slot, vote: Ballot| {
                    let told = reports.iter().find(|report| report.slot == wanted);
                    told.is_some_and(|report| report.chosen || report.ballot >= vote)
                };
                for (voted, votes) in &held.votes {
                    let below = votes.iter().rev().find(|(at, _)| at < ballot);
                    let asked = voted >= from && *voted < end;
                    if let Some((vote, _)) = below.filter(|_| asked)
                        && !told(*voted, *vote)
                    {
                        slot = Some(*voted);
                    }
                }
                held.ballot() >= *ballot && slot.is_none()
            }
            Message::Accept { ballot, first, entries, chosen } => {
                values.decided_upto(at, *chosen)?;
                let lacks = (*first..)
                    .zip(entries)
                    .find(|(slot, entry)| !held.voted(*slot, *ballot, Some(Value::of(entry))));
                slot = lacks.map(|(slot, _)| slot);
                slot.is_none()
            }
            Message::AcceptOk { ballot, first, last } => {
                slot = (*first..=*last).find(|slot| !held.voted(*slot, *ballot, None));
                slot.is_none()
            }
            Message::Heartbeat { ballot, progress: of, .. }
            | Message::HeartbeatOk { ballot, progress: of, .. } => {
                values.decided_upto(at, of.chosen)?;
                held.ballot() >= *ballot && progress(of)
            }
            Message::Status(of) => {
                values.decided_upto(at, of.chosen)?;
                progress(of)
            }
            Message::Chosen { upto, .. } => {
                values.decided_upto(at, *upto)?;
                true
            }
            Message::Learn { first, entries } => {
                for (slot, entry) in (*first..).zip(entries) {
                    values.decided(at, slot, Value::of(entry))?;
                }
                true
            }
            Message::Gone { base } => {
                values.decided_upto(at, *base)?;
                true
            }
            Message::Refused { .. }
            | Message::Busy { .. }
            | Message::PreVote { .. }
            | Message::PreVoteOk { .. }
            | Message::Fetch { .. }
            | Message::Transfer { .. }
            | Message::Resign { .. }
            | Message::ReadAt { .. } => true,
        };
        if kept {
            return Ok(());
        }
        let durable = slot.map(|slot| format!("votes {:?}", held.votes.get(&slot)));
        let text = format!(
            "{} sends {message:?}; durable there is promise {:?}, run {}, outcomes upto {}, {}",
            at.replica,
            held.promised,
            held.run,
            held.upto,
            durable.unwrap_or_default()
        );
        Err(Flaw { invariant: Invariant::DurablePromise, instance: slot.map(instance), text })
    }
}

/// The values of a part of the log, by slot.
pub fn values_of(first: Slot, entries: &[Entry]) -> impl Iterator<Item = (Slot, Value)> + '_ {
    (first..).zip(entries.iter().map(Value::of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::{ReplicaId, Time};
    use panchayat_multipaxos::Report;

    const AT: Place = Place { replica: ReplicaId(1), incarnation: 1 };

    fn ballot() -> Ballot {
        Ballot::INITIAL.next_for(ReplicaId(1))
    }

    fn accepted(first: Slot, chosen: Slot) -> Record {
        Record::Accepted { ballot: ballot(), first, entries: vec![Entry::Nop], chosen }
    }

    fn chosen_by_all(slots: std::ops::RangeInclusive<Slot>) -> LogValues {
        let mut values = LogValues::new(2);
        for slot in slots {
            for replica in 0..2 {
                let at = Place { replica: ReplicaId(replica), incarnation: 1 };
                values.voted(at, ballot(), slot, Value::of(&Entry::Nop)).unwrap();
            }
        }
        values
    }

    /// Each message, and the records that must be durable before it: without the last one it is
    /// found, with all of them it is not.
    #[test]
    fn every_promise_needs_its_record() {
        let (ballot, promised) = (ballot(), Record::Promised { ballot: ballot() });
        let next = ballot.next_for(ReplicaId(2));
        let report = Report { slot: 1, ballot, chosen: false, entry: Entry::Nop };
        let progress = Progress { chosen: 1, kept: 1, highest: 1 };
        let (first, last, entries) = (1, 1, vec![Entry::Nop]);
        let status = Message::Status(progress);
        let cases: Vec<(Message, Vec<Record>)> = vec![
            (
                Message::Prepare { ballot, from: 1, released: Ballot::INITIAL },
                vec![promised.clone()],
            ),
            (
                Message::Promise { ballot: next, from: 1, reports: vec![report], next: 0 },
                vec![accepted(1, 0), Record::Promised { ballot: next }],
            ),
            (Message::Accept { ballot, first, entries, chosen: 0 }, vec![accepted(1, 0)]),
            (Message::AcceptOk { ballot, first, last }, vec![accepted(1, 0)]),
            (
                Message::HeartbeatOk { ballot, sent: Time(1), progress: Progress::default() },
                vec![promised],
            ),
            (status.clone(), vec![accepted(1, 0), Record::Chosen { upto: 1 }]),
            (status.clone(), vec![accepted(1, 0), accepted(2, 1)]),
            (status, vec![Record::Learned { first: 1, entries: vec![Entry::Nop] }]),
        ];
        let values = chosen_by_all(1..=1);
        for (message, records) in cases {
            let mut check = LogPromises::default();
            let (last, before) = records.split_last().unwrap();
            before.iter().for_each(|record| check.durable(AT.replica, record));
            assert!(check.sent(AT, &message, &values).is_err(), "{message:?} passed too early");
            check.durable(AT.replica, last);
            check.sent(AT, &message, &values).unwrap();
        }
    }

    #[test]
    fn a_concealed_vote_is_found() {
        let next = ballot().next_for(ReplicaId(2));
        let values = LogValues::new(2);
        let mut check = LogPromises::default();
        check.durable(AT.replica, &accepted(4, 0));
        check.durable(AT.replica, &Record::Promised { ballot: next });
        let promise = |from, next_part| Message::Promise {
            ballot: next,
            from,
            reports: Vec::new(),
            next: next_part,
        };
        check.sent(AT, &promise(1, 0), &values).unwrap_err();
        check.sent(AT, &promise(1, 4), &values).unwrap();
        check.sent(AT, &promise(5, 0), &values).unwrap();
    }

    #[test]
    fn what_nobody_chose_is_not_to_be_told() {
        let mut check = LogPromises::default();
        check.durable(AT.replica, &accepted(1, 0));
        let values = LogValues::new(2);
        let learn = Message::Learn { first: 1, entries: vec![Entry::Nop] };
        assert!(check.sent(AT, &learn, &values).is_err());
        check.sent(AT, &learn, &chosen_by_all(1..=1)).unwrap();
    }
}
