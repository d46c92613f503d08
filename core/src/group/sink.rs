//! The driver's side of a turn.

use std::sync::Arc;

use panchayat_consensus::{
    Command, InstanceId, NotApplied, Path, Protocol, ReadRefusal, RecordSeq, ReplicaSet, Token,
};

use super::answer::Answer;
use super::read::Reading;
use super::snapshot::SnapshotParts;
use crate::journal::Entry;
use crate::state_machine::StateMachine;

/// Where the effects of a turn go. Calls come in this order: `persist` for every new entry, then
/// `persisted` once if there were any, then everything else in protocol order.
pub trait Sink<P: Protocol, S: StateMachine> {
    /// Appends an entry to the journal. Every call counts one in [`RecordSeq`], from 1.
    fn persist(&mut self, entry: Entry<P::Record>);
    /// All entries of this turn were given; the last has number `upto`. When they are durable the
    /// driver calls [`Group::durable`](super::Group::durable).
    fn persisted(&mut self, upto: RecordSeq);
    /// Sends a message to other members.
    fn send(&mut self, to: ReplicaSet, message: P::Message);
    /// An instance is decided and durable; its proposer is here.
    fn committed(&mut self, token: Token, path: Path);
    /// A command executes.
    fn executing(&mut self, id: InstanceId, command: &Arc<Command>) {
        let _ = (id, command);
    }
    /// The command whose execution was announced last was applied, or was not. For checks.
    fn executed(&mut self, id: InstanceId, effect: Effect) {
        let _ = (id, effect);
    }
    /// What became of a command proposed here. Once for every token, unless it is rejected.
    fn answered(&mut self, token: Token, answer: Answer<S::Output>);
    /// This attempt was not and will not be applied.
    fn rejected(&mut self, token: Token, reason: NotApplied);
    /// The answer to a query.
    fn read(&mut self, token: Token, reading: Reading<S::Answer>);
    /// A query is not answered.
    fn read_refused(&mut self, token: Token, reason: ReadRefusal);
    /// A snapshot that was asked for can be written.
    fn snapshot(&mut self, parts: SnapshotParts<P, S>);
}

/// What the execution of a command did to the state. The same at every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It was applied.
    Applied,
    /// Nothing: its request had been applied before.
    Duplicate,
    /// Nothing: it was proposed too long after its request was issued.
    TooOld,
    /// Nothing: it was a read, answered where it was asked.
    Read,
    /// Nothing: it ended its epoch, or was to.
    Sealed,
    /// Nothing: its payload is not a command of the state machine.
    Undecodable,
}
