//! What is checked of every protocol with a log, fed with facts, claims, steps and executions.

use panchayat_consensus::{Ballot, Command, Slot};

use super::{Claim, Fact, LogReplica, instance};
use crate::flaw::{Flaw, Invariant};
use crate::invariants::{
    BallotReuse, LogCollection, LogNames, LogOrder, LogProgress, LogPromises, LogValues, Value,
};
use crate::setup::Setup;
use crate::subject::Place;

/// The checks of a log in one run.
#[derive(Debug)]
pub struct LogChecks {
    /// What was proposed under which names.
    pub names: LogNames,
    /// What was voted for and chosen.
    pub values: LogValues,
    /// What everybody durably holds.
    pub promises: LogPromises,
    /// How far everybody is.
    pub progress: LogProgress,
    reuse: BallotReuse,
    order: LogOrder,
    collection: LogCollection,
}

impl LogChecks {
    /// Nothing happened among `n`; in a fast round `fast` votes choose, in a classic one `classic`.
    pub fn new(n: usize, fast: usize, classic: usize) -> Self {
        Self {
            names: LogNames::default(),
            values: LogValues::new(fast, classic),
            promises: LogPromises::default(),
            progress: LogProgress::default(),
            reuse: BallotReuse::default(),
            order: LogOrder::default(),
            collection: LogCollection::new(n, u64::MAX / 2),
        }
    }

    /// What the swarm chose.
    pub fn begin(&mut self, setup: &Setup, fast: usize, classic: usize) {
        self.values = LogValues::new(fast, classic);
        let retained_max = setup.tuning.retained_max as u64;
        self.collection = LogCollection::new(setup.replicas(), retained_max);
    }

    /// A client of `at` proposed `command`.
    pub fn proposed(&mut self, at: Place, command: &Command) {
        self.names.proposed(at, command);
    }

    /// A record was given to the journal.
    ///
    /// # Errors
    /// What is wrong.
    pub fn persisted(&mut self, at: Place, fact: &Fact) -> Result<(), Flaw> {
        match fact {
            Fact::Voted { round, values, .. } => {
                for (slot, value) in values {
                    self.names.written(at, *value)?;
                    self.values.proposed(at, *round, *slot, *value)?;
                }
            }
            Fact::Learned { values } => {
                for (slot, value) in values {
                    self.values.decided(at, *slot, *value)?;
                }
            }
            Fact::Chosen { upto } => self.values.decided_upto(at, *upto)?,
            _ => {}
        }
        self.progress.persisted(at, fact)
    }

    /// A record is durable.
    ///
    /// # Errors
    /// What is wrong.
    pub fn durable(&mut self, at: Place, fact: &Fact) -> Result<(), Flaw> {
        self.promises.durable(at.replica, fact);
        self.vote(at, fact)
    }

    /// What a record that is durable means to checks that count votes.
    fn vote(&mut self, at: Place, fact: &Fact) -> Result<(), Flaw> {
        if let Fact::Voted { round, values, .. } = fact {
            for (slot, value) in values {
                self.names.value(at, *value)?;
                self.values.voted(at, *round, *slot, *value)?;
            }
        }
        Ok(())
    }

    /// `at` goes on from a state that contains `last`, as an image says it.
    fn thaw(&mut self, at: Place, last: Slot, image: &[Fact]) -> Result<Slot, Flaw> {
        let upto = image.iter().find_map(|fact| match fact {
            Fact::Snapshot { upto } => Some(*upto),
            _ => None,
        });
        let upto = upto.unwrap_or(0);
        self.order.thaw(at, last, upto, &self.values)?;
        Ok(upto)
    }

    /// A replica started from an `image`, whose state contains `last`, and the `records` after it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn restored(
        &mut self,
        at: Place,
        last: Slot,
        image: &[Fact],
        records: &[Fact],
        replica: &impl LogReplica,
    ) -> Result<(), Flaw> {
        let all: Vec<Fact> = image.iter().chain(records).cloned().collect();
        // A vote that outlived the crash in a write that was never confirmed counts from now on.
        all.iter().try_for_each(|fact| self.vote(at, fact))?;
        let upto = self.thaw(at, last, image)?;
        let before = self.promises.restart(at.replica, &all);
        let now = self.promises.held(at.replica).clone();
        self.progress.restarted(at, &before, &now, replica)?;
        self.collection.begin_at(at.replica, replica.collected_upto().max(upto));
        Ok(())
    }

    /// The last slot that the state of `at` contains.
    pub fn freeze(&self, at: Place) -> Slot {
        self.order.last(at.replica)
    }

    /// A replica took over a state that contains `last`.
    ///
    /// # Errors
    /// What is wrong.
    pub fn taken_over(
        &mut self,
        at: Place,
        handover: &[Fact],
        last: Slot,
        replica: &impl LogReplica,
    ) -> Result<(), Flaw> {
        if handover.iter().any(|fact| !matches!(fact, Fact::Snapshot { .. })) {
            let text = format!("{} is handed over promises: {handover:?}", at.replica);
            return Err(Flaw::general(Invariant::Collection, text));
        }
        let upto = self.thaw(at, last, handover)?;
        self.promises.taken_over(at.replica, upto);
        self.collection.begin_at(at.replica, replica.collected_upto());
        Ok(())
    }

    /// `at` leads at `ballot`.
    ///
    /// # Errors
    /// It may not.
    pub fn leads(&mut self, at: Place, ballot: Ballot) -> Result<(), Flaw> {
        self.reuse.leads(at, instance(0), ballot)
    }

    /// A message that says all this left `at`.
    ///
    /// # Errors
    /// Something of it is not so. `message` tells which it was.
    pub fn sent(
        &mut self,
        at: Place,
        claims: &[Claim],
        message: &dyn std::fmt::Debug,
    ) -> Result<(), Flaw> {
        claims.iter().try_for_each(|claim| self.promises.claimed(at, claim, message, &self.values))
    }

    /// A turn ended.
    ///
    /// # Errors
    /// What is wrong.
    pub fn stepped(&mut self, at: Place, replica: &impl LogReplica) -> Result<(), Flaw> {
        for slot in self.progress.stepped(at, replica)? {
            match replica.chosen_value(slot) {
                Some(value) => self.values.decided(at, slot, value)?,
                None => self.values.decided_upto(at, slot)?,
            }
        }
        let (executed, upto) = (replica.chosen_upto(), replica.collected_upto());
        self.collection.collected(at, executed, upto, &self.promises)
    }

    /// A command is applied.
    ///
    /// # Errors
    /// What is wrong.
    pub fn executing(&mut self, at: Place, slot: Slot, command: &Command) -> Result<(), Flaw> {
        self.order.executing(at, slot, command, &self.values)
    }

    /// What was chosen in `slot`.
    pub fn chosen(&self, slot: Slot) -> Option<Value> {
        self.values.chosen(slot)
    }

    /// Counts worth reporting.
    pub fn coverage(&self, add: &mut dyn FnMut(&'static str, u64)) {
        let (chosen, nops) = self.values.counts();
        add("slots_chosen", chosen);
        add("slots_nop", nops);
        add("slots_duplicate", self.order.duplicates());
        add("collected_for_room", self.collection.for_room());
    }
}
