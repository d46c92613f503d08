//! The Fast Paxos invariants: those of every log, closings, and the value picks of coordinators.

use panchayat_consensus::{Ballot, Command, InstanceId, Quorums, ReplicaSet, Slot};
use panchayat_fastpaxos::{FastPaxos, FastQuorums, Message, Record};
use rustc_hash::FxHashMap;

use super::facts::{claims, fact, of_round};
use crate::flaw::Flaw;
use crate::invariants::{FastClosings, FastPicks, FastSizes, Value, body};
use crate::log::{Fact, LogChecks, LogRound, values_of};
use crate::setup::Setup;
use crate::subject::{Checks, Place};

/// Everything that is checked of Fast Paxos in one run.
#[derive(Debug)]
pub struct FastPaxosChecks {
    log: LogChecks,
    picks: FastPicks,
    closings: FastClosings,
}

fn sizes(quorums: FastQuorums) -> FastSizes {
    FastSizes { n: quorums.n(), q1: quorums.q1(), fast: quorums.fast() }
}

impl FastPaxosChecks {
    fn with(quorums: FastQuorums) -> Self {
        Self {
            log: LogChecks::new(quorums.n(), quorums.fast(), quorums.classic()),
            picks: FastPicks::new(sizes(quorums)),
            closings: FastClosings::default(),
        }
    }

    /// A record that is durable: votes in fast rounds speak for their slots.
    fn speaks(&mut self, at: Place, fact: &Fact) {
        if let Fact::Voted { round, values, .. } = fact
            && !round.classic
        {
            for (slot, value) in values {
                self.picks.voted(at.replica, round.ballot, *slot, *value);
            }
        }
    }

    /// The coordinator says from where on any value will do.
    fn opens(&mut self, at: Place, ballot: Ballot, first: Slot) -> Result<(), Flaw> {
        if first == 0 || self.picks.is_open(ballot) {
            return Ok(());
        }
        let votes = self.log.promises.held(at.replica).votes.iter();
        let own = votes.filter_map(|(slot, votes)| {
            let below = votes.iter().rev().find(|(round, _)| round.ballot < ballot)?;
            (*slot >= first).then_some((*slot, *below))
        });
        let own: FxHashMap<Slot, (LogRound, Value)> = own.collect();
        self.picks.opens(at, ballot, first, &own)
    }

    fn voting(&mut self, at: Place, round: LogRound, values: &[(Slot, Value)]) -> Result<(), Flaw> {
        for (slot, value) in values {
            self.closings.votes(at, round, *slot)?;
            if round.classic && round.ballot.owner() == Some(at.replica) {
                let own = self.log.progress.vote(at.replica, *slot);
                let closed = self.closings.is_closed(at, round.ballot, *slot);
                let chosen = self.log.chosen(*slot);
                self.picks.picks(at, round.ballot, (*slot, *value), (own, closed), chosen)?;
            }
        }
        Ok(())
    }
}

impl Checks<FastPaxos> for FastPaxosChecks {
    /// The last slot that the state contains.
    type Frozen = Slot;

    fn new(quorums: Quorums) -> Self {
        Self::with(FastQuorums::for_replicas(quorums.n()).expect("at least one replica"))
    }

    fn begin(&mut self, setup: &Setup) {
        let quorums = super::quorums(setup.replicas(), &setup.tuning);
        *self = Self::with(quorums);
        self.log.begin(setup, quorums.fast(), quorums.classic());
    }

    fn proposed(&mut self, at: Place, command: &Command) {
        self.log.proposed(at, command);
    }

    fn persisted(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        let fact = fact(record);
        if let Fact::Voted { round, values, .. } = &fact {
            self.voting(at, *round, values)?;
        }
        if let Record::Closed { ballot, upto } = record {
            self.closings.closes(at, *ballot, *upto);
        }
        self.log.persisted(at, &fact)
    }

    fn durable(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        let fact = fact(record);
        self.speaks(at, &fact);
        if let Record::Closed { ballot, upto } = record {
            self.closings.durable(at, *ballot, *upto);
        }
        self.log.durable(at, &fact)
    }

    fn restored(
        &mut self,
        at: Place,
        base: Option<(&[Record], &Self::Frozen)>,
        records: &[Record],
        protocol: &FastPaxos,
    ) -> Result<(), Flaw> {
        let (image, last) = base.map_or((&[][..], 0), |(image, last)| (image, *last));
        let closed = image.iter().chain(records).filter_map(|record| match record {
            Record::Closed { ballot, upto } => Some((*ballot, *upto)),
            _ => None,
        });
        self.closings.restarted(at, closed);
        let [image, records] = [image, records].map(|all| all.iter().map(fact).collect::<Vec<_>>());
        // What outlived the crash in a write that was never confirmed speaks from now on.
        image.iter().chain(&records).for_each(|fact| self.speaks(at, fact));
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
        protocol: &FastPaxos,
    ) -> Result<(), Flaw> {
        let handover: Vec<Fact> = handover.iter().map(fact).collect();
        self.log.taken_over(at, &handover, *frozen, protocol)
    }

    fn sent(&mut self, at: Place, _to: ReplicaSet, message: &Message) -> Result<(), Flaw> {
        match message {
            Message::Propose { number, command, .. } => {
                self.log.names.command(at, at.replica, *number, body(command))?;
            }
            Message::Prepare { ballot, .. } | Message::Close { ballot, .. } => {
                self.log.leads(at, *ballot)?;
            }
            Message::Heartbeat { ballot, fast_from, .. } => {
                self.log.leads(at, *ballot)?;
                self.opens(at, *ballot, *fast_from)?;
            }
            Message::Accept { ballot, first, entries } => {
                self.log.leads(at, *ballot)?;
                for (slot, value) in values_of(*first, entries) {
                    self.log.names.value(at, value)?;
                    self.log.values.proposed(at, LogRound::classic(*ballot), slot, value)?;
                }
            }
            Message::Reported { ballot, upto, from, reports, next } => {
                let end = if *upto == 0 { Slot::MAX } else { *upto };
                let last = next.checked_sub(1).unwrap_or(end);
                if *upto > 0 {
                    self.closings.says(at, *ballot, *upto)?;
                }
                let reports = reports.iter().map(|report| {
                    (report.slot, report.round.map(of_round), Value::of(&report.entry))
                });
                self.picks.reported(at.replica, *ballot, *upto > 0, (*from, last), reports);
            }
            _ => {}
        }
        self.log.sent(at, &claims(message), message)
    }

    fn stepped(
        &mut self,
        at: Place,
        protocol: &FastPaxos,
        _touched: &[InstanceId],
    ) -> Result<(), Flaw> {
        self.log.stepped(at, protocol)
    }

    fn executing(&mut self, at: Place, id: InstanceId, command: &Command) -> Result<(), Flaw> {
        self.log.executing(at, id.slot, command)
    }

    fn coverage(&self, add: &mut dyn FnMut(&'static str, u64)) {
        self.log.coverage(add);
        let counts = self.picks.counts();
        add("picks_without_votes", counts.free);
        add("picks_by_classic_vote", counts.classic);
        add("picks_by_fast_votes", counts.fast);
        add("picks_by_fast_votes_taken_over", counts.fast_taken_over);
        add("picks_open_after_fast_votes", counts.open);
        add("closings", self.closings.count());
    }
}
