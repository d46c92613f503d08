//! What a consensus protocol is: a value that turns inputs into effects.

use std::fmt::Debug;
use std::hash::Hash;

use crate::command::Command;
use crate::effects::{Durable, Effects, Token};
use crate::ids::ReplicaId;
use crate::time::Now;
use crate::wire::{Decode, Encode};

/// Something that happened, told to a protocol.
#[derive(Clone, Debug)]
pub enum Input<M> {
    /// A client of this replica proposes `command`.
    Propose {
        /// Names the proposal in the effects that answer it.
        token: Token,
        /// The command.
        command: Command,
    },
    /// A message arrived from another member of the epoch.
    Receive {
        /// Its sender, as the transport authenticated it.
        from: ReplicaId,
        /// The message.
        message: M,
    },
    /// The journal says that records are durable.
    Durable(Durable),
    /// The failure detector hears from `0` again.
    PeerUp(ReplicaId),
    /// The failure detector has not heard from `0` for too long. It may be wrong.
    PeerSuspected(ReplicaId),
    /// A wake-up that was asked for, or one too many.
    Wake,
}

/// The effects of protocol `P`.
pub type EffectsOf<P> = Effects<<P as Protocol>::Message, <P as Protocol>::Record>;

/// A consensus protocol without IO.
///
/// It is deterministic: the same configuration, records and inputs give the same effects. It reads
/// no clock and draws no entropy; `Now` and a seed in its configuration are all it knows. `Clone`
/// and `Hash` let a model checker hold it as a state.
pub trait Protocol: Clone + Debug + Hash + Sized {
    /// What must be known to start: members, own seat, quorums, timeouts.
    type Config: Clone + Debug;
    /// What replicas say to each other.
    type Message: Encode + Decode + Clone + Debug + PartialEq + Hash;
    /// What the journal keeps.
    type Record: Encode + Decode + Clone + Debug;

    /// The protocol as it was when the last of `records` was written; with no records, at its
    /// birth. Effects that follow from them (executions, recoveries) are appended to `effects`.
    fn restore(
        config: Self::Config,
        records: impl IntoIterator<Item = Self::Record>,
        now: Now,
        effects: &mut EffectsOf<Self>,
    ) -> Self;

    /// Handles one input.
    fn step(&mut self, now: Now, input: Input<Self::Message>, effects: &mut EffectsOf<Self>);

    /// What happened so far, by name. For metrics; empty unless a protocol counts.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Asserts what must hold between steps. The simulator calls it after every one.
    ///
    /// # Panics
    /// If an invariant is broken.
    fn check_invariants(&self);
}
