//! The replicated state: what a user of the library writes.

use std::fmt;

use panchayat_consensus::wire::{Decode, Encode};
use panchayat_consensus::{Footprint, InstanceId, WallTime};

/// What `apply` may know besides the command: agreed data, the same at every replica.
#[derive(Clone, Copy, Debug)]
pub struct ApplyContext {
    /// The instance that decided the command.
    pub id: InstanceId,
    /// The coordinator's wall clock when it proposed. Use it instead of a local clock.
    pub proposed_at: WallTime,
}

/// A fingerprint of a whole state. Replicas that executed the same commands have equal ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StateHash(pub u64);

/// A deterministic state machine.
///
/// `apply` must depend on nothing but the state, the context and the command: no clock, no
/// randomness, no iteration over a hash map that reaches the result. It must touch only keys that
/// the command's footprint names, because commands with disjoint footprints execute in different
/// orders at different replicas.
pub trait StateMachine: Send + 'static {
    /// What changes or reads the state in agreed order.
    type Command: Encode + Decode + Send + 'static;
    /// What `apply` answers.
    type Output: Encode + Decode + Send + 'static;

    /// What `command` touches. Computed once, by the replica that proposes it, on the thread of
    /// the caller; it travels with the command. A function of the command alone.
    fn footprint(command: &Self::Command) -> Footprint;

    /// Executes `command`.
    fn apply(&mut self, context: &ApplyContext, command: Self::Command) -> Self::Output;

    /// A fingerprint of the state, independent of the order of non-conflicting commands.
    fn state_hash(&self) -> StateHash;
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
