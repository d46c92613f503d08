//! What a protocol asks of its driver, with persist-before-send in the type.
//!
//! A protocol never talks to the network or the disk. It appends to an [`Effects`], and everything
//! that leaves the replica (messages, executions, answers) names the journal record it waits for
//! by an [`After`]. An `After` is only handed out by [`Effects::persist`], and what waits is locked
//! in a [`Gated`] that opens only for a [`Durable`] that reaches it. So a driver cannot send a vote
//! before the vote is on disk, even by mistake.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::command::Command;
use crate::ids::{InstanceId, ReplicaSet};
use crate::read::ReadRefusal;
use crate::time::Time;

/// The number of a journal record of one group since its replica started, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RecordSeq(pub u64);

/// The journal's word that every record up to and including this one survives a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Durable(pub RecordSeq);

/// The record an effect waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct After(RecordSeq);

impl After {
    /// Nothing to wait for: the effect promises nothing that a crash could take back.
    pub const NOTHING: Self = Self(RecordSeq(0));

    /// Whether `durable` covers what this waits for.
    pub fn is_met_by(self, durable: Durable) -> bool {
        self.0 <= durable.0
    }
}

/// A value locked until a record is durable.
#[derive(Clone, Debug)]
pub struct Gated<T> {
    after: After,
    value: T,
}

impl<T> Gated<T> {
    /// The value, if `durable` covers what it waits for; otherwise itself, still locked.
    ///
    /// # Errors
    /// `self`, when the record it waits for is not durable yet.
    pub fn open(self, durable: Durable) -> Result<T, Self> {
        if self.after.is_met_by(durable) { Ok(self.value) } else { Err(self) }
    }

    /// Whether [`open`](Self::open) would succeed.
    pub fn opens_at(&self, durable: Durable) -> bool {
        self.after.is_met_by(durable)
    }
}

/// Names a proposal or a read between a protocol and its driver, at the replica where it was made.
/// Unique for one run of a replica; means nothing elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// How an instance was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// In one round trip.
    Fast,
    /// In two round trips by its own coordinator.
    Slow,
    /// By recovery.
    Recovered,
}

/// Why a proposal was definitely not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotApplied {
    /// A limit was reached: too much in flight, or too long a chain of unexecuted conflicts.
    Overloaded,
    /// The epoch was sealed first.
    Sealed,
    /// It was given to nobody: no leader was known for too long.
    Unreachable,
}

/// What leaves the protocol once its record is durable.
#[derive(Clone, Debug)]
pub enum Output<M> {
    /// Deliver `message` to every replica in `to`. Never contains the sender.
    Send {
        /// The receivers.
        to: ReplicaSet,
        /// The message.
        message: M,
    },
    /// The proposal's instance is decided and durable, though not executed. For measurement.
    Committed {
        /// The proposal.
        token: Token,
        /// How.
        path: Path,
    },
    /// The proposal will never be applied.
    Rejected {
        /// The proposal.
        token: Token,
        /// Why.
        reason: NotApplied,
    },
    /// Whether the proposal is or will be applied cannot be known here for now, and has not been
    /// for too long. Nothing more is said of it.
    Unknown {
        /// The proposal.
        token: Token,
    },
    /// Everything answered before this read began is in the state, once everything handed out for
    /// execution so far is applied.
    ReadReady {
        /// The read.
        token: Token,
        /// Whether that holds for the whole state, or only for what the read looks at.
        whole: bool,
    },
    /// The read will not be answered.
    ReadRefused {
        /// The read.
        token: Token,
        /// Why.
        reason: ReadRefusal,
    },
}

/// A command to apply to the state machine.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The instance.
    pub id: InstanceId,
    /// Its decided command.
    pub command: Arc<Command>,
    /// The proposal that waits for the result, if it was made here in this run.
    pub token: Option<Token>,
}

/// What becomes of the effects of a protocol that runs inside another one ([`Effects::graft`]).
pub trait Graft<N, Q, M, R> {
    /// The record that stands for `record`.
    fn record(&mut self, record: Q) -> R;
    /// What is handed out instead of `execution`, if anything.
    fn execution(&mut self, execution: Execution) -> Option<Execution>;
    /// What leaves instead of `output`, if anything.
    fn output(&mut self, output: Output<N>) -> Option<Output<M>>;
}

/// How the numbers of an inner protocol's records lie among those of the outer one: in stretches, since
/// others may write in between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shift {
    /// The first number of each stretch inside, and what to add to it and those after it. Stretches that are
    /// durable are forgotten.
    stretches: VecDeque<(u64, u64)>,
    floor: After,
    told: Durable,
}

impl Shift {
    /// That of a protocol which begins now: nothing of it leaves before `floor` is durable.
    pub fn beginning_after(floor: After) -> Self {
        Self { floor, ..Self::default() }
    }

    /// What the inner protocol, whose last record is `last`, may be told to be durable.
    pub fn inner(&mut self, durable: Durable, last: RecordSeq) -> Durable {
        while let Some((first, offset)) = self.stretches.front().copied() {
            let end = self.stretches.get(1).map_or(last.0, |(next, _)| next - 1);
            let upto = durable.0.0.saturating_sub(offset).min(end);
            if upto >= first {
                self.told = self.told.max(Durable(RecordSeq(upto)));
            }
            if upto < end || self.stretches.len() == 1 {
                break;
            }
            self.stretches.pop_front();
        }
        self.told
    }

    /// Records from `first` on lie so much further outside.
    fn note(&mut self, first: u64, offset: u64) {
        if self.stretches.back().is_none_or(|(_, known)| *known != offset) {
            self.stretches.push_back((first, offset));
        }
    }

    fn outer(&self, after: After) -> After {
        let seq = after.0.0;
        let stretch = self.stretches.iter().rev().find(|(first, _)| *first <= seq);
        // What lies before all of them is durable, or nothing.
        stretch.map_or(self.floor, |(_, offset)| self.floor.max(After(RecordSeq(seq + offset))))
    }
}

/// The collector of one or more steps' effects.
#[derive(Clone, Debug)]
pub struct Effects<M, R> {
    last: RecordSeq,
    records: Vec<R>,
    outputs: Vec<Gated<Output<M>>>,
    executions: Vec<Gated<Execution>>,
    wake: Option<Time>,
    executions_after: After,
}

impl<M, R> Default for Effects<M, R> {
    fn default() -> Self {
        Self {
            last: RecordSeq(0),
            records: Vec::new(),
            outputs: Vec::new(),
            executions: Vec::new(),
            wake: None,
            executions_after: After::NOTHING,
        }
    }
}

impl<M, R> Effects<M, R> {
    /// Appends a record to the journal. What depends on it waits for the result.
    pub fn persist(&mut self, record: R) -> After {
        self.last.0 += 1;
        self.records.push(record);
        After(self.last)
    }

    /// Sends `message` to `to` once `after` is durable. Nothing happens if `to` is empty.
    pub fn send(&mut self, to: ReplicaSet, message: M, after: After) {
        if !to.is_empty() {
            self.outputs.push(Gated { after, value: Output::Send { to, message } });
        }
    }

    /// Executes `command` once `after`, and everything executed before, is durable.
    pub fn execute(
        &mut self,
        id: InstanceId,
        command: Arc<Command>,
        token: Option<Token>,
        after: After,
    ) {
        self.executions_after = self.executions_after.max(after);
        let value = Execution { id, command, token };
        self.executions.push(Gated { after: self.executions_after, value });
    }

    /// Tells the proposer that its instance is decided.
    pub fn committed(&mut self, token: Token, path: Path, after: After) {
        self.outputs.push(Gated { after, value: Output::Committed { token, path } });
    }

    /// Tells the proposer that its command was not and will not be applied.
    pub fn reject(&mut self, token: Token, reason: NotApplied) {
        let value = Output::Rejected { token, reason };
        self.outputs.push(Gated { after: After::NOTHING, value });
    }

    /// Tells the proposer that the outcome cannot be known.
    pub fn unknown(&mut self, token: Token) {
        self.outputs.push(Gated { after: After::NOTHING, value: Output::Unknown { token } });
    }

    /// Lets a read be answered once everything executed so far is applied.
    pub fn read_ready(&mut self, token: Token) {
        let value = Output::ReadReady { token, whole: true };
        self.outputs.push(Gated { after: After::NOTHING, value });
    }

    /// The same for a protocol that vouches only for what the read looks at.
    pub fn query_ready(&mut self, token: Token) {
        let value = Output::ReadReady { token, whole: false };
        self.outputs.push(Gated { after: After::NOTHING, value });
    }

    /// Refuses a read.
    pub fn refuse_read(&mut self, token: Token, reason: ReadRefusal) {
        let value = Output::ReadRefused { token, reason };
        self.outputs.push(Gated { after: After::NOTHING, value });
    }

    /// Takes over everything that waits in the effects of a protocol that runs inside this one, in
    /// order and still locked by the same records. What is told here, that protocol may also be told as
    /// [`Shift::inner`] of it.
    ///
    /// `graft` says what becomes of each thing. What it returns nothing for is dropped.
    pub fn graft<N, Q>(
        &mut self,
        inner: &mut Effects<N, Q>,
        shift: &mut Shift,
        graft: &mut impl Graft<N, Q, M, R>,
    ) {
        if !inner.records.is_empty() {
            let before = inner.last.0 - inner.records.len() as u64;
            shift.note(before + 1, self.last.0 - before);
        }
        for record in inner.records.drain(..) {
            self.last.0 += 1;
            self.records.push(graft.record(record));
        }
        // First: what executes may change what the outputs mean.
        for Gated { after, value } in inner.executions.drain(..) {
            if let Some(value) = graft.execution(value) {
                self.executions_after = self.executions_after.max(shift.outer(after));
                self.executions.push(Gated { after: self.executions_after, value });
            }
        }
        for Gated { after, value } in inner.outputs.drain(..) {
            if let Some(value) = graft.output(value) {
                self.outputs.push(Gated { after: shift.outer(after), value });
            }
        }
        if let Some(wake) = inner.wake.take() {
            self.wake_at(wake);
        }
    }

    /// Asks for a wake-up at `time`, or earlier if one was asked for.
    pub fn wake_at(&mut self, time: Time) {
        self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
    }

    /// Waits for every record written so far.
    pub fn after_last(&self) -> After {
        After(self.last)
    }

    /// The record written last; zero before the first.
    pub fn last_record(&self) -> RecordSeq {
        self.last
    }

    /// Takes the records in order. The driver hands them to the journal before anything else.
    pub fn take_records(&mut self) -> std::vec::Drain<'_, R> {
        self.records.drain(..)
    }

    /// Takes the outputs in order, still locked.
    pub fn take_outputs(&mut self) -> std::vec::Drain<'_, Gated<Output<M>>> {
        self.outputs.drain(..)
    }

    /// Takes the executions in execution order, still locked. They are a queue of their own: the
    /// driver must never let one overtake another, whatever else is held.
    pub fn take_executions(&mut self) -> std::vec::Drain<'_, Gated<Execution>> {
        self.executions.drain(..)
    }

    /// Takes the earliest wake-up asked for since the last call.
    pub fn take_wake(&mut self) -> Option<Time> {
        self.wake.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ReplicaId;

    #[test]
    fn nothing_opens_before_its_record_is_durable() {
        let mut effects: Effects<&str, &str> = Effects::default();
        let first = effects.persist("one");
        let second = effects.persist("two");
        effects.send(ReplicaSet::only(ReplicaId(1)), "vote", second);
        effects.send(ReplicaSet::only(ReplicaId(1)), "ping", After::NOTHING);
        assert!(first < second);
        let outputs: Vec<_> = effects.take_outputs().collect();
        let [vote, ping] = outputs.try_into().unwrap();
        assert!(ping.open(Durable::default()).is_ok());
        let vote = vote.open(Durable(RecordSeq(1))).unwrap_err();
        assert!(vote.open(Durable(RecordSeq(2))).is_ok());
    }

    struct Inside;

    impl Graft<u8, u8, u8, u8> for Inside {
        fn record(&mut self, record: u8) -> u8 {
            record
        }
        fn execution(&mut self, execution: Execution) -> Option<Execution> {
            Some(execution)
        }
        fn output(&mut self, output: Output<u8>) -> Option<Output<u8>> {
            Some(output)
        }
    }

    /// Two protocols write into one journal, in turns: each waits for its own records, and is told of
    /// its own.
    #[test]
    fn grafted_effects_wait_for_their_own_records_among_others() {
        let mut outer: Effects<u8, u8> = Effects::default();
        let floor = outer.persist(0);
        let (mut one, mut two) = (Effects::<u8, u8>::default(), Effects::<u8, u8>::default());
        let (mut shift_one, mut shift_two) =
            (Shift::beginning_after(floor), Shift::beginning_after(floor));
        let to = ReplicaSet::only(ReplicaId(1));
        for round in 0..4u64 {
            for (inner, shift) in [(&mut one, &mut shift_one), (&mut two, &mut shift_two)] {
                let first = inner.persist(1);
                let second = inner.persist(2);
                inner.send(to, 1, first);
                inner.send(to, 2, second);
                inner.send(to, 0, After::NOTHING);
                outer.graft(inner, shift, &mut Inside);
            }
            let outputs: Vec<_> = outer.take_outputs().collect();
            let at = |seq: u64| Durable(RecordSeq(seq));
            let base = 1 + 4 * round;
            let waits = [base + 1, base + 2, 1, base + 3, base + 4, 1];
            for (output, seq) in outputs.iter().zip(waits) {
                assert!(output.opens_at(at(seq)) && !output.opens_at(at(seq - 1)), "{seq}");
            }
        }
        // Durable up to each record in turn: each is told exactly what is its own.
        for durable in 1..=17u64 {
            let own = |offset: u64| (2..=durable).filter(|seq| (seq - 2) / 2 % 2 == offset).count();
            let told = shift_one.inner(Durable(RecordSeq(durable)), one.last_record());
            assert_eq!(told.0.0, own(0) as u64, "one at {durable}");
            let told = shift_two.inner(Durable(RecordSeq(durable)), two.last_record());
            assert_eq!(told.0.0, own(1) as u64, "two at {durable}");
        }
        // Others write on: nothing that is not written yet is told to be durable.
        let told = shift_one.inner(Durable(RecordSeq(99)), one.last_record());
        assert_eq!(told.0, one.last_record());
    }

    #[test]
    fn a_later_execution_waits_for_what_an_earlier_one_waits_for() {
        let mut effects: Effects<(), ()> = Effects::default();
        let command = Arc::new(Command {
            footprint: crate::Footprint::barrier(),
            proposed_at: crate::WallTime(0),
            request: None,
            payload: bytes::Bytes::new(),
        });
        let id = InstanceId::new(ReplicaId(0), 1);
        let after = effects.persist(());
        effects.execute(id, command.clone(), None, after);
        effects.execute(id, command, None, After::NOTHING);
        assert!(effects.take_executions().all(|output| !output.opens_at(Durable::default())));
    }
}
