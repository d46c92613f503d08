//! What protocols with a log have in common here: slots as instances, the terms in which their
//! records and messages are checked, and the checks that hold for all of them.
//!
//! Their instances are the slots of the log, all in one lane. A replica's own proposals that no slot
//! is known to hold are named by their numbers, which begin far above any slot.

mod checks;
mod facts;

pub use checks::LogChecks;
pub use facts::{Claim, Fact, LogRound, VoteOf, values_of};

use panchayat_consensus::{Ballot, Command, InstanceId, ReplicaId, Slot, wire};

use crate::invariants::{Name, Value};

/// The lane of the log.
const LOG: ReplicaId = ReplicaId(0);
/// What stands for proposals in flight begins here.
const IN_FLIGHT: Slot = 1 << 62;

/// A slot as an instance.
pub(crate) fn instance(slot: Slot) -> InstanceId {
    InstanceId::new(LOG, slot)
}

/// What can stand in a slot.
pub trait LogEntry: wire::Encode {
    /// The command and its name; nothing for Nop.
    fn named(&self) -> Option<(Name, &Command)>;
}

/// A replica of a protocol with a log, as far as checks look at it.
pub trait LogReplica {
    /// The highest ballot promised.
    fn promised(&self) -> Ballot;
    /// Everything up to here is executed.
    fn chosen_upto(&self) -> Slot;
    /// Everything up to here is collected.
    fn collected_upto(&self) -> Slot;
    /// The highest slot voted in or chosen.
    fn highest(&self) -> Slot;
    /// Proposals of its clients that are not executed.
    fn in_flight(&self) -> usize;
    /// What was chosen in `slot`, as far as that is known and kept here.
    fn chosen_value(&self, slot: Slot) -> Option<Value>;
    /// The vote in `slot`, as far as it is kept here.
    fn vote(&self, slot: Slot) -> Option<(LogRound, Value)>;
}

/// Slots known to `replica` and not executed, then its proposals in flight: at most `limit`.
pub(crate) fn unsettled(replica: &impl LogReplica, limit: usize) -> Vec<InstanceId> {
    let slots = replica.chosen_upto() + 1..=replica.highest();
    let in_flight = (0..replica.in_flight() as u64).map(|number| IN_FLIGHT + number);
    slots.chain(in_flight).map(instance).take(limit).collect()
}

/// Whether an instance is a slot, not a proposal in flight.
pub(crate) fn is_slot(id: InstanceId) -> bool {
    id.slot < IN_FLIGHT
}
