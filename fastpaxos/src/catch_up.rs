//! Slots that others know the outcome of and this replica does not: asked for, after a moment in
//! which they may still come by themselves.

use panchayat_consensus::{After, Now, ReplicaId, ReplicaSet, Slot, Time};

use crate::entry::Entry;
use crate::message::{Message, Progress};
use crate::replica::{FastPaxos, Fx, Role};

/// Who is ahead, and who was asked.
#[derive(Clone, Debug, Hash, Default)]
pub(crate) struct CatchUp {
    /// The furthest that anyone says to be.
    known: Slot,
    /// Since when nothing was executed here.
    since: Time,
    /// When somebody was asked last.
    asked_at: Option<Time>,
    /// How often somebody was asked: whose turn it is.
    turn: usize,
    /// Those who collected what is needed here.
    gone: ReplicaSet,
}

impl CatchUp {
    /// Something was executed.
    pub(crate) fn moved(&mut self, now: Time) {
        self.since = now;
        self.asked_at = None;
        self.gone = ReplicaSet::EMPTY;
    }
}

impl FastPaxos {
    /// Those whose state this replica needs, and that can give it. What only the dead had executed
    /// is not lost: a quorum voted for it, and whoever is left finds that out as a coordinator does.
    pub(crate) fn states_ahead(&self) -> ReplicaSet {
        self.catch_up.gone.minus(self.suspected)
    }

    /// Whether others no longer have what comes next here, as long as nothing else has moved this
    /// replica on. Whether they are heard just now does not matter to a state they have sent.
    pub(crate) fn lacks_slots(&self) -> bool {
        !self.catch_up.gone.is_empty()
    }

    pub(crate) fn needs_no_state(&self) -> bool {
        self.states_ahead().is_empty()
    }

    pub(crate) fn note_progress(&mut self, from: ReplicaId, progress: Progress) {
        let known = &mut self.progress[from.index()];
        known.chosen = known.chosen.max(progress.chosen);
        // These may shrink: it may have lost its unsynced records.
        known.highest = progress.highest;
        known.kept = progress.kept;
        self.catch_up.known = self.catch_up.known.max(progress.chosen);
    }

    pub(crate) fn catch_up_due(&self) -> Option<Time> {
        let timing = &self.config.timing;
        let behind = self.catch_up.known > self.chosen;
        let asked = self.catch_up.asked_at.map(|at| at + timing.patience);
        behind.then(|| asked.unwrap_or(self.catch_up.since + timing.catch_up_delay))
    }

    pub(crate) fn attend_catch_up(&mut self, now: Now, fx: &mut Fx) {
        if self.catch_up_due().is_none_or(|due| due > now.monotonic) {
            return;
        }
        let ahead = self.others().iter().filter(|replica| {
            let gone = self.catch_up.gone.contains(*replica);
            !gone && self.progress[replica.index()].chosen > self.chosen
        });
        let ahead: ReplicaSet = ahead.collect();
        let alive = ahead.minus(self.suspected);
        let whom = if alive.is_empty() { ahead } else { alive };
        let turn = self.catch_up.turn % whom.len().max(1);
        self.catch_up.turn += 1;
        self.catch_up.asked_at = Some(now.monotonic);
        if let Some(replica) = whom.iter().nth(turn) {
            self.fetch(replica, now, fx);
        }
    }

    fn fetch(&mut self, replica: ReplicaId, now: Now, fx: &mut Fx) {
        self.counters.fetches += 1;
        self.catch_up.asked_at = Some(now.monotonic);
        let message = Message::Fetch { from: self.chosen + 1 };
        self.send(ReplicaSet::only(replica), message, After::NOTHING, fx);
    }

    pub(crate) fn on_fetch(&self, from: ReplicaId, slot: Slot, fx: &mut Fx) {
        let to = ReplicaSet::only(from);
        if slot <= self.log.base() {
            self.send(to, Message::Gone { base: self.log.base() }, After::NOTHING, fx);
            return;
        }
        let entries = self.log.chunk(slot, self.chosen, self.config.limits.batch_bytes_max);
        if !entries.is_empty() {
            self.send(to, Message::Learn { first: slot, entries }, After::NOTHING, fx);
        }
    }

    pub(crate) fn on_learn(
        &mut self,
        from: ReplicaId,
        first: Slot,
        entries: Vec<Entry>,
        now: Now,
        fx: &mut Fx,
    ) {
        let before = self.chosen;
        self.learn(first, entries, now, fx);
        let ahead = self.progress[from.index()].chosen > self.chosen;
        if self.chosen > before && ahead {
            self.fetch(from, now, fx);
        }
    }

    /// These values are chosen in consecutive slots.
    pub(crate) fn learn(&mut self, first: Slot, entries: Vec<Entry>, now: Now, fx: &mut Fx) {
        for (slot, entry) in (first..).zip(entries) {
            let unknown = self.log.chosen(slot).is_none();
            if slot > self.chosen && slot <= self.reach() && unknown {
                self.counters.chosen_by_asking += 1;
                self.decide(slot, entry.name(), None, now, fx);
                if self.log.chosen(slot).is_none() {
                    self.choose(slot, entry, fx);
                }
                self.advance(now, fx);
            }
        }
    }

    pub(crate) fn on_gone(&mut self, from: ReplicaId, base: Slot, now: Now, fx: &mut Fx) {
        if base > self.chosen {
            self.catch_up.gone.insert(from);
            // Nobody would look for another coordinator for long if this one fell silent.
            self.resign(now, fx);
            if !matches!(self.role, Role::Follower) {
                self.stand_aside(now);
            }
        }
    }
}
