//! What a check found.

use std::fmt;

use panchayat_consensus::InstanceId;

/// What must hold. The numbers are those of the verification design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// 1: one (command, dependencies) per committed id.
    Agreement,
    /// 2: of two committed conflicting ids one depends on the other.
    Visibility,
    /// 3: a committed command is Nop or the one submitted under that id.
    Validity,
    /// 4: ballots only grow, committed is for ever.
    Ballots,
    /// 5: one value per (id, ballot).
    OneValue,
    /// 6: a commit has the quorum it claims.
    CommitEvidence,
    /// 6: what a recovery proposes follows from what it was told.
    RecoveryEvidence,
    /// 7: nothing leaves before what it promises is durable.
    DurablePromise,
    /// A ballot serves one attempt of one run of its owner.
    BallotReuse,
    /// 8: conflicting commands execute in the same order everywhere.
    ExecutionOrder,
    /// 8: replicas that executed the same commands have the same state.
    StateHash,
    /// 9: a client's request takes effect at most once.
    AppliedOnce,
    /// 12: nothing goes that a member may still need.
    Collection,
    /// 12: absent members are kept at a distance, and states taken over withdraw endorsements.
    Absence,
    /// 10: a command executes after its dependencies.
    ClosedDependencies,
    /// 13: a new leader proposes what its quorum's votes demand.
    ValuePick,
    /// 13: at most one replica may answer reads under a lease.
    LeaseHolders,
    /// 11: a read that takes no slot sees everything answered before it.
    StaleRead,
    /// 15: all agree on the epochs, and nothing of an epoch takes effect after its seal.
    Epochs,
    /// 14: once healed, everything known commits and executes.
    Liveness,
    /// 11: registers behave as if operations came one at a time.
    Linearizable,
    /// 11: transactions behave as if they came one at a time, in an order real time agrees with.
    StrictlySerializable,
    /// Acknowledged writes survive the loss of everything unsynced.
    Durability,
    /// The journal reads back what was synced, and refuses what was damaged.
    Journal,
    /// Messages and records read back as they were written.
    Codec,
    /// The code itself asserted.
    Panic,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Which.
    pub invariant: Invariant,
    /// The instance in question.
    pub instance: Option<InstanceId>,
    /// What was seen, and what was expected.
    pub text: String,
}

impl Flaw {
    /// A flaw of an instance.
    pub fn of(invariant: Invariant, id: InstanceId, text: String) -> Self {
        Self { invariant, instance: Some(id), text }
    }

    /// A flaw of no instance in particular.
    pub fn general(invariant: Invariant, text: String) -> Self {
        Self { invariant, instance: None, text }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: ", self.invariant)?;
        if let Some(id) = self.instance {
            write!(f, "{id}: ")?;
        }
        f.write_str(&self.text)
    }
}
