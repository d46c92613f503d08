//! Looking after undecided instances: send again, ask, recover.
//!
//! Every instance known to exist and not committed has a time at which it is looked at. Its
//! coordinator then sends again. The others first ask around, which is all it takes after a lost
//! message; they recover it when its coordinator is suspected, or after a long time even if not.
//! Replicas are ranked per instance so that one recovers and the next ones only if it does not.

use std::hash::{Hash, Hasher};

use panchayat_consensus::{Ballot, InstanceId, Now, ReplicaId, ReplicaSet, Span, Time};
use rustc_hash::FxHasher;

use crate::accept::in_full;
use crate::attempt::Stage;
use crate::instance::Instance;
use crate::message::{Message, Proposal};
use crate::replica::{EPaxos, Fx};

/// Looks at an instance are at most 2^this times `patience` apart.
const LOOK_DOUBLINGS_MAX: u32 = 3;
/// An instance is first looked at after this many times the age at which instances are decided
/// lately...
const PATIENCE_AGES: u64 = 3;
/// ...but never after more than this many times the configured patience.
const PATIENCES_MAX: u64 = 8;
/// A live coordinator is given this many times the age at which instances are decided lately...
const RECOVERY_AGES: u64 = 4;
/// ...but never more than this many times the configured delay.
const RECOVERY_DELAYS_MAX: u64 = 64;
/// Whose last status is older than so many of their intervals is not at work.
const STATUSES_MISSED_MAX: u64 = 4;
/// A recovery is given at most 2^this times its usual time, after as many rounds of ballots.
const ROUND_DOUBLINGS_MAX: u64 = 6;

impl EPaxos {
    /// Looks after every instance whose time has come.
    pub(crate) fn attend_due(&mut self, now: Now, fx: &mut Fx) {
        if !self.members_ahead().is_empty() {
            // There may be a window full of them in every lane: no more at a time than can be asked.
            while self.may_ask(now)
                && let Some(id) = self.watch.pop_due(now.monotonic)
            {
                self.ask_only(id, now, fx);
            }
            return;
        }
        while let Some(id) = self.watch.pop_due(now.monotonic) {
            self.attend(id, now, fx);
        }
    }

    /// What a replica does that others have collected without: it learns what it still can, and
    /// takes no part in deciding anything.
    fn ask_only(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        let Some(instance) = self.lanes.get(id) else { return };
        if !instance.is_committed() && instance.look_due <= now.monotonic {
            self.ask(id, now, fx);
            let patience = self.config.timing.patience;
            self.look_at(id, now.monotonic + patience + self.jitter(id, now, patience));
        }
    }

    fn attend(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        self.decide_first_round_if_waited(id, now, fx);
        let Some(instance) = self.lanes.get_mut(id) else { return };
        if instance.is_committed() || instance.look_due > now.monotonic {
            return;
        }
        instance.looks += 1;
        let doublings = instance.looks.min(LOOK_DOUBLINGS_MAX);
        let backoff = self.config.timing.patience.times(1 << doublings);
        let later = now.monotonic + backoff + self.jitter(id, now, backoff);
        let stalled = self.attempt_stalled(id, now);
        match stalled {
            Some(false) => self.send_again(id, now, fx),
            Some(true) if self.may_recover() => self.start_recovery(id, now, fx),
            Some(true) => self.end_attempt(id),
            None => {
                self.ask_or_recover(id, later, now, fx);
                return;
            }
        }
        self.look_at(id, later);
    }

    /// Whether the own attempt has made no progress for so long that it starts over at a higher
    /// ballot; `None` without an attempt. The coordinator's own does only if it waits for members
    /// whose replies do not count any more, since they took over a state meanwhile; otherwise it
    /// sends again.
    fn attempt_stalled(&self, id: InstanceId, now: Now) -> Option<bool> {
        let attempt = self.lanes.get(id)?.attempt.as_ref()?;
        if attempt.ballot.is_initial() {
            let in_vain = matches!(&attempt.stage,
                Stage::PreAccepting(replies) if !replies.ignored.is_empty());
            let delay = self.config.timing.recovery_delay;
            let idle = now.monotonic - attempt.progress;
            return Some(in_vain && idle > Span(delay.0 + self.jitter(id, now, delay).0));
        }
        let times = if matches!(attempt.stage, Stage::Waiting(_)) { 8 } else { 2 };
        let patience = self.config.timing.patience.times(times << doublings(attempt.ballot));
        let idle = now.monotonic - attempt.progress;
        Some(idle > Span(patience.0 + self.jitter(id, now, patience).0))
    }

    /// Without a quorum in sight a recovery only burns ballots.
    fn may_recover(&self) -> bool {
        let alive = self.config.quorums.n() - self.suspected.len();
        alive >= self.config.quorums.slow()
            && self.recovering.len() < self.config.limits.recoveries_max
    }

    /// Someone else's instance, or an own one from before a restart: asks one replica after the
    /// other what it knows, and recovers the instance when its time has come. Nothing is recovered
    /// that was not asked for: after a lost message, asking is all it takes.
    fn ask_or_recover(&mut self, id: InstanceId, later: Time, now: Now, fx: &mut Fx) {
        let due = self.recovery_due(id, now);
        let Some(instance) = self.lanes.get(id) else { return };
        let (asked, unknown) = (instance.asked, instance.payload.is_none());
        let stagger = self.config.timing.stagger;
        let soon = now.monotonic + stagger + self.jitter(id, now, stagger);
        if asked > u32::from(unknown) && now.monotonic >= due && self.may_recover() {
            self.start_recovery(id, now, fx);
            self.look_at(id, later);
        } else {
            self.ask(id, now, fx);
            self.look_at(id, later.min(due.max(soon)));
        }
    }

    /// Asks one replica for `id`: first its coordinator, then the others in turn.
    fn ask(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        if !self.may_ask(now) {
            return;
        }
        self.fetched.1 += 1;
        let n = self.config.quorums.n();
        let alive = self.others().minus(self.suspected);
        let Some(instance) = self.lanes.get_mut(id) else { return };
        let turn = instance.asked as usize;
        instance.asked += 1;
        let order = (0..n).map(|at| ReplicaId(((id.replica.index() + turn + at) % n) as u8));
        let whom = order.into_iter().find(|replica| alive.contains(*replica));
        let to = whom.map_or(self.others(), ReplicaSet::only);
        self.fetch(id, to, fx);
    }

    /// Whether more may be asked for in this `stagger`.
    fn may_ask(&mut self, now: Now) -> bool {
        let (since, fetched) = &mut self.fetched;
        if now.monotonic - *since >= self.config.timing.stagger {
            (*since, *fetched) = (now.monotonic, 0);
        }
        *fetched < self.config.limits.fetches_max
    }

    fn decide_first_round_if_waited(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        let attempt = self.lanes.get(id).and_then(|instance| instance.attempt.as_ref());
        if let Some(Stage::PreAccepting(replies)) = attempt.map(|attempt| &attempt.stage)
            && replies.wait_until.is_some_and(|until| until <= now.monotonic)
        {
            self.decide_first_round(id, now, fx);
        }
    }

    /// From when on this replica may recover `id`.
    fn recovery_due(&self, id: InstanceId, now: Now) -> Time {
        let timing = &self.config.timing;
        let Some(instance) = self.lanes.get(id) else { return Time(u64::MAX) };
        let own = id.replica == self.me();
        let left_to_owner = if own || instance.hurried || self.suspected.contains(id.replica) {
            timing.patience
        } else if self.may_be_slow(id, instance, now) {
            timing.recovery_delay.times(RECOVERY_DELAYS_MAX)
        } else {
            self.delay_for_the_living()
        };
        instance.learned_at + left_to_owner + timing.stagger.times(self.rank(id) as u64)
    }

    /// Whether the payload may be so large that it is still on its way, here or elsewhere, from a
    /// coordinator that is at work: its statuses come. Decided as Nop it would only be proposed
    /// again, and be as slow again. Who has joined a recovery stands in the coordinator's way, and
    /// the one who began it may have forgotten: then waiting helps nobody.
    fn may_be_slow(&self, id: InstanceId, instance: &Instance, now: Now) -> bool {
        let collector = &self.collector;
        let heard_at = collector.heard_at[id.replica.index()];
        let lately = self.config.timing.status_interval.times(STATUSES_MISSED_MAX);
        instance.ballot.is_initial()
            && (instance.payload.is_none() || self.is_large(instance))
            && heard_at.is_some_and(|at| now.monotonic - at <= lately)
            && !collector.absent.contains(id.replica)
    }

    /// How long an instance is left to a coordinator that seems alive: several times as long as
    /// instances have taken lately, so that slow disks and load spikes are not taken for death.
    /// Recovering too early would turn the slow into Nops, proposed again and recovered again.
    fn delay_for_the_living(&self) -> Span {
        let configured = self.config.timing.recovery_delay;
        let lately = self.commit_age.times(RECOVERY_AGES);
        lately.max(configured).min(configured.times(RECOVERY_DELAYS_MAX))
    }

    /// How long an instance is left alone at first. Where everything takes long, because there is
    /// more to do than can be done at once, nothing is lost and sending again would only add to it.
    pub(crate) fn patience(&self) -> Span {
        let configured = self.config.timing.patience;
        let lately = self.commit_age.times(PATIENCE_AGES);
        lately.max(configured).min(configured.times(PATIENCES_MAX))
    }

    /// An instance was decided: how long that took counts towards what is usual.
    pub(crate) fn note_commit_age(&mut self, learned_at: Time, now: Now) {
        let age = now.monotonic - learned_at;
        self.commit_age = Span((self.commit_age.0 * 7 + age.0) / 8);
    }

    /// How many replicas that seem alive come before this one: first the coordinator itself, then
    /// the seats after it in turn.
    fn rank(&self, id: InstanceId) -> usize {
        let n = self.config.quorums.n();
        let distance = |replica: ReplicaId| (replica.index() + n - id.replica.index()) % n;
        let mine = distance(self.me());
        let alive = ReplicaSet::all(n).minus(self.suspected);
        alive.iter().filter(|replica| distance(*replica) < mine).count()
    }

    /// Somebody else is recovering `id`: time for them to finish, the more the longer the replicas
    /// have been outbidding each other.
    pub(crate) fn leave_to_other(&mut self, id: InstanceId, now: Now) {
        let Some(instance) = self.lanes.get(id) else { return };
        let refused_with = self.refused_with.get(&id).copied().unwrap_or(instance.ballot);
        let doublings = doublings(instance.ballot.max(refused_with));
        let timing = self.config.timing;
        let turn = timing.patience.0 * 2 + timing.stagger.times(self.rank(id) as u64 + 1).0;
        let wait = Span(turn << doublings);
        self.look_at(id, now.monotonic + wait + self.jitter(id, now, wait));
    }

    /// Something waits for `id` to be decided: looks at it soon, and recovers it in turn.
    pub(crate) fn hurry(&mut self, id: InstanceId, now: Now) {
        let stagger = self.config.timing.stagger;
        let soon = now.monotonic + stagger.times(self.rank(id) as u64 + 1);
        let Some(instance) = self.lanes.get_mut(id) else { return };
        if instance.is_committed() || instance.attempt.is_some() || instance.look_due <= soon {
            return;
        }
        instance.hurried = true;
        self.look_at(id, soon);
    }

    fn look_at(&mut self, id: InstanceId, due: Time) {
        if let Some(instance) = self.lanes.get_mut(id) {
            instance.look_due = due;
            self.watch.at(due, id);
        }
    }

    /// A part of `span` that differs between replicas, instances and moments, and is the same in
    /// every run.
    fn jitter(&self, id: InstanceId, now: Now, span: Span) -> Span {
        let mut hasher = FxHasher::default();
        (self.config.seed, id, now.monotonic).hash(&mut hasher);
        let half = u128::from(span.0 / 2);
        Span(((u128::from(hasher.finish()) * half) >> 64) as u64)
    }

    /// Sends the current message of the own attempt to whoever has not answered it.
    fn send_again(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        let others = self.others();
        let Some(instance) = self.lanes.get(id) else { return };
        let Some(attempt) = &instance.attempt else { return };
        let ballot = attempt.ballot;
        let mut hurried = Vec::new();
        let (to, message) = match &attempt.stage {
            Stage::PreAccepting(replies) => {
                let (Some(command), Some(deps)) = (&instance.payload, &instance.init_deps) else {
                    return;
                };
                let (command, deps) = (command.clone(), deps.clone());
                (others.minus(replies.replies), Message::PreAccept { id, command, deps })
            }
            Stage::Accepting { votes, .. } => {
                let value =
                    instance.value().filter(|value| value.is_nop() || !self.is_large(instance));
                let value = value.map_or(Proposal::Original, in_full);
                let deps = instance.deps.clone();
                (others.minus(*votes), Message::Accept { ballot, id, value, deps })
            }
            Stage::Recovering { reports } => {
                let heard: ReplicaSet = reports.iter().map(|(replica, _)| *replica).collect();
                (others.minus(heard), Message::Recover { ballot, id })
            }
            Stage::Validating(validation) => {
                let (command, deps) = (validation.command.clone(), validation.deps.clone());
                let to = validation.quorum.minus(validation.replies).without(self.me());
                (to, Message::Validate { ballot, id, command, deps })
            }
            Stage::Waiting(validation) => {
                hurried.extend(validation.invalidators.keys().copied());
                (others, Message::Waiting { id, endorsers: validation.endorsers as u8 })
            }
        };
        self.counters.retransmissions += to.len() as u64;
        fx.send(to, message, instance.recorded);
        for other in hurried {
            self.hurry(other, now);
        }
    }
}

/// How often the time for a recovery is doubled: once per round of ballots after the first.
fn doublings(ballot: Ballot) -> u64 {
    ballot.round().saturating_sub(1).min(ROUND_DOUBLINGS_MAX)
}
