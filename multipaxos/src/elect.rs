//! When to stand for leader.
//!
//! A leader is gone when it was silent for the election timeout *and* the failure detector, which
//! listens below the queues, does not hear its process either; or when it was silent for several
//! times as long, process or not. So a load under which messages wait does not cost the leader its
//! place. A replica first asks whether others would help it (the pre-vote): one that was cut off
//! asks in vain, and comes back without having raised any ballot. And time in which it did not run
//! itself, stopped or starved of its processor, it holds against nobody.

use panchayat_consensus::{After, Ballot, Now, ReplicaId, ReplicaSet, Slot, Time};

use crate::config::Placement;
use crate::message::Message;
use crate::replica::{Fx, MultiPaxos, Role};

/// A leader whose process is heard may be silent for this many election timeouts.
const BUSY_TIMEOUTS: u64 = 8;
/// The wait after failing to be elected doubles this often.
const BACKOFF_DOUBLINGS_MAX: u32 = 4;
/// Who runs later than it asked to by more than this part of the election timeout was absent. A
/// little late is everyone now and then, and it may not put off an election for ever.
const ABSENCE_PART: u64 = 2;

/// When this replica last heard a leader, and when it stands.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Standing {
    /// When a leader was heard, or a candidate was given its chance.
    heard_at: Time,
    /// Until when this replica helps nobody else.
    quiet_until: Time,
    /// When to stand, or to stand again.
    pub(crate) due: Time,
    /// How often that failed in a row.
    pub(crate) failures: u32,
}

impl Standing {
    pub(crate) fn new(now: Now) -> Self {
        let now = now.monotonic;
        Self { heard_at: now, quiet_until: now, due: now, failures: 0 }
    }
}

impl MultiPaxos {
    /// The order in which replicas should lead.
    fn ranking(&self) -> impl Iterator<Item = ReplicaId> {
        let named: &[ReplicaId] = match &self.config.placement {
            Placement::Ranked(replicas) => replicas,
            Placement::Pinned(replica) => std::slice::from_ref(replica),
        };
        let seats = ReplicaSet::all(self.config.quorums.n());
        let rest = seats.iter().filter(|replica| !named.contains(replica));
        named.iter().copied().chain(rest)
    }

    /// How many replicas that seem alive should rather lead.
    fn rank(&self) -> u64 {
        let better = self.ranking().take_while(|replica| *replica != self.me());
        better.filter(|replica| !self.suspected.contains(*replica)).count() as u64
    }

    /// At birth the first in rank stands at once. After a restart there may be a leader.
    pub(crate) fn first_standing(&mut self, now: Now) {
        if self.run > 1 {
            self.give_time(now);
        } else if self.rank() > 0 {
            self.stand_later(now);
        }
    }

    /// A leader was heard, or a candidate promised: it has its time.
    pub(crate) fn give_time(&mut self, now: Now) {
        self.standing.heard_at = now.monotonic;
        self.standing.quiet_until = now.monotonic + self.config.timing.election_timeout;
        self.stand_later(now);
    }

    fn stand_later(&mut self, now: Now) {
        let timing = self.config.timing;
        let stagger = timing.stagger.times(self.rank());
        // The same throughout a run: this is called for every message of a leader.
        let jitter = self.jitter(timing.stagger, Now { monotonic: Time(0), ..now });
        let due = now.monotonic + timing.election_timeout + stagger + jitter;
        self.standing.due = due;
    }

    fn back_off(&mut self, now: Now) {
        self.standing.failures += 1;
        let doublings = self.standing.failures.min(BACKOFF_DOUBLINGS_MAX);
        let wait = self.config.timing.patience.times(1 << doublings);
        self.standing.due = now.monotonic + wait + self.jitter(wait, now);
    }

    /// If this replica comes to run long after it asked to, what others said meanwhile still waits
    /// in its queues: it goes on as if no time had passed.
    pub(crate) fn note_absence(&mut self, now: Now) {
        let late = now.monotonic - self.step_due;
        if late.0 <= self.config.timing.election_timeout.0 / ABSENCE_PART {
            return;
        }
        self.counters.absences += 1;
        let Standing { heard_at, quiet_until, due, .. } = &mut self.standing;
        for time in [heard_at, quiet_until, due] {
            *time = *time + late;
        }
        if let Role::Leader(leadership) = &mut self.role {
            leadership.forgive(late);
        }
    }

    /// Whether there is no leader, as far as this replica can tell.
    pub(crate) fn leader_is_gone(&self, now: Now) -> bool {
        let busy = self.config.timing.election_timeout.times(BUSY_TIMEOUTS);
        match (&self.role, self.following.and_then(Ballot::owner)) {
            (Role::Leader(_), _) => false,
            _ if now.monotonic < self.standing.quiet_until => false,
            (_, None) => true,
            (_, Some(leader)) => {
                self.suspected.contains(leader) || now.monotonic >= self.standing.heard_at + busy
            }
        }
    }

    /// A message of the leader at `ballot`; false if it leads no longer, and was told so.
    pub(crate) fn hear_leader(
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
            self.give_all_to_leader(now, fx);
        }
        self.give_time(now);
        true
    }

    pub(crate) fn refuse(&mut self, to: ReplicaId, ballot: Ballot, fx: &mut Fx) {
        self.counters.refusals += 1;
        let message = Message::Refused { ballot, promised: self.promised };
        self.send(ReplicaSet::only(to), message, After::NOTHING, fx);
    }

    /// Stops leading, or trying to.
    pub(crate) fn step_down(&mut self, now: Now) {
        if !matches!(self.role, Role::Follower) {
            self.role = Role::Follower;
            self.give_time(now);
        }
    }

    /// When the current role has something to do.
    pub(crate) fn role_due(&self) -> Time {
        match &self.role {
            Role::Leader(leadership) => leadership.due(self.chosen),
            Role::Candidate(candidacy) => candidacy.resend_due.min(self.standing.due),
            Role::Follower | Role::Asking(..) => self.standing.due,
        }
    }

    pub(crate) fn attend_election(&mut self, now: Now, fx: &mut Fx) {
        match &self.role {
            Role::Leader(_) => {}
            Role::Candidate(_) if now.monotonic >= self.standing.due => {
                self.role = Role::Follower;
                self.back_off(now);
            }
            Role::Candidate(_) => self.prepare_again(now, fx),
            _ if now.monotonic < self.standing.due => {}
            Role::Asking(..) => {
                self.role = Role::Follower;
                self.back_off(now);
                self.ask_votes(now, fx);
            }
            Role::Follower if self.leader_is_gone(now) && self.may_win() => {
                let wait = self.config.timing.patience;
                self.standing.due = now.monotonic + wait + self.jitter(wait, now);
                self.ask_votes(now, fx);
            }
            Role::Follower => {
                self.standing.due = now.monotonic + self.config.timing.heartbeat_interval;
            }
        }
    }

    /// Tries to lead at once, without asking whether others would help and whoever leads now. Only a
    /// lease stands against it. For operators and models; elections need nobody to call it.
    pub fn stand(&mut self, now: Now, effects: &mut Fx) {
        if self.is_leader() || !self.states_ahead().is_empty() {
            return;
        }
        let ballot = self.seen.max(self.promised).next_for(self.me());
        self.prepare(ballot, Ballot::INITIAL, now, effects);
        self.count_own(now, effects);
        self.send_accepts(effects);
        self.ask_for_wake(effects);
    }

    /// Without a quorum in sight, or without the state a leader needs, asking is vain.
    fn may_win(&self) -> bool {
        let alive = self.config.quorums.n() - self.suspected.len();
        alive >= self.config.quorums.q1() && self.states_ahead().is_empty()
    }

    /// The pre-vote.
    fn ask_votes(&mut self, now: Now, fx: &mut Fx) {
        if !self.leader_is_gone(now) || !self.may_win() {
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
        if self.following.is_some_and(|led| led.owner() == Some(from) && led < ballot) {
            // Who asks for help leads no longer: it has restarted, or stood aside unheard. Should this be
            // a word from before it led, its next heartbeat mends that; a lease stays as it is.
            self.following = None;
            self.standing.quiet_until = now.monotonic;
        }
        if ballot < self.promised {
            self.refuse(from, ballot, fx);
        } else if ballot > self.promised && self.leader_is_gone(now) && chosen >= self.log.base() {
            if self.grant_forbids(ballot, Ballot::INITIAL, now) {
                self.counters.held_by_lease += 1;
                return;
            }
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
                self.prepare(ballot, Ballot::INITIAL, now, fx);
            }
        }
    }

    pub(crate) fn on_refused(&mut self, ballot: Ballot, promised: Ballot, now: Now, fx: &mut Fx) {
        if !self.is_near(promised) || promised <= ballot {
            return;
        }
        self.seen = self.seen.max(promised);
        match &self.role {
            Role::Leader(leadership) if leadership.ballot == ballot => {
                // Somebody left for a higher ballot. If that one leads, it will be heard, and the
                // others will not help this replica; if not, it takes a new ballot to go on.
                self.resign(now, fx);
                self.standing.due = now.monotonic + self.jitter(self.config.timing.stagger, now);
            }
            Role::Candidate(candidacy) if candidacy.ballot == ballot => {
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

    /// The leader at `ballot` says that it leads no longer.
    pub(crate) fn on_resign(&mut self, ballot: Ballot, now: Now) {
        self.release(ballot);
        if self.following == Some(ballot) {
            self.following = None;
            self.stand_later(now);
            self.standing.quiet_until = now.monotonic;
        }
    }

    /// This replica led, and does no longer: it helps whoever stands.
    pub(crate) fn stand_aside(&mut self, now: Now) {
        self.role = Role::Follower;
        self.following = None;
        self.stand_later(now);
        self.standing.quiet_until = now.monotonic;
    }

    /// Whether a ballot is one that replicas outbidding each other can have come to. One from far
    /// ahead would use up the rounds there are.
    pub(crate) fn is_near(&self, ballot: Ballot) -> bool {
        ballot.round() <= self.seen.round() + crate::replica::ROUNDS_AHEAD_MAX
    }
}
