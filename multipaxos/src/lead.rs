//! Being the leader: being heard, noticing that one is not, and handing over.

use std::collections::{BTreeSet, VecDeque};

use panchayat_consensus::{After, Ballot, Now, ReplicaId, ReplicaSet, Slot, Span, Time, WallTime};

use crate::config::{Limits, Placement};
use crate::entry::Entry;
use crate::lease::Grant;
use crate::message::{Message, Progress};
use crate::mutation::Mutation;
use crate::read::Confirm;
use crate::replica::{Fx, MultiPaxos, Role};

/// A member whose process is heard may leave the leader unanswered for this many election
/// timeouts before it counts as out of reach.
const BUSY_TIMEOUTS: u64 = 4;
/// Most gaps filled at once.
const FILLED_MAX: u64 = 1024;

/// What a leader knows.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Leadership {
    pub(crate) ballot: Ballot,
    /// The highest slot given a value. Every slot above the executed ones up to here has one.
    pub(crate) proposed: Slot,
    /// Own votes up to here are durable...
    pub(crate) durable: Slot,
    /// ...and up to here were sent.
    pub(crate) sent: Slot,
    /// Bytes in slots proposed and not executed.
    pub(crate) bytes: usize,
    /// Commands in those slots.
    pub(crate) in_log: BTreeSet<(ReplicaId, u64)>,
    /// The time given to the last command; grows along the log.
    pub(crate) proposed_at: WallTime,
    heartbeat_due: Time,
    /// Per member, when the last heartbeat was sent that it answered.
    acked: Vec<Option<Time>>,
    /// Per member, when it was last heard to follow.
    heard: Vec<Time>,
    /// Nothing was chosen above this slot when sending again was last thought of.
    pub(crate) resend_from: Slot,
    pub(crate) resends: u32,
    pub(crate) resend_due: Time,
    pub(crate) transfer: Option<Handover>,
    /// Since when the replica that should lead could.
    rival_since: Option<Time>,
    /// Reads that wait until the leadership is confirmed.
    pub(crate) confirms: VecDeque<Confirm>,
    /// When the heartbeat was sent that is to confirm some of them.
    pub(crate) confirming: Option<Time>,
}

/// A transfer under way: nothing new is proposed until the successor has everything.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Handover {
    to: ReplicaId,
    until: Time,
}

impl Leadership {
    pub(crate) fn new(ballot: Ballot, proposed: Slot, n: usize, now: Now) -> Self {
        Self {
            ballot,
            proposed,
            durable: proposed,
            sent: proposed,
            bytes: 0,
            in_log: BTreeSet::new(),
            proposed_at: WallTime(0),
            heartbeat_due: now.monotonic,
            acked: vec![None; n],
            heard: vec![now.monotonic; n],
            resend_from: proposed,
            resends: 0,
            resend_due: now.monotonic,
            transfer: None,
            rival_since: None,
            confirms: VecDeque::new(),
            confirming: None,
        }
    }

    /// Whether nothing more may be proposed for now.
    pub(crate) fn is_full(&self, limits: &Limits, chosen: Slot) -> bool {
        self.proposed - chosen >= limits.window_slots_max || self.bytes >= limits.window_bytes_max
    }

    /// Nobody could be heard in that time, so nobody was silent. What was *proved* of others, a lease
    /// above all, is as old as it is.
    pub(crate) fn forgive(&mut self, absence: Span) {
        self.heard.iter_mut().for_each(|heard| *heard = *heard + absence);
    }

    pub(crate) fn due(&self, chosen: Slot) -> Time {
        let resend = (chosen < self.sent).then_some(self.resend_due);
        let until = self.transfer.as_ref().map(|transfer| transfer.until);
        [resend, until].into_iter().flatten().fold(self.heartbeat_due, Time::min)
    }
}

impl MultiPaxos {
    /// Hands leadership to `to`, once that has everything; false if this replica does not lead, or
    /// is handing over already, or if `to` is suspected or far behind: then nothing changes.
    /// Nothing is proposed meanwhile, which takes about a round trip; if it takes longer than the
    /// election timeout, this replica goes on leading.
    ///
    /// With leases a successor that restarted less than a span ago may have granted one that it has
    /// forgotten, and does not stand before that is over. The group then has no leader for as long, or
    /// for an election timeout if that is longer.
    pub fn transfer(&mut self, to: ReplicaId, now: Now, effects: &mut Fx) -> bool {
        let until = now.monotonic + self.config.timing.election_timeout;
        let valid = to.index() < self.config.quorums.n() && to != self.me();
        let well = valid && self.is_well(to);
        let Role::Leader(leadership) = &mut self.role else { return false };
        if !well || leadership.transfer.is_some() {
            return false;
        }
        leadership.transfer = Some(Handover { to, until });
        self.beat(now, effects);
        self.ask_for_wake(effects);
        true
    }

    /// Whether a member could lead at once: it is there, and lacks little.
    fn is_well(&self, member: ReplicaId) -> bool {
        let behind = self.chosen.saturating_sub(self.progress[member.index()].chosen);
        !self.suspected.contains(member) && behind <= FILLED_MAX
    }

    pub(crate) fn beat(&mut self, now: Now, fx: &mut Fx) {
        let interval = self.config.timing.heartbeat_interval;
        let Role::Leader(leadership) = &mut self.role else { return };
        leadership.heartbeat_due = now.monotonic + interval;
        let (ballot, sent) = (leadership.ballot, now.monotonic);
        let message = Message::Heartbeat { ballot, sent, progress: self.own_progress() };
        self.send(self.others(), message, After::NOTHING, fx);
    }

    pub(crate) fn attend_leadership(&mut self, now: Now, fx: &mut Fx) {
        let Role::Leader(leadership) = &mut self.role else { return };
        if leadership.transfer.as_ref().is_some_and(|transfer| transfer.until <= now.monotonic) {
            leadership.transfer = None;
            leadership.rival_since = None;
        }
        if leadership.heartbeat_due <= now.monotonic {
            if !self.is_heard(now) {
                self.resign(now, fx);
                return;
            }
            self.beat(now, fx);
        }
        self.send_accepts_again(now, fx);
        if self.is_stranded() {
            self.resign(now, fx);
        }
    }

    /// Whether nothing it proposes is chosen, and a member that is heard has executed and collected
    /// the slots it begins with. That one does not vote in them; it could lead at once, and gives its
    /// state afterwards.
    fn is_stranded(&self) -> bool {
        let Role::Leader(leadership) = &self.role else { return false };
        leadership.resends > 0 && !self.states_ahead().is_empty()
    }

    /// Whether enough members answer for anything to be chosen.
    fn is_heard(&self, now: Now) -> bool {
        let Role::Leader(leadership) = &self.role else { return false };
        let timeout = self.config.timing.election_timeout;
        let answers = |replica: &ReplicaId| {
            let times = if self.suspected.contains(*replica) { 1 } else { BUSY_TIMEOUTS };
            now.monotonic < leadership.heard[replica.index()] + timeout.times(times)
        };
        self.others().iter().filter(answers).count() + 1 >= self.config.quorums.q2()
    }

    /// Stops leading and says so, so that others need not find out.
    pub(crate) fn resign(&mut self, now: Now, fx: &mut Fx) {
        let Role::Leader(leadership) = &self.role else { return };
        let ballot = leadership.ballot;
        self.counters.resigned += 1;
        self.stand_aside(now);
        self.send(self.others(), Message::Resign { ballot }, After::NOTHING, fx);
    }

    /// A member was heard to follow at `ballot`.
    pub(crate) fn note_heard(&mut self, from: ReplicaId, ballot: Ballot, now: Now) {
        if let Role::Leader(leadership) = &mut self.role
            && leadership.ballot == ballot
        {
            leadership.heard[from.index()] = now.monotonic;
        }
    }

    pub(crate) fn on_heartbeat(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        sent: Time,
        progress: Progress,
        now: Now,
        fx: &mut Fx,
    ) {
        if !self.hear_leader(from, ballot, now, fx) {
            return;
        }
        if let Some(lease) = self.config.lease {
            // An earlier grant to another leader is void: that this one leads proves it.
            let until = now.monotonic + lease.span;
            self.grant = Some(Grant { ballot: Some(ballot), until });
        }
        let answer = Message::HeartbeatOk { ballot, sent, progress: self.own_progress() };
        self.send(ReplicaSet::only(from), answer, self.promise, fx);
        self.note_progress(from, progress);
        self.take_word(ballot, progress.chosen, now, fx);
    }

    pub(crate) fn on_heartbeat_ok(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        sent: Time,
        progress: Progress,
        now: Now,
        fx: &mut Fx,
    ) {
        self.note_progress(from, progress);
        self.note_heard(from, ballot, now);
        let Role::Leader(leadership) = &mut self.role else { return };
        if leadership.ballot != ballot || sent > now.monotonic {
            return;
        }
        let acked = &mut leadership.acked[from.index()];
        *acked = (*acked).max(Some(sent));
        self.answer_confirmed(now, fx);
        self.fill_upto(progress.highest, fx);
        self.consider_rival(from, now, fx);
        self.hand_over(now, fx);
    }

    /// Somebody voted beyond the log's end, for a leader whose value was not recovered. A quorum
    /// read may wait for that slot, so it is filled.
    fn fill_upto(&mut self, highest: Slot, fx: &mut Fx) {
        let Role::Leader(leadership) = &self.role else { return };
        let limits = &self.config.limits;
        if highest > leadership.proposed && leadership.transfer.is_none() {
            let window = self.chosen + limits.window_slots_max;
            let last = highest.min(window).min(leadership.proposed + FILLED_MAX);
            let gaps = last.saturating_sub(leadership.proposed);
            if gaps > 0 {
                self.counters.filled += gaps;
                self.append(vec![Entry::Nop; gaps as usize], fx);
            }
        }
    }

    /// Hands over to the replica that leadership is pinned to, when that has been well for a while.
    fn consider_rival(&mut self, from: ReplicaId, now: Now, fx: &mut Fx) {
        if self.config.placement != Placement::Pinned(from) {
            return;
        }
        let well = self.is_well(from);
        let Role::Leader(leadership) = &mut self.role else { return };
        if !well {
            leadership.rival_since = None;
            return;
        }
        let since = *leadership.rival_since.get_or_insert(now.monotonic);
        if now.monotonic >= since + self.config.timing.election_timeout {
            leadership.rival_since = Some(now.monotonic);
            self.transfer(from, now, fx);
        }
    }

    /// Ends a transfer if the successor has everything.
    fn hand_over(&mut self, now: Now, fx: &mut Fx) {
        let Role::Leader(leadership) = &self.role else { return };
        let Some(Handover { to, .. }) = leadership.transfer else { return };
        let Leadership { ballot, proposed, sent, .. } = **leadership;
        if sent == proposed && self.progress[to.index()].highest >= proposed {
            self.counters.transferred += 1;
            self.stand_aside(now);
            let to = ReplicaSet::only(to);
            self.send(to, Message::Transfer { ballot }, After::NOTHING, fx);
            let others = self.others().minus(to);
            self.send(others, Message::Resign { ballot }, After::NOTHING, fx);
        }
    }

    pub(crate) fn on_transfer(&mut self, ballot: Ballot, now: Now, fx: &mut Fx) {
        self.on_resign(ballot, now);
        if self.promised == ballot && matches!(self.role, Role::Follower | Role::Asking(..)) {
            self.prepare(self.seen.max(ballot).next_for(self.me()), ballot, now, fx);
        }
    }

    /// The time of the newest heartbeat that n−q1+1 members answered, this one included: as of
    /// then nobody else led.
    pub(crate) fn confirmed_at(&self, now: Now) -> Option<Time> {
        let Role::Leader(leadership) = &self.role else { return None };
        let others_needed = self.config.quorums.n() - self.config.quorums.q1();
        let Some(last) = others_needed.checked_sub(1) else { return Some(now.monotonic) };
        let mut acked: Vec<_> = leadership.acked.iter().copied().flatten().collect();
        acked.sort_unstable_by(|a, b| b.cmp(a));
        acked.get(last).copied()
    }

    /// Whether this replica leads and no other can now, as far as clocks can be trusted.
    pub fn holds_lease(&self, now: Now) -> bool {
        let lease = self.config.lease.zip(self.confirmed_at(now));
        lease.is_some_and(|(lease, at)| now.monotonic < at + lease.usable())
    }

    /// The holder of the lease at `ballot` gave it up.
    pub(crate) fn release(&mut self, ballot: Ballot) {
        if self.grant.is_some_and(|grant| grant.ballot == Some(ballot)) {
            self.grant = None;
        }
    }

    /// Whether a lease, granted or held, forbids to promise `ballot`.
    pub(crate) fn grant_forbids(&self, ballot: Ballot, released: Ballot, now: Now) -> bool {
        if self.mutated(Mutation::LeaseNotWaitedOut) {
            return false;
        }
        let granted =
            self.grant.is_some_and(|grant| grant.forbids(ballot, released, now.monotonic));
        granted || self.holds_lease(now)
    }
}
