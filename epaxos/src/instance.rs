//! What one replica knows of one instance.

use std::sync::Arc;

use panchayat_consensus::{After, Ballot, Command, Time, Token, Value};

use crate::attempt::Attempt;
use crate::deps::Deps;

/// How far an instance has come at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nothing agreed to; perhaps not even the payload is known.
    Initial,
    /// Agreed to the coordinator's proposal, with dependencies of its own added.
    PreAccepted,
    /// Voted for a value at `accepted_ballot`.
    Accepted,
    /// The value is decided. Never left again.
    Committed,
}

/// The state of an instance, by the names of the EPaxos* paper: `ballot` is *bal*,
/// `accepted_ballot` is *abal*, (`payload` or Nop) is *cmd*, `deps` is *dep*, `payload` with
/// `init_deps` known is *initCmd* and *initDep*.
///
/// Two ballots are needed. A single one, used both for "joined" and for "voted at", is the bug of
/// 2019: a recoverer takes a mere promise for a vote.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The highest ballot joined.
    pub ballot: Ballot,
    /// The ballot at which the current value was accepted or committed.
    pub accepted_ballot: Ballot,
    /// How far it has come.
    pub phase: Phase,
    /// Whether the value accepted or committed is Nop.
    pub nop: bool,
    /// The command submitted under this id, once known. There is only one (validity).
    pub payload: Option<Arc<Command>>,
    /// Whether a journal record holds the payload, so that later ones may refer to it.
    pub(crate) payload_recorded: bool,
    /// The dependencies of the current phase; empty while `Initial`.
    pub deps: Deps,
    /// The dependencies that the initial coordinator sent, once known.
    pub init_deps: Option<Deps>,
    /// The journal record that holds the state above.
    pub recorded: After,
    /// The local proposal waiting for this instance.
    pub token: Option<Token>,
    /// When this replica first knew that it exists, in this run.
    pub(crate) learned_at: Time,
    /// When this replica looks after it next, while it is undecided.
    pub(crate) look_due: Time,
    /// Whether a recovery of another instance waits for this one.
    pub(crate) hurried: bool,
    /// How often this replica has asked others for it.
    pub(crate) asked: u32,
    /// How often this replica has looked after it since.
    pub(crate) looks: u32,
    /// What this replica does to decide it. Volatile.
    pub(crate) attempt: Option<Box<Attempt>>,
}

impl Instance {
    pub(crate) fn unknown(n: usize) -> Self {
        Self {
            ballot: Ballot::INITIAL,
            accepted_ballot: Ballot::INITIAL,
            phase: Phase::Initial,
            nop: false,
            payload: None,
            payload_recorded: false,
            deps: Deps::none(n),
            init_deps: None,
            recorded: After::NOTHING,
            token: None,
            learned_at: Time(0),
            look_due: Time(0),
            hurried: false,
            asked: 0,
            looks: 0,
            attempt: None,
        }
    }

    /// The paper's *cmd*: the value of the current phase. `None` while unknown.
    pub fn value(&self) -> Option<Value> {
        if self.nop { Some(Value::Nop) } else { self.payload.clone().map(Value::Command) }
    }

    /// Whether the value is decided.
    pub fn is_committed(&self) -> bool {
        self.phase == Phase::Committed
    }

    /// The paper's *initCmd*.
    pub fn init_command(&self) -> Option<&Arc<Command>> {
        self.init_deps.as_ref().and(self.payload.as_ref())
    }
}
