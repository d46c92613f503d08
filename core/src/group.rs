//! The turn of a group: inputs into the protocol, records to the journal, then whatever has become
//! durable out into the world.
//!
//! The driver owns threads and IO and calls [`Group::step`] for every input it has, then
//! [`Group::turn`] once. The order inside a turn is the order that durability needs: all records
//! first, then the outputs whose records are durable; the others wait here, locked, until a later
//! turn after [`Group::durable`].

use std::collections::VecDeque;
use std::sync::Arc;

use panchayat_consensus::wire::from_bytes;
use panchayat_consensus::{
    Command, Durable, EffectsOf, Execution, Gated, Input, InstanceId, NotApplied, Now, Output,
    Path, Protocol, RecordSeq, ReplicaSet, Time, Token,
};

use crate::state_machine::{ApplyContext, StateMachine};

/// The driver's side of a turn. Calls come in this order: `persist` for every new record, then
/// `persisted` once if there were any, then everything else in protocol order.
pub trait Sink<P: Protocol, S: StateMachine> {
    /// Appends a record to the journal.
    fn persist(&mut self, record: P::Record);
    /// All records of this turn were given; the last has number `upto`. When they are durable the
    /// driver calls [`Group::durable`].
    fn persisted(&mut self, upto: RecordSeq);
    /// Sends a message to other members.
    fn send(&mut self, to: ReplicaSet, message: P::Message);
    /// An instance is decided and durable; its proposer is here.
    fn committed(&mut self, token: Token, path: Path);
    /// A command is about to be applied.
    fn executing(&mut self, id: InstanceId, command: &Arc<Command>) {
        let _ = (id, command);
    }
    /// A command proposed here was applied. `None` if its payload is not a command of the state
    /// machine, which then no replica applied.
    fn applied(&mut self, token: Token, output: Option<S::Output>);
    /// A proposal was not and will not be applied.
    fn rejected(&mut self, token: Token, reason: NotApplied);
}

/// One replica of one group, in one epoch: protocol, state machine, and what waits for the disk.
#[derive(Debug)]
pub struct Group<P: Protocol, S> {
    protocol: P,
    machine: S,
    effects: EffectsOf<P>,
    held: VecDeque<Gated<Output<P::Message>>>,
    executions: VecDeque<Gated<Execution>>,
    durable: Durable,
    announced: RecordSeq,
    executed: u64,
    wake: Option<Time>,
}

impl<P: Protocol, S: StateMachine> Group<P, S> {
    /// The group as its journal left it. `records` are those of this group and epoch, in order;
    /// `machine` is the state before the first of them.
    pub fn restore(
        config: P::Config,
        machine: S,
        records: impl IntoIterator<Item = P::Record>,
        now: Now,
    ) -> Self {
        let mut effects = EffectsOf::<P>::default();
        let protocol = P::restore(config, records, now, &mut effects);
        Self {
            protocol,
            machine,
            effects,
            held: VecDeque::new(),
            executions: VecDeque::new(),
            durable: Durable::default(),
            announced: RecordSeq::default(),
            executed: 0,
            wake: None,
        }
    }

    /// Gives the protocol one input. Its effects wait for [`turn`](Self::turn).
    pub fn step(&mut self, now: Now, input: Input<P::Message>) {
        self.protocol.step(now, input, &mut self.effects);
    }

    /// Tells the group that its records up to `upto` survive a power loss.
    pub fn durable(&mut self, now: Now, upto: RecordSeq) {
        assert!(upto <= self.effects.last_record(), "the journal confirmed what was never written");
        if upto > self.durable.0 {
            self.durable = Durable(upto);
            self.protocol.step(now, Input::Durable(self.durable), &mut self.effects);
        }
    }

    /// Hands over everything that may leave now.
    pub fn turn(&mut self, sink: &mut impl Sink<P, S>) {
        for record in self.effects.take_records() {
            sink.persist(record);
        }
        if self.effects.last_record() > self.announced {
            self.announced = self.effects.last_record();
            sink.persisted(self.announced);
        }
        while let Some(output) = open_front(&mut self.held, self.durable) {
            release(output, sink);
        }
        for output in self.effects.take_outputs() {
            match output.open(self.durable) {
                Ok(output) => release(output, sink),
                Err(held) => self.held.push_back(held),
            }
        }
        // After the outputs: "committed" comes before the result. One queue, so that no execution
        // overtakes another.
        self.executions.extend(self.effects.take_executions());
        while let Some(execution) = open_front(&mut self.executions, self.durable) {
            self.execute(execution, sink);
        }
        if let Some(wake) = self.effects.take_wake() {
            self.wake = Some(self.wake.map_or(wake, |earlier| earlier.min(wake)));
        }
    }

    /// When the protocol wants to be woken. After waking it, ask again.
    pub fn wake_time(&self) -> Option<Time> {
        self.wake
    }

    /// Wakes the protocol if its time has come; true if it was.
    pub fn wake(&mut self, now: Now) -> bool {
        let due = self.wake.is_some_and(|wake| wake <= now.monotonic);
        if due {
            self.wake = None;
            self.protocol.step(now, Input::Wake, &mut self.effects);
        }
        due
    }

    /// The protocol, for status and for checks.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The state.
    pub fn machine(&self) -> &S {
        &self.machine
    }

    /// Commands applied since this run began, replayed ones included.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// The last record known to be durable.
    pub fn durable_upto(&self) -> RecordSeq {
        self.durable.0
    }

    /// Outputs that wait for the disk.
    pub fn held(&self) -> usize {
        self.held.len() + self.executions.len()
    }

    fn execute(&mut self, execution: Execution, sink: &mut impl Sink<P, S>) {
        let Execution { id, command, token } = execution;
        sink.executing(id, &command);
        let output = self.apply(id, &command);
        self.executed += 1;
        if let Some(token) = token {
            sink.applied(token, output);
        }
    }

    fn apply(&mut self, id: InstanceId, command: &Command) -> Option<S::Output> {
        let decoded = from_bytes::<S::Command>(command.payload.clone()).ok()?;
        let context = ApplyContext { id, proposed_at: command.proposed_at };
        Some(self.machine.apply(&context, decoded))
    }
}

fn release<P: Protocol, S: StateMachine>(output: Output<P::Message>, sink: &mut impl Sink<P, S>) {
    match output {
        Output::Send { to, message } => sink.send(to, message),
        Output::Committed { token, path } => sink.committed(token, path),
        Output::Rejected { token, reason } => sink.rejected(token, reason),
    }
}

/// The front of a queue, if it waits for nothing any more.
fn open_front<T>(queue: &mut VecDeque<Gated<T>>, durable: Durable) -> Option<T> {
    if queue.front()?.opens_at(durable) { queue.pop_front()?.open(durable).ok() } else { None }
}
