//! What must hold, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use panchayat_consensus::{Command, Execution, Slot, WallTime};
use panchayat_multipaxos::{Entry, MultiPaxos, Way};

use super::node::{Process, State};
use super::{Answered, Us};

/// Everything seen so far, of all replicas and all their runs.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    submitted: BTreeSet<u64>,
    rejected: BTreeSet<u64>,
    pub(crate) answered: BTreeMap<u64, Slot>,
    answered_upto: Slot,
    pub(crate) decided: BTreeMap<Slot, Entry>,
    /// What each slot did when it was executed, as first seen, and when its command was proposed.
    executed: BTreeMap<Slot, (u64, WallTime)>,
    executed_payloads: BTreeSet<u64>,
}

impl Checks {
    pub(crate) fn submitted(&mut self, payload: u64) {
        self.submitted.insert(payload);
    }

    /// A rejection is final.
    pub(crate) fn rejected(&mut self, payload: u64) {
        assert!(!self.executed_payloads.contains(&payload), "{payload} rejected after execution");
        self.rejected.insert(payload);
    }

    fn answered(&mut self, payload: u64, slot: Slot) {
        let before = self.answered.insert(payload, slot);
        assert!(before.is_none(), "{payload} answered twice");
        self.answered_upto = self.answered_upto.max(slot);
    }

    /// The highest slot whose command's client has its answer.
    pub(crate) fn answered_upto(&self) -> Slot {
        self.answered_upto
    }

    /// A read was served from the state up to `upto`; when it began, `floor` was answered.
    pub(crate) fn read(&self, node: usize, level: Way, floor: Slot, upto: Slot) {
        assert!(upto >= floor, "stale {level:?} read at {node}: {upto} after {floor} was answered");
    }

    /// So many replicas may answer reads under a lease now.
    pub(crate) fn lease_holders(&self, holders: usize) {
        assert!(holders <= 1, "{holders} replicas hold the lease");
    }

    /// Agreement and validity of everything newly known to be chosen; the commit index only grows.
    pub(crate) fn look(&mut self, node: usize, protocol: &MultiPaxos, seen: &mut Slot) {
        let upto = protocol.chosen_upto();
        assert!(upto >= *seen, "replica {node}: the commit index went back from {seen} to {upto}");
        for slot in *seen + 1..=upto {
            // A state from another member may have replaced it.
            let Some(entry) = protocol.chosen_entry(slot) else { continue };
            if let Some(submission) = entry.submission() {
                let payload = super::payload_of(&submission.command);
                assert!(
                    self.submitted.contains(&payload),
                    "slot {slot}: nobody proposed {payload}"
                );
            }
            let decided = self.decided.entry(slot).or_insert_with(|| entry.clone());
            assert_eq!(decided, entry, "replica {node}: slot {slot} was decided differently");
        }
        *seen = upto;
    }

    /// Applies a command; if its client waits here, the answer.
    pub(crate) fn execute(
        &mut self,
        node: usize,
        execution: Execution,
        now: Us,
        process: &mut Process,
    ) -> Option<Answered> {
        let payload = super::payload_of(&execution.command);
        let slot = execution.id.slot;
        self.executed(node, slot, payload, &execution.command, &mut process.state);
        let waiting = process.waiting.remove(&execution.token?);
        let (expected, proposed, committed) = waiting.expect("answered once");
        assert_eq!(payload, expected, "answered with somebody else's result");
        self.answered(payload, slot);
        Some(Answered { node, proposed, committed, executed: now, slot })
    }

    /// Commands execute in the order of slots, the same at every replica, each once, at growing
    /// times.
    fn executed(
        &mut self,
        node: usize,
        slot: Slot,
        payload: u64,
        command: &Command,
        state: &mut State,
    ) {
        let last = state.order.last().map_or(0, |(slot, _)| *slot);
        assert!(slot > last.max(state.upto), "replica {node}: slot {slot} after {last}");
        let skipped = self.executed.range(last.max(state.upto) + 1..slot).next();
        assert_eq!(skipped, None, "replica {node} skipped what another executed");
        assert!(state.applied.insert(payload), "replica {node}: {payload} applied twice");
        assert!(!self.rejected.contains(&payload), "{payload} was rejected");
        let did = (payload, command.proposed_at);
        let known = *self.executed.entry(slot).or_insert(did);
        assert_eq!(known, did, "replica {node}: slot {slot} did something else elsewhere");
        let before = self.executed.range(..slot).next_back();
        assert!(before.is_none_or(|(_, (_, at))| *at < command.proposed_at), "times do not grow");
        let after = self.executed.range(slot + 1..).next();
        assert!(after.is_none_or(|(_, (_, at))| *at > command.proposed_at), "times do not grow");
        self.executed_payloads.insert(payload);
        state.order.push((slot, payload));
        state.upto = slot;
    }
}
