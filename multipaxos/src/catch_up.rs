//! Slots that others know the outcome of and this replica does not: asked for, after a moment in
//! which they may still come by themselves.

use panchayat_consensus::{After, Now, ReplicaId, ReplicaSet, Slot, Time};

use crate::entry::Entry;
use crate::message::{Message, Progress};
use crate::record::Record;
use crate::replica::{Fx, MultiPaxos, Role};

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
    pub(crate) gone: ReplicaSet,
}

impl CatchUp {
    /// Something was executed.
    pub(crate) fn moved(&mut self, now: Time) {
        self.since = now;
        self.asked_at = None;
        self.gone = ReplicaSet::EMPTY;
    }
}

impl MultiPaxos {
    pub(crate) fn note_progress(&mut self, from: ReplicaId, progress: Progress) {
        let known = &mut self.progress[from.index()];
        // What it keeps may shrink: it may have lost its unsynced records.
        let kept = progress.kept;
        known.chosen = known.chosen.max(progress.chosen);
        known.highest = progress.highest;
        known.kept = kept;
        self.catch_up.known = self.catch_up.known.max(progress.chosen);
    }

    pub(crate) fn catch_up_due(&self) -> Option<Time> {
        let timing = &self.config.timing;
        let behind = self.catch_up.known > self.chosen;
        let asked = self.catch_up.asked_at.map(|at| at + timing.patience);
        behind.then(|| asked.unwrap_or(self.catch_up.since + timing.catch_up_delay))
    }

    pub(crate) fn attend_catch_up(&mut self, now: Now, fx: &mut Fx) {
        if self.catch_up_due().is_some_and(|due| due <= now.monotonic) {
            let ahead = self.others().iter().filter(|replica| {
                let gone = self.catch_up.gone.contains(*replica);
                !gone && self.progress[replica.index()].chosen > self.chosen
            });
            let ahead: ReplicaSet = ahead.collect();
            let alive = ahead.minus(self.suspected);
            let whom = if alive.is_empty() { ahead } else { alive };
            let turn = self.catch_up.turn % whom.len().max(1);
            self.catch_up.turn += 1;
            if let Some(replica) = whom.iter().nth(turn) {
                self.fetch(replica, now, fx);
            } else {
                self.catch_up.asked_at = Some(now.monotonic);
            }
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
        if self.chosen > before && ahead && self.catch_up.known > self.chosen {
            self.fetch(from, now, fx);
        }
    }

    /// These values are chosen in consecutive slots.
    pub(crate) fn learn(&mut self, first: Slot, entries: Vec<Entry>, now: Now, fx: &mut Fx) {
        let reach = self.reach();
        let mut run = Vec::new();
        let mut run_first = first;
        for (slot, entry) in (first..).zip(entries) {
            let unknown = !self.log.get(slot).is_some_and(|state| state.chosen);
            if slot > self.chosen && slot <= reach && unknown {
                self.doubt_leadership(slot, &entry, now, fx);
                self.log.ensure(slot).learn(entry.clone());
                self.counters.chosen_by_asking += 1;
                run.push(entry);
            } else {
                self.record_learned(run_first, std::mem::take(&mut run), fx);
                run_first = slot + 1;
            }
        }
        self.record_learned(run_first, run, fx);
        self.advance(now, fx);
    }

    /// What was chosen is not what this replica as leader proposed: another has taken its place.
    fn doubt_leadership(&mut self, slot: Slot, entry: &Entry, now: Now, fx: &mut Fx) {
        if self.log.entry(slot) != Some(entry) {
            self.resign(now, fx);
        }
    }

    fn record_learned(&mut self, first: Slot, entries: Vec<Entry>, fx: &mut Fx) {
        if !entries.is_empty() {
            fx.persist(Record::Learned { first, entries });
        }
    }

    /// Those whose state this replica needs, and that can give it. What only the dead had executed
    /// is not lost: a quorum voted for it, and whoever is left finds that out as a leader does.
    pub(crate) fn states_ahead(&self) -> ReplicaSet {
        self.catch_up.gone.minus(self.suspected)
    }

    /// Whether others no longer have what comes next here, as long as nothing else has moved this
    /// replica on. Whether they are heard just now does not matter to a state they have sent.
    pub(crate) fn lacks_slots(&self) -> bool {
        !self.catch_up.gone.is_empty()
    }

    pub(crate) fn on_gone(&mut self, from: ReplicaId, base: Slot) {
        if base > self.chosen {
            self.catch_up.gone.insert(from);
            if !matches!(self.role, Role::Leader(_)) {
                self.role = Role::Follower;
            }
        }
    }
}
