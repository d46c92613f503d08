//! Being the coordinator: being heard, noticing that one is not, and noticing that nothing moves.

use std::collections::{BTreeMap, BTreeSet};

use panchayat_consensus::{After, Ballot, Now, ReplicaId, ReplicaSet, Slot, Time};

use crate::entry::{Entry, Key};
use crate::message::{Message, Progress};
use crate::mode::Mode;
use crate::replica::{FastPaxos, Fx, Role};
use crate::survey::Survey;

/// A member whose process is heard may leave the coordinator unanswered for this many election
/// timeouts before it counts as out of reach.
const BUSY_TIMEOUTS: u64 = 4;
/// Sending again is at most 2^this times the patience apart.
const RESEND_DOUBLINGS_MAX: u32 = 3;
/// Most slots sent again at once.
const RESENT_MAX: usize = 256;

/// What a coordinator knows.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Coordinator {
    pub(crate) ballot: Ballot,
    /// Every slot up to here has its value in the classic round, or is closed to the fast one.
    pub(crate) proposed: Slot,
    /// The values proposed in the classic round, above the executed slots.
    pub(crate) settled: BTreeMap<Slot, Entry>,
    /// The commands among them.
    pub(crate) settled_keys: BTreeMap<Key, Slot>,
    /// Those of them that were not sent yet.
    pub(crate) unsent: Vec<Slot>,
    /// Slots that votes came for since collisions were last looked for.
    pub(crate) touched: BTreeSet<Slot>,
    /// Slots settled because of collisions, since one was chosen in a fast round.
    pub(crate) in_row: u32,
    /// Commands that lost a slot.
    pub(crate) losers: BTreeSet<Key>,
    /// A stretch of the log being closed.
    pub(crate) closing: Option<Survey>,
    heartbeat_due: Time,
    /// Per member, when it was last heard to follow.
    pub(crate) heard: Vec<Time>,
    /// What was executed when that last changed.
    moved: Slot,
    retries: u32,
    retry_due: Time,
}

impl Coordinator {
    pub(crate) fn new(ballot: Ballot, n: usize, now: Now) -> Self {
        Self {
            ballot,
            proposed: 0,
            settled: BTreeMap::new(),
            settled_keys: BTreeMap::new(),
            unsent: Vec::new(),
            touched: BTreeSet::new(),
            in_row: 0,
            losers: BTreeSet::new(),
            closing: None,
            heartbeat_due: now.monotonic,
            heard: vec![now.monotonic; n],
            moved: 0,
            retries: 0,
            retry_due: now.monotonic,
        }
    }

    pub(crate) fn executed(&mut self, slot: Slot) {
        if let Some(Entry::Command(submission)) = self.settled.remove(&slot) {
            let key = submission.key();
            if self.settled_keys.get(&key) == Some(&slot) {
                self.settled_keys.remove(&key);
            }
        }
        self.touched.remove(&slot);
    }

    pub(crate) fn due(&self) -> Time {
        let closing = self.closing.as_ref().map_or(self.heartbeat_due, |survey| survey.resend_due);
        self.heartbeat_due.min(closing).min(self.retry_due.max(Time(1)))
    }
}

impl FastPaxos {
    pub(crate) fn beat(&mut self, now: Now, fx: &mut Fx) {
        let interval = self.config.timing.heartbeat_interval;
        let Role::Coordinator(coordinator) = &mut self.role else { return };
        coordinator.heartbeat_due = now.monotonic + interval;
        let message = Message::Heartbeat {
            ballot: coordinator.ballot,
            mode: self.fast.mode,
            fast_from: self.fast.from,
            closed: self.fast.closed,
            progress: self.own_progress(),
        };
        self.send(self.others(), message, After::NOTHING, fx);
    }

    pub(crate) fn attend_coordinator(&mut self, now: Now, fx: &mut Fx) {
        let Role::Coordinator(coordinator) = &self.role else { return };
        if coordinator.heartbeat_due <= now.monotonic {
            if !self.is_heard(now) {
                self.resign(now, fx);
                return;
            }
            self.beat(now, fx);
        }
        self.attend_mode(now, fx);
        self.attend_alignment(now, fx);
        self.attend_survey(now, fx);
        self.attend_stuck(now, fx);
    }

    /// Members that answer, this one included; those merely busy count as `patient` says.
    pub(crate) fn answering(&self, now: Now, patient: bool) -> usize {
        self.others().iter().filter(|member| self.answers(*member, now, patient)).count() + 1
    }

    /// Whether another member answers this coordinator.
    pub(crate) fn answers(&self, member: ReplicaId, now: Now, patient: bool) -> bool {
        let Role::Coordinator(coordinator) = &self.role else { return false };
        let suspected = self.suspected.contains(member);
        let times = if suspected || !patient { 1 } else { BUSY_TIMEOUTS };
        let timeout = self.config.timing.election_timeout.times(times);
        let recent = now.monotonic < coordinator.heard[member.index()] + timeout;
        recent && (patient || !suspected)
    }

    /// Whether enough members answer for anything to be settled.
    fn is_heard(&self, now: Now) -> bool {
        let quorums = self.config.quorums;
        self.answering(now, true) >= quorums.classic().max(quorums.q1())
    }

    /// Stops coordinating and says so, so that others need not find out.
    pub(crate) fn resign(&mut self, now: Now, fx: &mut Fx) {
        let Role::Coordinator(coordinator) = &self.role else { return };
        let ballot = coordinator.ballot;
        self.counters.resigned += 1;
        self.stand_aside(now);
        self.send(self.others(), Message::Resign { ballot }, After::NOTHING, fx);
    }

    /// A member was heard to follow at `ballot`.
    pub(crate) fn note_heard(&mut self, from: ReplicaId, ballot: Ballot, now: Now) {
        if let Role::Coordinator(coordinator) = &mut self.role
            && coordinator.ballot == ballot
        {
            coordinator.heard[from.index()] = now.monotonic;
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(crate) fn on_heartbeat(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        mode: Mode,
        fast_from: Slot,
        closed: Slot,
        progress: Progress,
        now: Now,
        fx: &mut Fx,
    ) {
        // One that was overtaken on its way says less.
        if fast_from >= self.fast.from {
            self.fast.mode = mode;
        }
        let opened = fast_from > 0 && self.fast.from == 0;
        self.fast.from = self.fast.from.max(fast_from);
        self.fast.cursor = self.fast.cursor.max(closed + 1);
        let progress_here = self.own_progress();
        let answer = Message::HeartbeatOk { ballot, progress: progress_here };
        self.send(ReplicaSet::only(from), answer, self.promise, fx);
        self.note_progress(from, progress);
        self.take_word(ballot, progress.chosen, now, fx);
        if opened || self.standing.news {
            self.standing.news = false;
            self.give_all(now, fx);
        }
    }

    /// Proposes `entry` in the classic round of `slot`, which nothing forbids. If something else is
    /// chosen there, a later coordinator did that, and nothing comes of proposals here.
    pub(crate) fn settle(&mut self, slot: Slot, entry: Entry) {
        let decided = self.log.get(slot).and_then(|state| state.decided);
        let Role::Coordinator(coordinator) = &mut self.role else { return };
        let ballot = coordinator.ballot;
        if decided.is_some_and(|decided| decided != entry.name()) {
            coordinator.proposed = coordinator.proposed.max(slot);
            return;
        }
        assert!(!coordinator.settled.contains_key(&slot), "slot {slot} settled twice");
        if let Some(submission) = entry.submission() {
            coordinator.settled_keys.insert(submission.key(), slot);
        }
        coordinator.settled.insert(slot, entry.clone());
        coordinator.proposed = coordinator.proposed.max(slot);
        coordinator.unsent.push(slot);
        let round = crate::round::Round::classic(ballot);
        self.counters.classic_votes += 1;
        self.cast_vote(slot, round, entry);
    }

    /// Sends what was settled in this step. It promises nothing: the ballot is this run's own, and
    /// the coordinator's vote goes its own way when it is durable.
    pub(crate) fn send_accepts(&mut self, fx: &mut Fx) {
        let Role::Coordinator(coordinator) = &mut self.role else { return };
        let unsent = std::mem::take(&mut coordinator.unsent);
        self.send_settled(self.others(), unsent, fx);
    }

    fn send_settled(&self, to: ReplicaSet, mut slots: Vec<Slot>, fx: &mut Fx) {
        let Role::Coordinator(coordinator) = &self.role else { return };
        slots.sort_unstable();
        let mut run: (Slot, Vec<Entry>) = (0, Vec::new());
        let mut bytes = 0;
        let ballot = coordinator.ballot;
        let settled = slots.into_iter().filter_map(|s| Some((s, coordinator.settled.get(&s)?)));
        for (slot, entry) in settled {
            let (first, entries) = &mut run;
            let goes_on = *first + entries.len() as u64 == slot
                && bytes + entry.bytes() <= self.config.limits.batch_bytes_max;
            if !goes_on {
                let (first, entries) = std::mem::replace(&mut run, (slot, Vec::new()));
                if !entries.is_empty() {
                    let message = Message::Accept { ballot, first, entries };
                    self.send(to, message, After::NOTHING, fx);
                }
                bytes = 0;
            }
            bytes += entry.bytes();
            run.1.push(entry.clone());
        }
        let (first, entries) = run;
        if !entries.is_empty() {
            self.send(to, Message::Accept { ballot, first, entries }, After::NOTHING, fx);
        }
    }

    /// The highest slot that anybody voted in, as far as that is known here.
    pub(crate) fn highest_voted(&self) -> Slot {
        let heard = self.log.above(self.chosen).filter(|(_, state)| {
            state.vote.is_some() || !state.votes.is_empty() || state.decided.is_some()
        });
        let heard = heard.map(|(slot, _)| slot).last().unwrap_or(self.chosen);
        let said = self.others().iter().map(|replica| self.progress[replica.index()].highest);
        said.fold(heard, Slot::max).min(self.reach())
    }

    /// If slots wait and nothing was executed for a while: votes are missing. What was settled is
    /// sent again, and what was not is closed and settled without the votes that are missing, or
    /// filled.
    fn attend_stuck(&mut self, now: Now, fx: &mut Fx) {
        let (chosen, timing) = (self.chosen, self.config.timing);
        let Role::Coordinator(coordinator) = &mut self.role else { return };
        if coordinator.moved != chosen {
            coordinator.moved = chosen;
            coordinator.retries = 0;
            coordinator.retry_due = now.monotonic + timing.settle_delay;
        }
        if now.monotonic < coordinator.retry_due {
            return;
        }
        coordinator.retry_due = now.monotonic + timing.settle_delay;
        let highest = self.highest_voted();
        let Role::Coordinator(coordinator) = &mut self.role else { return };
        if highest <= chosen {
            // What comes next has its whole time.
            coordinator.retries = 0;
            return;
        }
        if coordinator.retries == 0 {
            // It may have begun only just now.
            coordinator.retries = 1;
            return;
        }
        let doublings = (coordinator.retries - 1).min(RESEND_DOUBLINGS_MAX);
        coordinator.retries += 1;
        coordinator.retry_due = now.monotonic + timing.settle_delay.times(1 << doublings);
        let settled = coordinator.settled.keys().copied().take(RESENT_MAX);
        let slots: Vec<Slot> = settled.filter(|slot| *slot > chosen).collect();
        let is_open = coordinator.closing.is_none() && self.fast.from > 0;
        let unsettled = (chosen + 1..=highest).any(|slot| {
            let chosen = self.log.chosen(slot).is_some();
            let Role::Coordinator(coordinator) = &self.role else { return false };
            !chosen && !coordinator.settled.contains_key(&slot)
        });
        self.counters.retransmissions += slots.len() as u64;
        // The own votes may have been lost as well, and without them there may be no quorum.
        for slot in &slots {
            self.repeat_vote(self.others(), *slot, fx);
        }
        self.send_settled(self.others(), slots, fx);
        if is_open && unsettled {
            self.counters.closed_missing += 1;
            self.start_close(highest, now, fx);
        } else if self.fast.from == 0 {
            self.fill_upto(highest);
        }
    }

    /// In classic rounds: somebody voted beyond every slot this coordinator has used, in an earlier
    /// ballot and unseen by those who promised this one. Nothing there is chosen, nothing comes to
    /// it by itself, and its voter cannot be rid of it: it becomes Nop.
    fn fill_upto(&mut self, highest: Slot) {
        let Role::Coordinator(coordinator) = &self.role else { return };
        if coordinator.closing.is_some() {
            return;
        }
        let first = coordinator.proposed.max(self.chosen) + 1;
        for slot in (first..=highest).take(RESENT_MAX) {
            self.settle(slot, Entry::Nop);
        }
    }
}
