//! The turn of a group: inputs into the protocol, records to the journal, then whatever has become
//! durable out into the world.
//!
//! The driver owns threads and IO and calls [`Group::step`] for every input it has, then
//! [`Group::turn`] once. The order inside a turn is the order that durability needs: all records
//! first, then the outputs whose records are durable; the others wait here, locked, until a later
//! turn after [`Group::durable`].
//!
//! # Snapshots
//!
//! A protocol's image counts a command as executed once it was handed out for execution; but it
//! may still wait here for the disk. So a snapshot is taken in two steps, and neither stops the
//! world nor waits for a quiet moment:
//!
//! 1. After [`Group::begin_snapshot`] the next turn takes the protocol's image, right behind the
//!    records it stands for, and writes a *mark* into the journal.
//! 2. State and sessions are frozen when exactly those executions have been applied which had been
//!    handed out by then: before the next one, in this turn or in a later one.
//!
//! The parts go to [`Sink::snapshot`]. They may speak of records that are not durable yet, so the
//! file becomes valid only after the mark is ([`SnapshotParts::after`]). Only then may the journal
//! be cut, up to the mark but not including it: [`Group::restore`] with snapshot `n` skips what is
//! before mark `n`, and refuses a journal that has no such mark.
//!
//! # A state from a peer
//!
//! [`Group::install`] replaces state, sessions and what the protocol knows of decisions by a
//! peer's. A crash then must not bring the old state back under new promises, so nothing leaves
//! until a snapshot taken after it is durable: the group begins that snapshot itself, holds its
//! outputs, loses what it receives as a network might, and refuses proposals, until
//! [`Group::snapshot_durable`]. Proposals under way get [`Doubt::StateReplaced`].

mod answer;
mod execute;
mod read;
mod sink;
mod snapshot;

use std::collections::{BTreeSet, VecDeque};

use panchayat_consensus::{
    Account, Command, Durable, EffectsOf, Execution, Gated, Input, NotApplied, Now, Output,
    Protocol, RecordSeq, ReplicaId, Subject, Time, Token, WallTime,
};

pub use answer::{Answer, Doubt};
pub use read::{ReadRequest, Reading};
pub use sink::{Effect, Sink};
pub use snapshot::{Base, MarkError, SnapshotParts};

use self::read::{Reads, Vouched};
use crate::journal::Entry;
#[cfg(feature = "mutations")]
use crate::mutation::Mutation;
use crate::sessions::{Admission, Sessions};
use crate::state_machine::StateMachine;

/// One replica of one group, in one epoch: protocol, state machine, sessions, and what waits for
/// the disk.
#[derive(Debug)]
pub struct Group<P: Protocol, S: StateMachine> {
    protocol: P,
    machine: S,
    sessions: Sessions,
    effects: EffectsOf<P>,
    held: VecDeque<Gated<Output<P::Message>>>,
    executions: VecDeque<Gated<Execution>>,
    /// Answers that wait for nothing but the next turn.
    ready: VecDeque<(Token, Word<S::Output>)>,
    /// Proposals without an answer.
    pending: BTreeSet<Token>,
    journal: Numbering,
    wake: Option<Time>,
    /// The highest number of a snapshot that was begun, in this run or before.
    last_snapshot: u64,
    wanted: Option<u64>,
    taking: Option<Taking<P::Record>>,
    /// The snapshot without which nothing may leave.
    installing: Option<u64>,
    /// What the protocol is yet to hear, since it was asked nothing while installing.
    deferred: Vec<Input<P::Message>>,
    /// Reads without an answer.
    reads: Reads<S::Query>,
    /// No command after this many was proposed at this time or before.
    horizon: Option<(u64, WallTime)>,
    /// No command that is not applied yet was proposed at this time or before...
    settled: WallTime,
    /// ...and up to here requests were forgotten accordingly.
    pruned: WallTime,
    #[cfg(feature = "mutations")]
    mutation: Option<Mutation>,
}

/// A snapshot between its mark and its state.
#[derive(Debug)]
struct Taking<R> {
    number: u64,
    after: RecordSeq,
    image: Vec<R>,
    /// How many commands the state must contain.
    executed: u64,
}

/// The two ways a proposal ends.
#[derive(Debug)]
enum Word<O> {
    Answer(Answer<O>),
    Rejected(NotApplied),
}

/// Entries of the journal are the protocol's records and the marks of snapshots. A protocol counts
/// its records only.
#[derive(Debug, Default)]
struct Numbering {
    written: RecordSeq,
    announced: RecordSeq,
    durable: RecordSeq,
    /// Marks that are not durable yet, and how many are.
    marks: VecDeque<RecordSeq>,
    marks_durable: u64,
}

impl Numbering {
    fn next(&mut self) -> RecordSeq {
        self.written.0 += 1;
        self.written
    }

    fn next_mark(&mut self) -> RecordSeq {
        let mark = self.next();
        self.marks.push_back(mark);
        mark
    }

    fn durable(&mut self, upto: RecordSeq) {
        self.durable = self.durable.max(upto);
        while self.marks.front().is_some_and(|mark| *mark <= upto) {
            self.marks.pop_front();
            self.marks_durable += 1;
        }
    }

    /// What is durable in the protocol's own numbering.
    fn records_durable(&self) -> Durable {
        Durable(RecordSeq(self.durable.0 - self.marks_durable))
    }
}

impl<P: Protocol, S: StateMachine> Group<P, S> {
    /// The group as its journal left it. `entries` are those of this group and epoch, in order;
    /// `base` is what its latest valid snapshot holds, or the group's birth.
    ///
    /// # Errors
    /// If the journal is not the one that the snapshot was taken along with.
    pub fn restore(
        config: P::Config,
        base: Base<S, P::Record>,
        entries: impl IntoIterator<Item = Entry<P::Record>>,
        now: Now,
    ) -> Result<Self, MarkError> {
        let (records, last_snapshot) = snapshot::records_after(base.number, entries)?;
        let mut effects = EffectsOf::<P>::default();
        let records = base.image.into_iter().chain(records);
        let protocol = P::restore(config, records, now, &mut effects);
        Ok(Self {
            protocol,
            machine: base.machine,
            sessions: base.sessions,
            effects,
            held: VecDeque::new(),
            executions: VecDeque::new(),
            ready: VecDeque::new(),
            pending: BTreeSet::new(),
            journal: Numbering::default(),
            wake: None,
            last_snapshot,
            wanted: None,
            taking: None,
            installing: None,
            deferred: Vec::new(),
            reads: Reads::default(),
            horizon: None,
            settled: WallTime(0),
            pruned: WallTime(0),
            #[cfg(feature = "mutations")]
            mutation: None,
        })
    }

    /// Gives the protocol one input. Its effects wait for [`turn`](Self::turn). A proposal that is
    /// a client's request passes the door of [`Sessions::admit`] first.
    pub fn step(&mut self, now: Now, input: Input<P::Message>) {
        match input {
            Input::Propose { token, command } => self.propose(now, token, command),
            Input::Receive { .. } if self.installing.is_some() => {}
            input if self.installing.is_some() => self.deferred.push(input),
            input => {
                self.catch_up(now);
                self.protocol.step(now, input, &mut self.effects);
            }
        }
    }

    /// Tells the protocol what it missed while a state was being installed. Until that is durable
    /// it does nothing, so that it writes no record that would be read on top of the old state.
    fn catch_up(&mut self, now: Now) {
        for input in std::mem::take(&mut self.deferred) {
            self.protocol.step(now, input, &mut self.effects);
        }
    }

    fn propose(&mut self, now: Now, token: Token, command: Command) {
        self.pending.insert(token);
        let word = match &command.request {
            _ if self.installing.is_some() => Word::Rejected(NotApplied::Overloaded),
            // It would be taken for a read, or end the epoch.
            _ if command.is_read() || command.is_seal() => Word::Answer(Answer::Undecodable),
            None => return self.pass(now, token, command),
            Some(request) => match self.sessions.admit(request, now.wall) {
                Admission::Open => return self.pass(now, token, command),
                Admission::Known(output) => Word::Answer(Answer::recorded(output)),
                Admission::Full => Word::Rejected(NotApplied::Overloaded),
                Admission::TooOld => Word::Answer(Answer::Unknown(Doubt::TooOld)),
                Admission::Ahead => Word::Answer(Answer::Unknown(Doubt::IssuedAhead)),
            },
        };
        self.ready.push_back((token, word));
    }

    /// Proposes to end the epoch. The answer is [`Answer::Sealed`] once it has ended with this seal, and
    /// [`NotApplied::Sealed`] if another was first, or if the next epoch may not follow.
    pub fn seal(&mut self, now: Now, token: Token, seal: Command) {
        assert!(seal.is_seal(), "only a seal ends an epoch");
        self.pending.insert(token);
        if self.installing.is_some() {
            self.ready.push_back((token, Word::Rejected(NotApplied::Overloaded)));
        } else {
            self.pass(now, token, seal);
        }
    }

    fn pass(&mut self, now: Now, token: Token, command: Command) {
        self.catch_up(now);
        self.protocol.step(now, Input::Propose { token, command }, &mut self.effects);
    }

    /// Tells the group that its entries up to `upto` survive a power loss.
    pub fn durable(&mut self, now: Now, upto: RecordSeq) {
        assert!(upto <= self.journal.announced, "the journal confirmed what was never written");
        let before = self.journal.records_durable();
        self.journal.durable(upto);
        let durable = self.journal.records_durable();
        if durable > before {
            self.step(now, Input::Durable(durable));
        }
    }

    /// Begins a snapshot; its parts come in this turn or a later one. Gives its number, or nothing
    /// if one has been begun whose parts have not come yet.
    pub fn begin_snapshot(&mut self) -> Option<u64> {
        if self.wanted.is_some() || self.taking.is_some() {
            return None;
        }
        self.last_snapshot += 1;
        self.wanted = Some(self.last_snapshot);
        self.wanted
    }

    /// Keeps for a while what a member will need that takes over a snapshot begun after this. To be
    /// repeated while the transfer goes on.
    pub fn hold(&mut self, now: Now) {
        self.protocol.hold(now);
    }

    /// Tells the group that a snapshot is complete on the disk, under its final name and synced.
    pub fn snapshot_durable(&mut self, number: u64) {
        assert!(number <= self.last_snapshot, "snapshot {number} was never begun");
        if self.installing.is_some_and(|wanted| wanted <= number) {
            self.installing = None;
            self.wake = Some(Time(0));
        }
    }

    /// Hands leadership to `to`; false if this replica has none to hand over.
    pub fn hand_over(&mut self, now: Now, to: ReplicaId) -> bool {
        !self.is_installing() && self.protocol.hand_over(to, now, &mut self.effects)
    }

    /// Whether a member's state with this `handover` is still of use here.
    pub fn can_install(&self, handover: &[P::Record]) -> bool {
        self.protocol.can_install(handover)
    }

    /// Takes the place where another member stood: `machine`, `sessions` and `handover` are of one
    /// snapshot of that member. Gives the number of the snapshot, begun hereby, that must be
    /// durable before anything leaves this replica again.
    ///
    /// # Panics
    /// If [`can_install`](Self::can_install) says no: the state would go back behind what was told.
    pub fn install(
        &mut self,
        now: Now,
        machine: S,
        sessions: Sessions,
        handover: Vec<P::Record>,
    ) -> u64 {
        assert!(self.protocol.can_install(&handover), "a state that is too old");
        self.machine = machine;
        self.sessions = sessions;
        // They belong to the state that is gone: what of them the new one lacks, the protocol hands
        // out again.
        self.executions.clear();
        self.effects.take_executions().for_each(drop);
        self.reads.forget();
        self.horizon = None;
        (self.settled, self.pruned) = (WallTime(0), WallTime(0));
        self.protocol.install(now, handover, &mut self.effects);
        for token in &self.pending {
            let doubt = Answer::Unknown(Doubt::StateReplaced);
            self.ready.push_back((*token, Word::Answer(doubt)));
        }
        (self.wanted, self.taking) = (None, None);
        self.last_snapshot += 1;
        self.wanted = Some(self.last_snapshot);
        self.installing = self.wanted;
        self.last_snapshot
    }

    /// Whether a state was installed that is not durable yet. Until then nothing is sent, what is
    /// received is lost, and proposals are refused as [`NotApplied::Overloaded`].
    pub fn is_installing(&self) -> bool {
        self.installing.is_some()
    }

    /// Hands over everything that may leave now.
    pub fn turn(&mut self, sink: &mut impl Sink<P, S>) {
        self.persist(sink);
        self.release(sink);
        // After the outputs: "committed" comes before the result.
        self.execute(sink);
        self.prune();
        if let Some(wake) = self.effects.take_wake() {
            self.wake = Some(self.wake.map_or(wake, |earlier| earlier.min(wake)));
        }
    }

    fn persist(&mut self, sink: &mut impl Sink<P, S>) {
        for record in self.effects.take_records() {
            self.journal.next();
            sink.persist(Entry::Protocol(record));
        }
        // One queue, so that no execution overtakes another.
        self.executions.extend(self.effects.take_executions());
        if let Some(number) = self.wanted.take() {
            let after = self.journal.next_mark();
            sink.persist(Entry::Mark { snapshot: number });
            let executed = self.executed() + self.executions.len() as u64;
            self.taking = Some(Taking { number, after, image: self.protocol.image(), executed });
        }
        if self.journal.written > self.journal.announced {
            self.journal.announced = self.journal.written;
            sink.persisted(self.journal.announced);
        }
    }

    fn release(&mut self, sink: &mut impl Sink<P, S>) {
        while let Some((token, word)) = self.ready.pop_front() {
            tell(&mut self.pending, token, word, sink);
        }
        if self.installing.is_some() {
            self.held.extend(self.effects.take_outputs());
            return;
        }
        let durable = self.journal.records_durable();
        // What a read may be answered after.
        let handed_out = self.executed() + self.executions.len() as u64;
        let (pending, reads) = (&mut self.pending, &mut self.reads);
        while let Some(output) = open_front(&mut self.held, durable) {
            put_out(pending, reads, handed_out, output, sink);
        }
        for output in self.effects.take_outputs() {
            match output.open(durable) {
                Ok(output) => put_out(pending, reads, handed_out, output, sink),
                Err(held) => self.held.push_back(held),
            }
        }
    }

    /// When the group wants to be woken. After waking it, ask again.
    pub fn wake_time(&self) -> Option<Time> {
        [self.wake, self.reads.first_due()].into_iter().flatten().min()
    }

    /// Wakes the group if its time has come; true if it was.
    pub fn wake(&mut self, now: Now) -> bool {
        let due = self.wake.is_some_and(|wake| wake <= now.monotonic);
        if due {
            self.wake = None;
            self.step(now, Input::Wake);
        }
        self.reads.expire(now.monotonic) || due
    }

    /// The protocol, for status and for checks.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// What waits for what.
    pub fn account(&self, subject: Subject, now: Now) -> Account {
        self.protocol.account(subject, now)
    }

    /// The state.
    pub fn machine(&self) -> &S {
        &self.machine
    }

    /// The requests that are remembered.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Commands executed since the group was born, as the state has them.
    pub fn executed(&self) -> u64 {
        self.sessions.executed()
    }

    /// The last entry of the journal known to be durable.
    pub fn durable_upto(&self) -> RecordSeq {
        self.journal.durable
    }

    /// Outputs that wait for the disk.
    pub fn held(&self) -> usize {
        self.held.len() + self.executions.len()
    }

    /// Makes the group wrong in a known way.
    #[cfg(feature = "mutations")]
    pub fn make_mistake(&mut self, mutation: Mutation) {
        self.mutation = Some(mutation);
    }
}

fn put_out<P: Protocol, S: StateMachine>(
    pending: &mut BTreeSet<Token>,
    reads: &mut Reads<S::Query>,
    handed_out: u64,
    output: Output<P::Message>,
    sink: &mut impl Sink<P, S>,
) {
    match output {
        Output::Send { to, message } => sink.send(to, message),
        Output::Committed { token, path } => sink.committed(token, path),
        Output::Rejected { token, reason } if !reads.reject(token, reason) => {
            tell(pending, token, Word::Rejected(reason), sink);
        }
        Output::Rejected { .. } => {}
        Output::Unknown { token } if !reads.reject(token, NotApplied::Unreachable) => {
            tell(pending, token, Word::Answer(Answer::Unknown(Doubt::Unreachable)), sink);
        }
        Output::Unknown { .. } => {}
        Output::ReadReady { token, whole } => {
            let vouched = if whole { Vouched::State } else { Vouched::Query };
            reads.ready(token, handed_out, vouched);
        }
        Output::ReadRefused { token, reason } => reads.refuse(token, reason),
    }
}

/// Ends a proposal, once.
fn tell<P: Protocol, S: StateMachine>(
    pending: &mut BTreeSet<Token>,
    token: Token,
    word: Word<S::Output>,
    sink: &mut impl Sink<P, S>,
) {
    if !pending.remove(&token) {
        return;
    }
    match word {
        Word::Answer(answer) => sink.answered(token, answer),
        Word::Rejected(reason) => sink.rejected(token, reason),
    }
}

/// The front of a queue, if it waits for nothing any more.
fn open_front<T>(queue: &mut VecDeque<Gated<T>>, durable: Durable) -> Option<T> {
    if queue.front()?.opens_at(durable) { queue.pop_front()?.open(durable).ok() } else { None }
}

#[cfg(test)]
mod tests;
