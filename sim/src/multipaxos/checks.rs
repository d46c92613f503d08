//! The Multi-Paxos invariants: those of every log, the value picks of new leaders, and leases.

use panchayat_consensus::{Command, InstanceId, Now, Quorums, ReplicaSet, Slot};
use panchayat_multipaxos::{Message, MultiPaxos, Record};

use super::facts::{claims, fact};
use crate::flaw::Flaw;
use crate::invariants::{LeaseHolders, LogPicks, body};
use crate::log::{Fact, LogChecks, LogRound, values_of};
use crate::setup::Setup;
use crate::subject::{Checks, Place};

/// Everything that is checked of Multi-Paxos in one run.
#[derive(Debug)]
pub struct MultiPaxosChecks {
    log: LogChecks,
    picks: LogPicks,
    leases: LeaseHolders,
}

impl Checks<MultiPaxos> for MultiPaxosChecks {
    /// The last slot that the state contains.
    type Frozen = Slot;

    fn new(quorums: Quorums) -> Self {
        let majority = quorums.n() / 2 + 1;
        Self {
            log: LogChecks::new(quorums.n(), majority, majority),
            picks: LogPicks::new(majority),
            leases: LeaseHolders::default(),
        }
    }

    fn begin(&mut self, setup: &Setup) {
        let majority = setup.replicas() / 2 + 1;
        let (q1, q2) = setup.tuning.log.quorums.unwrap_or((majority, majority));
        self.log.begin(setup, q2, q2);
        self.picks = LogPicks::new(q1);
    }

    fn proposed(&mut self, at: Place, command: &Command) {
        self.log.proposed(at, command);
    }

    fn persisted(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        let fact = fact(record);
        if let Fact::Voted { round, values, .. } = &fact
            && round.ballot.owner() == Some(at.replica)
        {
            for (slot, value) in values {
                let own = self.log.progress.vote(at.replica, *slot);
                let own = own.map(|(round, value)| (round.ballot, value));
                let chosen = self.log.chosen(*slot);
                self.picks.picks(at, round.ballot, (*slot, *value), own, chosen)?;
            }
        }
        self.log.persisted(at, &fact)
    }

    fn durable(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        self.log.durable(at, &fact(record))
    }

    fn restored(
        &mut self,
        at: Place,
        base: Option<(&[Record], &Self::Frozen)>,
        records: &[Record],
        protocol: &MultiPaxos,
    ) -> Result<(), Flaw> {
        let (image, last) = base.map_or((&[][..], 0), |(image, last)| (image, *last));
        let [image, records] = [image, records].map(|all| all.iter().map(fact).collect::<Vec<_>>());
        self.log.restored(at, last, &image, &records, protocol)
    }

    fn snapshot_durable(&mut self, at: Place) {
        self.log.promises.snapshot_durable(at.replica);
    }

    fn freeze(&self, at: Place, _: &[Record]) -> Self::Frozen {
        self.log.freeze(at)
    }

    fn taken_over(
        &mut self,
        at: Place,
        handover: &[Record],
        frozen: &Self::Frozen,
        protocol: &MultiPaxos,
    ) -> Result<(), Flaw> {
        let handover: Vec<Fact> = handover.iter().map(fact).collect();
        self.log.taken_over(at, &handover, *frozen, protocol)
    }

    fn sent(&mut self, at: Place, _to: ReplicaSet, message: &Message) -> Result<(), Flaw> {
        match message {
            Message::Forward { number, command, .. } => {
                self.log.names.command(at, at.replica, *number, body(command))?;
            }
            Message::Prepare { ballot, .. }
            | Message::Heartbeat { ballot, .. }
            | Message::Chosen { ballot, .. } => self.log.leads(at, *ballot)?,
            Message::Accept { ballot, first, entries, .. } => {
                self.log.leads(at, *ballot)?;
                for (slot, value) in values_of(*first, entries) {
                    self.log.names.value(at, value)?;
                    self.log.values.proposed(at, LogRound::classic(*ballot), slot, value)?;
                }
            }
            Message::Promise { ballot, reports, next, .. } => {
                self.picks.promised(at.replica, *ballot, reports, *next);
            }
            _ => {}
        }
        self.log.sent(at, &claims(message), message)
    }

    fn stepped(
        &mut self,
        at: Place,
        protocol: &MultiPaxos,
        _touched: &[InstanceId],
    ) -> Result<(), Flaw> {
        self.log.stepped(at, protocol)
    }

    fn executing(&mut self, at: Place, id: InstanceId, command: &Command) -> Result<(), Flaw> {
        self.log.executing(at, id.slot, command)
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
        self.log.coverage(add);
        let (constrained, free) = self.picks.counts();
        add("picks_with_votes", constrained);
        add("picks_without_votes", free);
        let (changes, reads) = self.leases.counts();
        add("lease_changes", changes);
        add("lease_reads_tried", reads);
    }
}
