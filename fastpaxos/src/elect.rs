//! When to stand for coordinator.
//!
//! Commands go on without one as long as nothing collides, but nothing that went wrong is put
//! right. A coordinator is gone when it was silent for the election timeout *and* the failure
//! detector does not hear its process either; or when it was silent for several times as long,
//! process or not. A replica first asks whether others would help it (the pre-vote): one that was
//! cut off asks in vain, and comes back without having raised any ballot.

use panchayat_consensus::{After, Ballot, Now, ReplicaId, ReplicaSet, Slot, Time};

use crate::message::Message;
use crate::replica::{FastPaxos, Fx, Role};

/// A coordinator whose process is heard may be silent for this many election timeouts.
const BUSY_TIMEOUTS: u64 = 8;
/// The wait after failing to be elected doubles this often.
const BACKOFF_DOUBLINGS_MAX: u32 = 4;

/// When this replica last heard a coordinator, and when it stands.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Standing {
    /// When a coordinator was heard, or a candidate was given its chance.
    heard_at: Time,
    /// Until when this replica helps nobody else.
    quiet_until: Time,
    /// When to stand, or to stand again.
    pub(crate) due: Time,
    /// How often that failed in a row.
    pub(crate) failures: u32,
    /// A new coordinator was heard, and what it does was not.
    pub(crate) news: bool,
}

impl Standing {
    pub(crate) fn new(now: Now) -> Self {
        let now = now.monotonic;
        Self { heard_at: now, quiet_until: now, due: now, failures: 0, news: false }
    }
}

impl FastPaxos {
    /// How many replicas that seem alive should rather coordinate.
    fn rank(&self) -> u64 {
        let ranking = &self.config.ranking;
        let seats = ReplicaSet::all(self.config.quorums.n());
        let rest = seats.iter().filter(|replica| !ranking.contains(replica));
        let order = ranking.iter().copied().chain(rest);
        let better = order.take_while(|replica| *replica != self.me());
        better.filter(|replica| !self.suspected.contains(*replica)).count() as u64
    }

    /// At birth the first in rank stands at once. After a restart there may be a coordinator.
    pub(crate) fn first_standing(&mut self, now: Now) {
        if self.run > 1 {
            self.give_time(now);
        } else if self.rank() > 0 {
            self.stand_later(now);
        }
    }

    /// A coordinator was heard, or a candidate promised: it has its time.
    pub(crate) fn give_time(&mut self, now: Now) {
        self.standing.heard_at = now.monotonic;
        self.standing.quiet_until = now.monotonic + self.config.timing.election_timeout;
        self.stand_later(now);
    }

    fn stand_later(&mut self, now: Now) {
        let timing = self.config.timing;
        let stagger = timing.stagger.times(self.rank());
        // The same throughout a run: this is called for every message of a coordinator.
        let jitter = self.jitter(timing.stagger, Now { monotonic: Time(0), ..now });
        self.standing.due = now.monotonic + timing.election_timeout + stagger + jitter;
    }

    fn back_off(&mut self, now: Now) {
        self.standing.failures += 1;
        let doublings = self.standing.failures.min(BACKOFF_DOUBLINGS_MAX);
        let wait = self.config.timing.patience.times(1 << doublings);
        self.standing.due = now.monotonic + wait + self.jitter(wait, now);
    }

    /// Whether there is no coordinator, as far as this replica can tell.
    fn coordinator_is_gone(&self, now: Now) -> bool {
        let busy = self.config.timing.election_timeout.times(BUSY_TIMEOUTS);
        match (&self.role, self.following.and_then(Ballot::owner)) {
            (Role::Coordinator(_), _) => false,
            _ if now.monotonic < self.standing.quiet_until => false,
            (_, None) => true,
            (_, Some(owner)) => {
                self.suspected.contains(owner) || now.monotonic >= self.standing.heard_at + busy
            }
        }
    }

    /// A message of the coordinator at `ballot`; false if it coordinates no longer, and was told.
    pub(crate) fn hear_coordinator(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        now: Now,
        fx: &mut Fx,
    ) -> bool {
        if ballot < self.promised {
            self.refuse(from, ballot, fx);
            return false;
        }
        self.join(ballot, now, fx);
        if self.following != Some(ballot) {
            self.step_down(now);
            self.following = Some(ballot);
            self.standing.failures = 0;
            self.standing.news = true;
        }
        self.give_time(now);
        true
    }

    pub(crate) fn refuse(&mut self, to: ReplicaId, ballot: Ballot, fx: &mut Fx) {
        self.counters.refusals += 1;
        let message = Message::Refused { ballot, promised: self.promised };
        self.send(ReplicaSet::only(to), message, After::NOTHING, fx);
    }

    /// Stops coordinating, or trying to.
    pub(crate) fn step_down(&mut self, now: Now) {
        if !matches!(self.role, Role::Follower) {
            self.role = Role::Follower;
            self.give_time(now);
        }
    }

    /// When the current role has something to do.
    pub(crate) fn role_due(&self) -> Time {
        match &self.role {
            Role::Coordinator(coordinator) => coordinator.due(),
            Role::Candidate(survey) => survey.resend_due.min(self.standing.due),
            Role::Follower | Role::Asking(..) => self.standing.due,
        }
    }

    pub(crate) fn attend_election(&mut self, now: Now, fx: &mut Fx) {
        match &self.role {
            Role::Coordinator(_) => {}
            Role::Candidate(_) if now.monotonic >= self.standing.due => {
                self.role = Role::Follower;
                self.back_off(now);
            }
            Role::Candidate(_) => self.attend_survey(now, fx),
            _ if now.monotonic < self.standing.due => {}
            Role::Asking(..) => {
                self.role = Role::Follower;
                self.back_off(now);
                self.ask_votes(now, fx);
            }
            Role::Follower if self.coordinator_is_gone(now) && self.may_win() => {
                let wait = self.config.timing.patience;
                self.standing.due = now.monotonic + wait + self.jitter(wait, now);
                self.ask_votes(now, fx);
            }
            Role::Follower => {
                self.standing.due = now.monotonic + self.config.timing.heartbeat_interval;
            }
        }
    }

    /// Without a quorum in sight, or while a state is to be had that a coordinator needs, asking is
    /// vain.
    fn may_win(&self) -> bool {
        let alive = self.config.quorums.n() - self.suspected.len();
        alive >= self.config.quorums.q1() && self.needs_no_state()
    }

    /// The pre-vote.
    fn ask_votes(&mut self, now: Now, fx: &mut Fx) {
        if !self.coordinator_is_gone(now) || !self.may_win() {
            return;
        }
        self.counters.pre_votes += 1;
        let ballot = self.seen.max(self.promised).next_for(self.me());
        self.role = Role::Asking(ballot, ReplicaSet::EMPTY);
        let message = Message::PreVote { ballot, chosen: self.chosen };
        self.send(self.others(), message, After::NOTHING, fx);
        self.on_pre_vote_ok(self.me(), ballot, now, fx);
    }

    pub(crate) fn on_pre_vote(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        chosen: Slot,
        now: Now,
        fx: &mut Fx,
    ) {
        if ballot < self.promised {
            self.refuse(from, ballot, fx);
        } else if ballot > self.promised
            && self.coordinator_is_gone(now)
            && chosen >= self.log.base()
        {
            let to = ReplicaSet::only(from);
            self.send(to, Message::PreVoteOk { ballot }, After::NOTHING, fx);
        }
    }

    pub(crate) fn on_pre_vote_ok(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        now: Now,
        fx: &mut Fx,
    ) {
        let Role::Asking(asked, yes) = &mut self.role else { return };
        if *asked == ballot {
            yes.insert(from);
            if yes.len() >= self.config.quorums.q1() {
                self.prepare(ballot, now, fx);
            }
        }
    }

    pub(crate) fn on_refused(&mut self, ballot: Ballot, promised: Ballot, now: Now, fx: &mut Fx) {
        if !self.is_near(promised) || promised <= ballot {
            return;
        }
        self.seen = self.seen.max(promised);
        match &self.role {
            Role::Coordinator(coordinator) if coordinator.ballot == ballot => {
                // Somebody left for a higher ballot. If that one's owner coordinates, it will be
                // heard, and the others will not help this replica; if not, a new ballot goes on.
                self.resign(now, fx);
                self.standing.due = now.monotonic + self.jitter(self.config.timing.stagger, now);
            }
            Role::Candidate(survey) if survey.ballot == ballot => {
                self.role = Role::Follower;
                self.back_off(now);
            }
            Role::Asking(asked, _) if *asked == ballot => {
                let soon = now.monotonic + self.jitter(self.config.timing.stagger, now);
                self.standing.due = self.standing.due.min(soon);
            }
            _ => {}
        }
    }

    /// The coordinator at `ballot` says that it is one no longer.
    pub(crate) fn on_resign(&mut self, ballot: Ballot, now: Now) {
        if self.following == Some(ballot) {
            self.following = None;
            self.stand_later(now);
            self.standing.quiet_until = now.monotonic;
        }
    }

    /// This replica coordinated, and does no longer: it helps whoever stands.
    pub(crate) fn stand_aside(&mut self, now: Now) {
        self.role = Role::Follower;
        self.following = None;
        self.stand_later(now);
        self.standing.quiet_until = now.monotonic;
    }
}
