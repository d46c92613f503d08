//! The Multi-Paxos invariants, fed with records, messages, steps and executions.

use panchayat_consensus::{Command, InstanceId, Now, Quorums, ReplicaSet, Slot};
use panchayat_multipaxos::{Message, MultiPaxos, Record};

use super::instance;
use crate::flaw::{Flaw, Invariant};
use crate::invariants::{
    BallotReuse, LeaseHolders, LogCollection, LogNames, LogOrder, LogPicks, LogProgress,
    LogPromises, LogValues, Value, body, values_of,
};
use crate::setup::Setup;
use crate::subject::{Checks, Place};

/// Everything that is checked of Multi-Paxos in one run.
#[derive(Debug)]
pub struct MultiPaxosChecks {
    names: LogNames,
    values: LogValues,
    picks: LogPicks,
    promises: LogPromises,
    progress: LogProgress,
    reuse: BallotReuse,
    order: LogOrder,
    collection: LogCollection,
    leases: LeaseHolders,
}

impl MultiPaxosChecks {
    /// What a record that is durable now means to checks that count votes.
    fn vote(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        if let Record::Accepted { ballot, first, entries, .. } = record {
            for (slot, value) in values_of(*first, entries) {
                self.values.voted(at, *ballot, slot, value)?;
            }
        }
        Ok(())
    }

    /// `at` goes on from a state that contains `last`, as an image says it.
    fn thaw(&mut self, at: Place, last: Slot, image: &[Record]) -> Result<Slot, Flaw> {
        let upto = image.iter().find_map(|record| match record {
            Record::Snapshot { upto, .. } => Some(*upto),
            _ => None,
        });
        let upto = upto.unwrap_or(0);
        self.order.thaw(at, last, upto, &self.values)?;
        Ok(upto)
    }
}

impl Checks<MultiPaxos> for MultiPaxosChecks {
    /// The last slot that the state contains.
    type Frozen = Slot;

    fn new(quorums: Quorums) -> Self {
        let majority = quorums.n() / 2 + 1;
        Self {
            names: LogNames::default(),
            values: LogValues::new(majority),
            picks: LogPicks::new(majority),
            promises: LogPromises::default(),
            progress: LogProgress::default(),
            reuse: BallotReuse::default(),
            order: LogOrder::default(),
            collection: LogCollection::new(quorums.n(), u64::MAX / 2),
            leases: LeaseHolders::default(),
        }
    }

    fn begin(&mut self, setup: &Setup) {
        if let Some((q1, q2)) = setup.tuning.log.quorums {
            (self.picks, self.values) = (LogPicks::new(q1), LogValues::new(q2));
        }
        let retained_max = setup.tuning.retained_max as u64;
        self.collection = LogCollection::new(setup.replicas(), retained_max);
    }

    fn proposed(&mut self, at: Place, command: &Command) {
        self.names.proposed(at, command);
    }

    fn persisted(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        match record {
            Record::Accepted { ballot, first, entries, .. } => {
                entries.iter().try_for_each(|entry| self.names.entry(at, entry))?;
                for (slot, value) in values_of(*first, entries) {
                    if ballot.owner() == Some(at.replica) {
                        let own = self.progress.vote(at.replica, slot);
                        let chosen = self.values.chosen(slot);
                        self.picks.picks(at, *ballot, (slot, value), own, chosen)?;
                    }
                    self.values.proposed(at, *ballot, slot, value)?;
                }
            }
            Record::Learned { first, entries } => {
                for (slot, value) in values_of(*first, entries) {
                    self.values.decided(at, slot, value)?;
                }
            }
            Record::Chosen { upto } => self.values.decided_upto(at, *upto)?,
            _ => {}
        }
        self.progress.persisted(at, record)
    }

    fn durable(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        self.promises.durable(at.replica, record);
        self.vote(at, record)
    }

    fn restored(
        &mut self,
        at: Place,
        base: Option<(&[Record], &Self::Frozen)>,
        records: &[Record],
        protocol: &MultiPaxos,
    ) -> Result<(), Flaw> {
        let (image, last) = base.map_or((&[][..], 0), |(image, last)| (image, *last));
        let all: Vec<Record> = image.iter().chain(records).cloned().collect();
        // A vote that outlived the crash in a write that was never confirmed counts from now on.
        all.iter().try_for_each(|record| self.vote(at, record))?;
        let upto = self.thaw(at, last, image)?;
        let before = self.promises.restart(at.replica, &all);
        let now = self.promises.held(at.replica).clone();
        self.progress.restarted(at, &before, &now, protocol)?;
        self.collection.begin_at(at.replica, protocol.collected_upto().max(upto));
        Ok(())
    }

    fn snapshot_durable(&mut self, at: Place) {
        self.promises.snapshot_durable(at.replica);
    }

    fn freeze(&self, at: Place) -> Self::Frozen {
        self.order.last(at.replica)
    }

    fn taken_over(
        &mut self,
        at: Place,
        handover: &[Record],
        frozen: &Self::Frozen,
        protocol: &MultiPaxos,
    ) -> Result<(), Flaw> {
        if handover.iter().any(|record| !matches!(record, Record::Snapshot { .. })) {
            let text = format!("{} is handed over promises: {handover:?}", at.replica);
            return Err(Flaw::general(Invariant::Collection, text));
        }
        let upto = self.thaw(at, *frozen, handover)?;
        self.promises.taken_over(at.replica, upto);
        self.collection.begin_at(at.replica, protocol.collected_upto());
        Ok(())
    }

    fn sent(&mut self, at: Place, _to: ReplicaSet, message: &Message) -> Result<(), Flaw> {
        match message {
            Message::Forward { number, command, .. } => {
                self.names.command(at, at.replica, *number, body(command))?;
            }
            Message::Prepare { ballot, .. }
            | Message::Heartbeat { ballot, .. }
            | Message::Chosen { ballot, .. } => self.reuse.leads(at, instance(0), *ballot)?,
            Message::Accept { ballot, first, entries, .. } => {
                self.reuse.leads(at, instance(0), *ballot)?;
                for (slot, value) in values_of(*first, entries) {
                    self.values.proposed(at, *ballot, slot, value)?;
                }
            }
            Message::Promise { ballot, reports, next, .. } => {
                self.picks.promised(at.replica, *ballot, reports, *next);
            }
            _ => {}
        }
        self.promises.sent(at, message, &self.values)
    }

    fn stepped(
        &mut self,
        at: Place,
        protocol: &MultiPaxos,
        _touched: &[InstanceId],
    ) -> Result<(), Flaw> {
        for slot in self.progress.stepped(at, protocol)? {
            match protocol.chosen_entry(slot) {
                Some(entry) => self.values.decided(at, slot, Value::of(entry))?,
                None => self.values.decided_upto(at, slot)?,
            }
        }
        let (executed, upto) = (protocol.chosen_upto(), protocol.collected_upto());
        self.collection.collected(at, executed, upto, &self.promises)
    }

    fn executing(&mut self, at: Place, id: InstanceId, command: &Command) -> Result<(), Flaw> {
        self.order.executing(at, id.slot, command, &self.values)
    }

    fn answered(&mut self, id: InstanceId) {
        self.leases.answered(id.slot);
    }

    fn together<'a>(
        &mut self,
        all: impl Iterator<Item = (Place, Now, &'a MultiPaxos)>,
    ) -> Result<(), Flaw> {
        self.leases.look(all.map(|(at, now, protocol)| (at.replica, now, protocol)))
    }

    fn coverage(&self, add: &mut dyn FnMut(&'static str, u64)) {
        let (chosen, nops) = self.values.counts();
        add("slots_chosen", chosen);
        add("slots_nop", nops);
        add("slots_duplicate", self.order.duplicates());
        let (constrained, free) = self.picks.counts();
        add("picks_with_votes", constrained);
        add("picks_without_votes", free);
        add("collected_for_room", self.collection.for_room());
        let (changes, reads) = self.leases.counts();
        add("lease_changes", changes);
        add("lease_reads_tried", reads);
    }
}
