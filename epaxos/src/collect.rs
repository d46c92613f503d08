//! Garbage collection: what everyone who counts has executed goes.
//!
//! Every replica advertises a *watermark*: up to there everything is executed and durable here, and
//! so is everything that was known here when that had been executed. The second half is what makes
//! collecting safe. An instance that was pre-accepted somewhere before a collected, conflicting one
//! was known there is then decided there; so a recovery never depends on hearing, in a Validate,
//! of an instance that is gone.
//!
//! # Members that stay away
//!
//! A dead or very slow member would hold up collection for ever. When too much is kept, up to f
//! such members are counted as *absent*. From the moment a replica counts B as absent it takes no
//! message of B that votes or proposes (a fence; durable before it says so). It collects past B
//! only when
//!
//! - all who are not absent count the same members as absent, and
//! - everything that any of them had seen when it settled on that is executed at all of them.
//!
//! So whatever B may have helped to commit on the fast path is decided where it matters. Every fast
//! quorum is larger than f and contains a member K that is counted. If K endorsed before it fenced
//! B, the command is among what K had seen. If K fences B, K says so in its reply, and the
//! coordinator does not count B. And K takes B back only once B has executed, by itself or in a
//! state it took over, everything that anyone may have collected while counting K: all that K
//! ever advertised.
//!
//! What B had proposed by then may ignore what was collected without it, and nobody remembers the
//! conflicts: to such a proposal everything collected is added as a dependency.
//!
//! Who takes over a state withdraws its endorsements of proposals that ignore what was collected
//! in it (`image`): it cannot know any more what they conflict with, and no fast commit needs them.
//!
//! What was asked while B was absent does not count a reply of B that comes after: it may be from
//! before B took over a state.
//!
//! # Members that do not hear each other
//!
//! A cut link between two live members must not stop collection at its ends. So a status also says
//! what lies within the watermarks of *all* members, absent or not, that its sender has heard. Whoever
//! hears of that collects it. A watermark is a fact: what was executed and known then stays decided,
//! even if the member takes over a state afterwards. So it does not matter who tells of it, nor
//! whom anybody counts as absent; it is as if all had been heard.
//!
//! To adopt what another member *collected* would be wrong: it may have that from a state it took
//! over, which was collected without the one that adopts.
//!
//! Why that is safe: let c be collected so, and d a command that conflicts with c and does not have c
//! among its coordinator's dependencies. When the coordinator formed the watermark that holds c, it had
//! proposed d already: later it would have counted c. So it had executed d before it said that
//! watermark, and nobody can still have to decide d.
//!
//! Known limits. While a member is dead or counted as absent its watermark holds up what is shared;
//! with a cut link besides, live members may settle on different sets of absent ones (each end of the link
//! counts the other), and then nobody collects until the link heals: at four times `retained_max`
//! proposals are `Overloaded`. Where no member hears all others, nothing is shared. And pledges of proposal
//! times are not told on: sessions forget nothing at the ends of a cut link until it heals.
//!
//! A state that was taken before its owner's hold broke (it restarted, or kept too much) may be
//! too old for the member that takes it over, which then asks for another (`Protocol::can_install`).
//!
//! A replica that serves its state keeps its own watermark until the member is taken back by all;
//! since every other's collection waits for that, the state does not become too old on its way.

use panchayat_consensus::{After, InstanceId, Now, ReplicaId, ReplicaSet, Slot, Time, WallTime};

use crate::attempt::Stage;
use crate::deps::Deps;
use crate::mutation::Mutation;
use crate::pledge::Pledges;
use crate::record::Record;
use crate::replica::{EPaxos, Fx};
use crate::status::Status;

/// Most instances dropped in one step, so that none takes long.
const COLLECTED_PER_STEP: usize = 256;
/// Times `retained_max` that proposals and held states may make a replica keep.
const RETAINED_TIMES_MAX: usize = 4;
/// How far ahead the bound on proposal times is made durable, in microseconds of wall time.
const CLOCK_BOUND_AHEAD_US: u64 = 10_000_000;

/// What collection knows: the own watermark, and the last word of every other member.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    /// The last status of every member; none of oneself.
    pub(crate) heard: Vec<Option<Status>>,
    /// When that came, in this run.
    pub(crate) heard_at: Vec<Option<Time>>,
    /// Who of them counts this replica as absent. Asked at every step, hence kept.
    pub(crate) counted_absent_by: ReplicaSet,
    /// The own watermark, the record it waits for, and the last one that was durable.
    pub(crate) executed: Deps,
    executed_after: After,
    pub(crate) executed_durably: Deps,
    /// The most that was ever advertised, or may have been before a restart.
    pub(crate) advertised: Deps,
    /// The next watermark, and what must be executed before it is one.
    next: Option<(Deps, Deps)>,
    /// Everything up to here lies within the watermarks of all members, as others have heard.
    shared: Deps,
    /// Everything up to here may be dropped.
    pub(crate) collectable: Deps,
    pub(crate) absent: ReplicaSet,
    pub(crate) seen_then: Deps,
    /// Up to here the proposals of members taken back may ignore what was collected meanwhile.
    pub(crate) stale: Deps,
    /// What had been collected in states taken over: nothing is endorsed that ignores it.
    pub(crate) fence: Deps,
    /// Until when the own watermark stays for a member that takes over a state.
    held_until: Option<Time>,
    pub(crate) pledges: Vec<Pledges>,
    pub(crate) clock_bound: WallTime,
    pub(crate) retained_bytes: usize,
}

impl Collector {
    pub(crate) fn new(n: usize) -> Self {
        let none = Deps::none(n);
        Self {
            heard: vec![None; n],
            heard_at: vec![None; n],
            counted_absent_by: ReplicaSet::EMPTY,
            executed: none.clone(),
            executed_after: After::NOTHING,
            executed_durably: none.clone(),
            advertised: none.clone(),
            next: None,
            shared: none.clone(),
            collectable: none.clone(),
            absent: ReplicaSet::EMPTY,
            seen_then: none.clone(),
            stale: none.clone(),
            fence: none,
            held_until: None,
            pledges: vec![Pledges::default(); n],
            clock_bound: WallTime(0),
            retained_bytes: 0,
        }
    }
}

impl EPaxos {
    /// What every replica says of itself now and then.
    pub(crate) fn status(&mut self, now: Now, fx: &mut Fx) -> Status {
        self.advance_watermark(now, fx);
        self.count_absent(fx);
        // Proposals may have times ahead of the clock, after a restart. The pledge never has: who has
        // executed all it does not speak of lacks nothing that was proposed before that moment.
        let pledged = now.wall;
        self.last_proposed_at = self.last_proposed_at.max(pledged);
        if pledged >= self.collector.clock_bound {
            let until = WallTime(pledged.0 + CLOCK_BOUND_AHEAD_US);
            self.collector.clock_bound = until;
            fx.persist(Record::ClockBound { until });
        }
        self.hear_pledge(self.me(), self.lanes.highest(self.me()), pledged);
        self.update_collectable();
        let collector = &mut self.collector;
        collector.advertised.union(&collector.executed);
        let collector = &self.collector;
        Status {
            seen: self.lanes.all_highest(),
            reached: self.all_executed(),
            executed: collector.executed.clone(),
            collected: collector.collectable.clone(),
            shared: self.shared_by_all(),
            absent: collector.absent,
            seen_then: collector.seen_then.clone(),
            proposed_after: pledged,
        }
    }

    pub(crate) fn on_status(&mut self, from: ReplicaId, status: Status, now: Now, fx: &mut Fx) {
        self.note_all_exist(&status.seen, now);
        let (me, seen) = (self.me(), status.seen.last(from));
        self.hear_pledge(from, seen, status.proposed_after);
        let adopts_all = self.mutated(Mutation::CollectAsAnother);
        let collector = &mut self.collector;
        collector.shared.union(if adopts_all { &status.collected } else { &status.shared });
        if status.absent.contains(me) {
            collector.counted_absent_by.insert(from);
        } else {
            collector.counted_absent_by.remove(from);
        }
        collector.heard[from.index()] = Some(status);
        collector.heard_at[from.index()] = Some(now.monotonic);
        if self.collector.absent.contains(from) && self.is_back(from) {
            self.counters.taken_back += 1;
            self.collector.stale.include(from, seen);
            self.ignore_old_replies(from);
            self.settle_on_absent(self.collector.absent.without(from), fx);
        }
        self.update_collectable();
    }

    /// What lies within the watermarks of all members, by their own words.
    fn shared_by_all(&self) -> Deps {
        let mut lowest = self.collector.executed_durably.clone();
        for member in self.others().iter() {
            match &self.collector.heard[member.index()] {
                Some(status) => lowest.meet(&status.executed),
                None => return Deps::none(self.config.quorums.n()),
            }
        }
        lowest
    }

    fn hear_pledge(&mut self, lane: ReplicaId, slot: Slot, time: WallTime) {
        let executed = self.graph.executed_upto(lane);
        let pledges = &mut self.collector.pledges[lane.index()];
        pledges.heard(slot, time);
        pledges.executed(executed);
    }

    /// Whether an absent member has all that was collected without it, and little to catch up.
    fn is_back(&self, member: ReplicaId) -> bool {
        let Some(status) = &self.collector.heard[member.index()] else { return false };
        let kept = self.lanes.retained().max(self.config.limits.retained_max);
        // Others may have collected as far as this replica ever told them.
        status.reached.covers(&self.collector.advertised)
            && status.reached.covers(&self.collector.collectable)
            && self.lag(member) <= kept as u64 / 4
    }

    /// How many of the commands executed here a member has yet to execute, by its last word.
    fn lag(&self, member: ReplicaId) -> u64 {
        let shared = &self.collector.shared;
        let status = self.collector.heard[member.index()].as_ref();
        let heard = |lane| status.map_or(0, |status| status.reached.last(lane));
        let reached = |lane| shared.last(lane).max(heard(lane));
        let behind = |(lane, slot): (ReplicaId, u64)| slot.saturating_sub(reached(lane));
        self.all_executed().lanes().map(behind).sum()
    }

    /// Whether a member counts the same members as absent. It matters only if any are.
    fn agrees(&self, status: &Status) -> bool {
        self.collector.absent.is_empty() || status.absent == self.collector.absent
    }

    /// How many instances could be collected without these members, once the others agree.
    fn held_up_by(&self, members: ReplicaSet) -> u64 {
        let collector = &self.collector;
        let mut lowest = collector.executed_durably.clone();
        for other in self.others().minus(collector.absent).minus(members).iter() {
            match &collector.heard[other.index()] {
                Some(status) => lowest.meet(&status.executed),
                None => return 0,
            }
        }
        let more =
            |(lane, slot): (ReplicaId, u64)| slot.saturating_sub(collector.collectable.last(lane));
        lowest.lanes().map(more).sum()
    }

    /// Replies under way from a member that is taken back may be from before it took over a state
    /// and withdrew endorsements: what was asked while it was absent must not count them.
    fn ignore_old_replies(&mut self, member: ReplicaId) {
        for id in std::mem::take(&mut self.recovering) {
            // Tried again at a higher ballot.
            self.end_attempt(id);
        }
        for slot in self.lanes.collected(self.me()) + 1..=self.lanes.highest(self.me()) {
            let own = self.lanes.get_mut(InstanceId::new(self.config.replica, slot));
            let attempt = own.and_then(|instance| instance.attempt.as_deref_mut());
            if let Some(Stage::PreAccepting(replies)) = attempt.map(|attempt| &mut attempt.stage) {
                replies.ignored.insert(member);
            }
        }
    }

    /// Dependencies that a proposal gets for what is not remembered any more.
    pub(crate) fn add_forgotten(&self, id: InstanceId, deps: &mut Deps) {
        deps.union(&self.collector.fence);
        if self.collector.stale.contains(id) {
            deps.union(&self.collector.collectable);
        }
    }

    /// Whether a message counts although its sender is absent: it votes and proposes nothing.
    pub(crate) fn is_fenced(&self, from: ReplicaId) -> bool {
        let mistaken =
            self.mutated(Mutation::NoFence) || self.mutated(Mutation::CollectedAsInitial);
        self.collector.absent.contains(from) && !mistaken
    }

    /// Drops some of what may be dropped.
    pub(crate) fn collect(&mut self) {
        let mut left = COLLECTED_PER_STEP;
        for lane in (0..self.config.quorums.n() as u8).map(ReplicaId) {
            while left > 0 && self.lanes.collected(lane) < self.collector.collectable.last(lane) {
                let Some(instance) = self.lanes.collect(lane) else { break };
                left -= 1;
                self.counters.collected += 1;
                if let Some(command) = &instance.payload {
                    self.collector.retained_bytes -= command.payload.len();
                    self.conflicts.forget(&command.footprint, &self.collector.collectable);
                }
            }
        }
    }

    /// Members that collected without this one what it has not executed.
    pub(crate) fn members_ahead(&self) -> ReplicaSet {
        if self.mutated(Mutation::CollectedAsInitial) {
            return ReplicaSet::EMPTY;
        }
        let collector = &self.collector;
        let ahead = |member: &ReplicaId| {
            collector.heard[member.index()].as_ref().is_some_and(|status| {
                let mut reached = status.reached.clone();
                reached.union(&collector.shared);
                !self.all_executed().covers(&status.collected)
                    && reached.covers(&collector.collectable)
            })
        };
        collector.counted_absent_by.iter().filter(ahead).collect()
    }

    /// Whether so much is kept that nothing may be added.
    pub(crate) fn keeps_too_much(&self) -> bool {
        self.keeps_more_than(RETAINED_TIMES_MAX)
    }

    pub(crate) fn hold_watermark(&mut self, now: Now) {
        self.collector.held_until = Some(now.monotonic + self.config.timing.hold);
    }

    fn keeps_more_than(&self, times: usize) -> bool {
        let limits = &self.config.limits;
        self.lanes.retained() > limits.retained_max.saturating_mul(times)
            || self.collector.retained_bytes > limits.retained_bytes_max.saturating_mul(times)
    }

    fn advance_watermark(&mut self, now: Now, fx: &Fx) {
        if self.mutated(Mutation::WatermarkEarly) {
            self.collector.executed = self.lanes.all_highest();
            return;
        }
        if self.is_held(now) {
            return;
        }
        let executed = self.all_executed();
        if let Some((watermark, seen)) = &self.collector.next
            && executed.covers(seen)
        {
            self.collector.executed = watermark.clone();
            self.collector.executed_after = fx.after_last();
            self.collector.next = None;
        }
        if self.collector.next.is_none() {
            self.collector.next = Some((executed, self.lanes.all_highest()));
        }
    }

    pub(crate) fn all_executed(&self) -> Deps {
        let lanes = (0..self.config.quorums.n() as u8).map(ReplicaId);
        lanes.map(|lane| self.graph.executed_upto(lane)).collect()
    }

    /// Whether the own watermark stays where it is for a member that takes over a state.
    fn is_held(&mut self, now: Now) -> bool {
        let Some(until) = self.collector.held_until else { return false };
        let collector = &self.collector;
        let absent = collector.heard.iter().flatten().map(|status| status.absent);
        let needed = absent.chain([collector.absent]).any(|absent| !absent.is_empty());
        if !needed || until <= now.monotonic || self.keeps_too_much() {
            self.collector.held_until = None;
        }
        self.collector.held_until.is_some()
    }

    /// Counts as absent who holds up collection, if too much is kept; or whom others count as
    /// absent and who seems dead here too, since nobody can collect before all agree.
    fn count_absent(&mut self, fx: &mut Fx) {
        let absent = self.collector.absent;
        let f = self.config.quorums.f();
        let more = f.saturating_sub(absent.len());
        if more == 0 || !self.keeps_more_than(1) {
            return;
        }
        let counted = self.others().minus(absent);
        let heard = counted.iter().filter_map(|m| self.collector.heard[m.index()].as_ref());
        let theirs = heard.flat_map(|status| status.absent.iter());
        let dead = theirs.filter(|member| self.suspected.contains(*member));
        let all: ReplicaSet = dead.chain(absent.iter()).filter(|m| *m != self.me()).collect();
        if all != absent && all.len() <= f {
            self.counters.marked_absent += 1;
            self.settle_on_absent(all, fx);
            return;
        }
        // Whoever is there and keeps up will let go of what it holds up.
        let kept = self.lanes.retained() as u64;
        let away = |m: &ReplicaId| self.suspected.contains(*m) || self.lag(*m) > kept / 2;
        let mut slowest: Vec<ReplicaId> = counted.iter().filter(away).collect();
        slowest.sort_by_key(|member| std::cmp::Reverse(self.lag(*member)));
        let candidates =
            (1..=more.min(slowest.len())).map(|count| slowest[..count].iter().copied().collect());
        let guilty = { candidates }.find(|members| self.held_up_by(*members) > kept / 2);
        if let Some(guilty) = guilty {
            self.counters.marked_absent += 1;
            self.settle_on_absent(absent.iter().chain(guilty.iter()).collect(), fx);
        }
    }

    fn settle_on_absent(&mut self, absent: ReplicaSet, fx: &mut Fx) {
        let seen_then = self.lanes.all_highest();
        let stale = self.collector.stale.clone();
        fx.persist(Record::Absent { absent, seen_then: seen_then.clone(), stale });
        self.collector.absent = absent;
        self.collector.seen_then = seen_then;
    }

    /// What all share; and the minimum of the watermarks of all who count, if they agree on who does
    /// not.
    fn update_collectable(&mut self) {
        let collector = &mut self.collector;
        if collector.executed_after.is_met_by(self.durable) {
            collector.executed_durably = collector.executed.clone();
        }
        let mut shared = collector.shared.clone();
        shared.meet(&collector.executed_durably);
        collector.collectable.union(&shared);
        let collector = &self.collector;
        let counted = self.others().minus(collector.absent);
        let mut lowest = collector.executed_durably.clone();
        let mut seen_then = collector.seen_then.clone();
        for member in counted.iter() {
            let Some(status) = &collector.heard[member.index()] else { return };
            if !self.agrees(status) {
                return;
            }
            lowest.meet(&status.executed);
            seen_then.union(&status.seen_then);
        }
        if !collector.absent.is_empty() && !lowest.covers(&seen_then) {
            return;
        }
        self.collector.collectable.union(&lowest);
        // Never beyond what is executed here, whatever others believe.
        let executed = self.all_executed();
        debug_assert!(
            self.mutated(Mutation::WatermarkEarly) || executed.covers(&self.collector.collectable)
        );
        self.collector.collectable.meet(&executed);
    }
}
