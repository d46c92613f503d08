//! What must hold, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use panchayat_consensus::{Execution, Slot, WallTime};
use panchayat_fastpaxos::{Entry, FastPaxos};

/// The state machine of a replica: what it applied, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    pub(crate) order: Vec<(Slot, u64)>,
    /// Every slot up to here is in it.
    pub(crate) upto: Slot,
}

/// Everything seen so far, of all replicas and all their runs.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) submitted: BTreeSet<u64>,
    pub(crate) rejected: BTreeSet<u64>,
    pub(crate) answered: BTreeSet<u64>,
    decided: BTreeMap<Slot, Entry>,
    executed: BTreeMap<Slot, (u64, WallTime)>,
    executed_at: BTreeMap<u64, Slot>,
}

impl Checks {
    /// One value per slot, and one that somebody proposed.
    pub(crate) fn look(&mut self, node: usize, protocol: &FastPaxos, seen: &mut Slot) {
        let upto = protocol.chosen_upto();
        assert!(upto >= *seen, "replica {node}: executed slots went from {seen} to {upto}");
        for slot in *seen + 1..=upto {
            // A state from another member may have replaced it.
            let Some(entry) = protocol.chosen_entry(slot) else { continue };
            if let Some(submission) = entry.submission() {
                let payload = super::payload_of(&submission.command);
                assert!(self.submitted.contains(&payload), "nobody proposed {payload}");
            }
            let decided = self.decided.entry(slot).or_insert_with(|| entry.clone());
            assert_eq!(decided, entry, "replica {node}: slot {slot} was decided differently");
        }
        *seen = upto;
    }

    /// The same command in each slot everywhere, each once, in order, at growing times.
    pub(crate) fn execute(&mut self, node: usize, execution: &Execution, state: &mut Applied) {
        let (slot, command) = (execution.id.slot, &execution.command);
        let payload = super::payload_of(command);
        assert!(slot > state.upto, "replica {node}: slot {slot} after {}", state.upto);
        let skipped = self.executed.range(state.upto + 1..slot).next();
        assert_eq!(skipped, None, "replica {node} skipped what another executed");
        assert!(!self.rejected.contains(&payload), "{payload} was rejected and executed");
        let did = (payload, command.proposed_at);
        let known = *self.executed.entry(slot).or_insert(did);
        assert_eq!(known, did, "replica {node}: slot {slot} did something else elsewhere");
        let at = *self.executed_at.entry(payload).or_insert(slot);
        assert_eq!(at, slot, "replica {node}: {payload} applied twice");
        let before = self.executed.range(..slot).next_back();
        assert!(before.is_none_or(|(_, (_, at))| *at < command.proposed_at), "times shrink");
        state.order.push((slot, payload));
        state.upto = slot;
    }
}
