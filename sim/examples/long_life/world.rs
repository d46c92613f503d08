//! The event loop of a run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use panchayat_consensus::{InstanceId, Now, Protocol, ReplicaId, Time, Token, WallTime};
use panchayat_core::frame::FrameWriter;
use panchayat_core::kv::{KvCommand, KvOp, KvStore};
use panchayat_core::{ApplyContext, StateMachine};
use panchayat_epaxos::EPaxos;
use panchayat_sim::{Network, Rng, Weather};

use super::gauge::{Histogram, Phase, Report, Return, Row, Sizes, resident_bytes};
use super::load::{BIRTH_US, Load, Pending};
use super::member::{FRAMES, Job, Member, Writing};
use super::plan::Plan;
use super::snapshots::{self, Stored};

/// How often the whole is looked at.
const LOOK_US: u64 = 10_000;
/// After so long a dead member is suspected.
const SUSPICION_US: u64 = 500_000;
/// After so long a client whose replica died tries again at another.
const CLIENT_TIMEOUT_US: u64 = 500_000;
/// How often who serves a state is asked to go on keeping what it needs.
const KEEP_US: u64 = 2_000_000;
/// How often it is looked whether a snapshot's mark is durable.
const MARK_POLL_US: u64 = 500;
/// How long a member may take to be current before the run ends without it.
const RETURN_MAX_US: u64 = 120_000_000;
/// How long the end may take, once no command comes.
const SETTLE_MAX_US: u64 = 60_000_000;
const JITTER_PERCENT: u64 = 5;
const VALUE_BYTES: usize = 1_000;

enum Event {
    /// A command is issued.
    Issue,
    /// A request is tried again.
    Again {
        number: u64,
        issued_us: u64,
        not_at: usize,
    },
    Frame {
        from: usize,
        to: usize,
        bytes: Bytes,
    },
    Turn {
        at: usize,
        incarnation: u32,
    },
    Synced {
        at: usize,
        incarnation: u32,
    },
    Written {
        at: usize,
        incarnation: u32,
        number: u64,
    },
    Up {
        at: usize,
    },
    Heard {
        at: usize,
        peer: usize,
        up: bool,
    },
    Asked {
        by: usize,
        of: usize,
    },
    Arrives {
        at: usize,
        incarnation: u32,
        state: Rc<Stored>,
    },
    Look,
}

/// An event, ordered by its time, then by when it was planned.
struct Planned(u64, u64, Event);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct World<'a> {
    plan: Plan,
    now_us: u64,
    queue: BinaryHeap<Reverse<Planned>>,
    planned: u64,
    members: Vec<Member>,
    network: Network,
    rng: Rng,
    load: Load,
    /// Who takes proposals.
    serving: Vec<bool>,
    issued: u64,
    phase: Phase,
    /// What every member is born with; the dead of a run with a large state with nothing.
    births: Vec<Option<KvStore>>,
    frames: Vec<FrameWriter>,
    /// What the members that return must have executed to be current.
    targets: Vec<Option<Vec<u64>>>,
    report: Report,
    since_row: Sizes,
    next_row: u64,
    begun: Instant,
    settling_since_us: Option<u64>,
    watch: &'a mut dyn FnMut(&Row),
}

/// Runs `plan`; `watch` is shown every row.
///
/// # Panics
/// If something that must hold does not.
pub(crate) fn run(plan: &Plan, watch: &mut dyn FnMut(&Row)) -> Report {
    let mut world = World::new(plan, watch);
    world.begin();
    while world.settling_since_us.is_none() || !world.is_settled() {
        let Some(Reverse(Planned(at, _, event))) = world.queue.pop() else { break };
        world.now_us = at;
        world.handle(event);
    }
    world.finish()
}

impl<'a> World<'a> {
    fn new(plan: &Plan, watch: &'a mut dyn FnMut(&Row)) -> Self {
        let n = plan.replicas;
        let weather = Weather { jitter_percent: JITTER_PERCENT, ..Weather::default() };
        Self {
            now_us: 0,
            queue: BinaryHeap::new(),
            planned: 0,
            members: (0..n).map(|seat| Member::new(plan, seat)).collect(),
            network: Network::new(plan.seed, &plan.delays_us(), true, weather),
            rng: Rng::new(plan.seed, "load"),
            load: Load::new(plan),
            serving: vec![true; n],
            issued: 0,
            phase: Phase::Before,
            births: (0..n).map(|seat| Some(birth(plan, seat))).collect(),
            frames: (0..n).map(|_| FrameWriter::new(FRAMES)).collect(),
            targets: vec![None; n],
            report: Report::default(),
            since_row: Sizes::default(),
            next_row: plan.row_every,
            begun: Instant::now(),
            settling_since_us: None,
            watch,
            plan: plan.clone(),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: Time(self.now_us + 1), wall: WallTime(BIRTH_US + self.now_us) }
    }

    fn plan_at(&mut self, at_us: u64, event: Event) {
        self.planned += 1;
        self.queue.push(Reverse(Planned(at_us.max(self.now_us), self.planned, event)));
    }

    fn begin(&mut self) {
        let dead_from_birth = if self.plan.before == 0 { self.plan.mortal() } else { 0..0 };
        for seat in (0..self.plan.replicas).filter(|seat| !dead_from_birth.contains(seat)) {
            self.start(seat);
        }
        if self.plan.before == 0 {
            self.kill();
        }
        self.plan_at(0, Event::Issue);
        self.plan_at(LOOK_US, Event::Look);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Issue => self.issue(),
            Event::Again { number, issued_us, not_at } => self.again(number, issued_us, not_at),
            Event::Frame { from, to, bytes } => {
                self.give(to, Job::Frame { from: ReplicaId(from as u8), bytes });
            }
            Event::Turn { at, incarnation } if self.lives(at, incarnation) => self.turn(at),
            Event::Synced { at, incarnation } if self.lives(at, incarnation) => self.synced(at),
            Event::Written { at, incarnation, number } if self.lives(at, incarnation) => {
                self.written(at, number);
            }
            Event::Turn { .. } | Event::Synced { .. } | Event::Written { .. } => {}
            Event::Up { at } => self.up(at),
            Event::Heard { at, peer, up } => {
                self.give(at, Job::Peer { peer: ReplicaId(peer as u8), up });
            }
            Event::Asked { by, of } => self.asked(by, of),
            Event::Arrives { at, incarnation, state } if self.lives(at, incarnation) => {
                self.state_arrives(at, &state);
            }
            Event::Arrives { .. } => {}
            Event::Look => self.look(),
        }
    }

    fn lives(&self, at: usize, incarnation: u32) -> bool {
        self.members[at].group.is_some() && self.members[at].incarnation == incarnation
    }

    fn give(&mut self, at: usize, job: Job) {
        if self.members[at].group.is_some() {
            self.members[at].inbox.push_back(job);
            self.plan_turn(at, self.now_us);
        }
    }

    fn plan_turn(&mut self, at: usize, at_us: u64) {
        let member = &mut self.members[at];
        let at_us = at_us.max(member.last_turn_us + self.plan.turn_us);
        let incarnation = member.incarnation;
        if at_us > self.now_us + self.plan.turn_us {
            // A wake: an earlier turn may come before it.
            if member.wake_at_us.is_none_or(|planned| planned > at_us || planned <= self.now_us) {
                member.wake_at_us = Some(at_us);
                self.plan_at(at_us, Event::Turn { at, incarnation });
            }
        } else if !std::mem::replace(&mut member.turn_planned, true) {
            self.plan_at(at_us, Event::Turn { at, incarnation });
        }
    }

    fn turn(&mut self, at: usize) {
        let now = self.now();
        let member = &mut self.members[at];
        member.turn_planned = false;
        member.last_turn_us = self.now_us;
        let news = member.turn(&self.plan, now, &mut self.frames);
        let incarnation = member.incarnation;
        self.report.turns[usize::from(member.writing.is_some())].note(news.took.as_micros() as u64);
        if news.took > self.report.longest_turn.0 && news.parts.is_none() {
            self.report.longest_turn = (news.took, at, self.now_us);
        }
        if news.flush.is_some_and(|upto| member.disk.flush(upto)) {
            self.begin_sync(at);
        }
        for to in 0..self.plan.replicas {
            if let Some(bytes) = self.frames[to].take()
                && self.members[to].group.is_some()
            {
                for at_us in self.network.route((at, to), self.now_us) {
                    let bytes = bytes.clone();
                    self.plan_at(at_us, Event::Frame { from: at, to, bytes });
                }
            }
        }
        for (token, answer) in news.answers {
            self.load.answered(at, token.0, answer, self.now_us);
        }
        for token in news.rejected {
            self.load.rejected(at, token.0);
        }
        if let Some(parts) = news.parts {
            self.report.freezing.note(news.frozen_after);
            let member = &mut self.members[at];
            let keep = member.keeps || !member.served.is_empty();
            let about = member.stored.as_ref().map_or(0, |stored| stored.length);
            let (stored, took) = snapshots::write(member.seat, &parts, keep, about);
            self.report.writing.note(took);
            let takes_us = stored.length * 1_000_000 / self.plan.disk_bytes_per_s;
            let number = stored.number;
            let askers = std::mem::take(&mut member.served);
            member.writing = Some(Writing { stored: stored.into(), parts, askers });
            self.plan_at(self.now_us + takes_us, Event::Written { at, incarnation, number });
        }
        let wake = self.members[at].group.as_ref().and_then(|group| group.wake_time());
        if let Some(wake) = wake {
            self.plan_turn(at, wake.0.saturating_sub(1));
        }
    }

    fn begin_sync(&mut self, at: usize) {
        let member = &self.members[at];
        let busy = member.writing.is_some();
        let takes_us = if busy { self.plan.busy_sync_us } else { self.plan.sync_us };
        let incarnation = member.incarnation;
        self.plan_at(self.now_us + takes_us, Event::Synced { at, incarnation });
    }

    fn synced(&mut self, at: usize) {
        let (upto, again) = self.members[at].disk.synced();
        if again {
            self.begin_sync(at);
        }
        self.give(at, Job::Synced(upto));
    }

    /// A snapshot is on the disk; it is valid once its mark is.
    fn written(&mut self, at: usize, number: u64) {
        let member = &mut self.members[at];
        let incarnation = member.incarnation;
        let Some(group) = &mut member.group else { return };
        match &member.writing {
            Some(writing) if writing.stored.number != number => return,
            Some(writing) if writing.parts.after > group.durable_upto() => {
                self.plan_at(
                    self.now_us + MARK_POLL_US,
                    Event::Written { at, incarnation, number },
                );
                return;
            }
            Some(_) => {}
            None => return,
        }
        let Some(Writing { stored, askers, .. }) = member.writing.take() else { return };
        member.disk.cut(number);
        group.snapshot_durable(number);
        member.snapshot_begun = false;
        for asker in askers {
            let takes_us = stored.length * 1_000_000 / self.plan.transfer_bytes_per_s;
            let Some(there) = self.network.route_heartbeat((at, asker), self.now_us) else {
                continue;
            };
            let incarnation = self.members[asker].incarnation;
            let state = stored.clone();
            self.plan_at(there + takes_us, Event::Arrives { at: asker, incarnation, state });
        }
        let member = &mut self.members[at];
        // What travels is kept by the transfer.
        let kept = if member.keeps { stored.bytes.clone() } else { None };
        member.stored = Some(Rc::new(Stored { number, bytes: kept, length: stored.length }));
        self.mark(
            at,
            |back| &mut back.installed_us,
            |member| member.group.as_ref().is_some_and(|group| !group.is_installing()),
        );
        self.plan_turn(at, self.now_us);
    }

    /// Notes when something came true that follows the arrival of a state.
    fn mark(
        &mut self,
        at: usize,
        which: fn(&mut Return) -> &mut Option<u64>,
        holds: fn(&Member) -> bool,
    ) {
        let now_us = self.now_us;
        let holds = holds(&self.members[at]);
        let back = self.report.returns.iter_mut().find(|back| back.seat == at);
        if let Some(back) = back.filter(|back| holds && back.arrived_us.is_some()) {
            let since = now_us - back.started_at_us;
            which(back).get_or_insert(since);
        }
    }

    fn asked(&mut self, by: usize, of: usize) {
        let now = self.now();
        let Some(group) = &mut self.members[of].group else { return };
        if group.is_installing() || !group.protocol().needs_state().is_empty() {
            self.members[by].asking = false;
            return;
        }
        group.hold(now);
        let member = &mut self.members[of];
        member.holds_until_us = Some(self.now_us);
        member.askers.push(by);
        self.plan_turn(of, self.now_us);
    }

    fn state_arrives(&mut self, at: usize, state: &Stored) {
        let now = self.now();
        let begun = Instant::now();
        let member = &mut self.members[at];
        member.asking = false;
        let Some(group) = &mut member.group else { return };
        if group.is_installing() || !group.protocol().wants_state() {
            return;
        }
        let bytes = state.bytes.as_ref().expect("what travels is kept");
        let base = snapshots::read(bytes, self.plan.sessions()).expect("a state reads back");
        group.install(now, base.machine, base.sessions, EPaxos::handover(base.image));
        member.writing = None;
        member.snapshot_begun = true;
        self.report.reading.note(begun.elapsed());
        let back = self.report.returns.iter_mut().find(|back| back.seat == at);
        let back = back.expect("only who returns needs a state");
        back.arrived_us.get_or_insert(self.now_us - back.started_at_us);
        back.state_bytes = state.length;
        self.plan_turn(at, self.now_us);
    }

    fn issue(&mut self) {
        let gap = -(self.rng.below(1 << 53) as f64 + 1.0).ln() + (53.0 * std::f64::consts::LN_2);
        let gap_us = (gap * 1e6 / self.plan.per_second as f64) as u64;
        match self.issued {
            issued if issued == self.plan.before && issued > 0 => self.kill(),
            issued if issued == self.plan.before + self.plan.dead_for => self.start_again(),
            _ => {}
        }
        let number = self.issued;
        self.issued += 1;
        self.attempt(number, self.now_us, None, true);
        let returned = self.phase == Phase::After || self.took_too_long();
        let Plan { before, dead_for, after, .. } = self.plan;
        if returned && self.issued >= before + dead_for + after {
            self.settling_since_us = Some(self.now_us);
        } else {
            self.plan_at(self.now_us + gap_us, Event::Issue);
        }
    }

    fn attempt(&mut self, number: u64, issued_us: u64, not_at: Option<usize>, first: bool) {
        let seats = 0..self.plan.replicas;
        let open: Vec<usize> =
            seats.filter(|seat| self.serving[*seat] && Some(*seat) != not_at).collect();
        let Some(seat) = open.get(number as usize % open.len().max(1)).copied() else {
            return self.load.given_up(number);
        };
        let command = self.load.command(number, issued_us);
        let (attempt_us, phase) = (self.now_us, self.phase);
        let pending = Pending { number, issued_us, attempt_us, phase, first };
        let token = Token(self.load.attempt(seat, pending));
        if first && let Some(after_us) = self.load.retried_after_us(number) {
            let again = Event::Again { number, issued_us, not_at: seat };
            self.plan_at(self.now_us + after_us, again);
        }
        self.give(seat, Job::Propose { token, command });
    }

    fn again(&mut self, number: u64, issued_us: u64, not_at: usize) {
        self.attempt(number, issued_us, Some(not_at), false);
    }

    fn kill(&mut self) {
        self.phase = Phase::Dead;
        for seat in self.plan.mortal() {
            self.serving[seat] = false;
            if self.members[seat].group.is_some() {
                self.members[seat].die();
                for lost in self.load.died(seat) {
                    let Pending { number, issued_us, .. } = lost;
                    let again = Event::Again { number, issued_us, not_at: seat };
                    self.plan_at(self.now_us + CLIENT_TIMEOUT_US, again);
                }
            }
            for at in 0..self.plan.mortal().start {
                let heard = Event::Heard { at, peer: seat, up: false };
                self.plan_at(self.now_us + SUSPICION_US, heard);
            }
        }
    }

    /// The dead are started with what is on their disks.
    fn start_again(&mut self) {
        self.phase = Phase::Returning;
        let others = self.members[0].group.as_ref().map_or(0, |group| group.executed());
        for seat in self.plan.mortal() {
            let member = &self.members[seat];
            let stored = member.stored.as_ref().map_or(0, |stored| stored.length);
            let read = stored + member.disk.bytes() as u64;
            self.report.returns.push(Return {
                seat,
                started_at_us: self.now_us,
                executed_by_others: others,
                ..Return::default()
            });
            let takes_us = read * 1_000_000 / self.plan.disk_bytes_per_s;
            self.plan_at(self.now_us + takes_us, Event::Up { at: seat });
        }
    }

    fn up(&mut self, seat: usize) {
        let begun = Instant::now();
        self.start(seat);
        // What the journal lets it execute it executes in its first turn.
        self.turn(seat);
        let executed = self.members[seat].group.as_ref().map_or(0, |group| group.executed());
        let now_us = self.now_us;
        if let Some(back) = self.report.returns.iter_mut().find(|back| back.seat == seat) {
            back.replay = begun.elapsed();
            back.up_us = Some(now_us - back.started_at_us);
            back.executed = executed;
        }
        for peer in (0..self.plan.replicas).filter(|peer| *peer != seat) {
            if let Some(at_us) = self.network.route_heartbeat((seat, peer), self.now_us) {
                self.plan_at(at_us, Event::Heard { at: peer, peer: seat, up: true });
            }
        }
    }

    fn start(&mut self, seat: usize) {
        let now = self.now();
        let birth = match self.members[seat].stored {
            Some(_) => KvStore::default(),
            None => self.births[seat].take().unwrap_or_default(),
        };
        self.members[seat].start(&self.plan, birth, now);
        self.plan_turn(seat, self.now_us);
    }

    fn took_too_long(&self) -> bool {
        let started = self.report.returns.first().map(|back| back.started_at_us);
        started.is_some_and(|started| self.now_us > started + RETURN_MAX_US)
    }

    fn look(&mut self) {
        let now = self.now();
        let sizes = self.sizes();
        self.since_row.raise(&sizes);
        self.report.largest.raise(&sizes);
        for member in &mut self.members {
            if let (Some(group), Some(due)) = (&mut member.group, member.holds_until_us)
                && due <= self.now_us
            {
                group.hold(now);
                member.holds_until_us = Some(self.now_us + KEEP_US);
            }
        }
        self.look_after_returns();
        let executed = self.executed();
        if executed >= self.next_row {
            self.next_row = (executed / self.plan.row_every + 1) * self.plan.row_every;
            self.row(executed, sizes);
        }
        self.plan_at(self.now_us + LOOK_US, Event::Look);
    }

    fn row(&mut self, executed: u64, sizes: Sizes) {
        let absent = self.members[0].group.as_ref().map(|group| group.protocol().absent());
        let absent: Vec<String> =
            absent.into_iter().flat_map(|set| set.iter()).map(|seat| seat.to_string()).collect();
        let row = Row {
            virtual_us: self.now_us,
            executed,
            sizes,
            largest: std::mem::take(&mut self.since_row),
            rss: resident_bytes(),
            disks: self.members.iter().map(Member::disk_bytes).sum(),
            absent: if absent.is_empty() { "-".into() } else { absent.join(",") },
            overloaded: self.load.fates.overloaded,
            real: self.begun.elapsed(),
        };
        (self.watch)(&row);
        self.report.rows.push(row);
    }

    fn executed(&self) -> u64 {
        let groups = self.members.iter().filter_map(|member| member.group.as_ref());
        groups.map(|group| group.executed()).max().unwrap_or(0)
    }

    /// Of those who never die.
    fn sizes(&self) -> Sizes {
        let mut sizes = Sizes::default();
        for member in &self.members[..self.plan.mortal().start] {
            let Some(group) = &member.group else { continue };
            let length = |stored: &Rc<Stored>| stored.length;
            sizes.raise(&Sizes {
                retained: group.protocol().retained() as u64,
                keys: group.protocol().keys_known() as u64,
                sessions: group.sessions().len() as u64,
                journal: member.disk.bytes() as u64,
                snapshot: member.stored.as_ref().map_or(0, length),
            });
        }
        sizes
    }

    fn look_after_returns(&mut self) {
        if self.phase != Phase::Returning {
            return;
        }
        for seat in self.plan.mortal() {
            self.ask_for_state(seat);
            self.look_after(seat);
        }
        if self.report.current_us().is_some() {
            self.phase = Phase::After;
            for member in &mut self.members {
                member.holds_until_us = None;
            }
            for seat in self.plan.mortal() {
                self.serving[seat] = true;
            }
        }
    }

    fn ask_for_state(&mut self, seat: usize) {
        let member = &mut self.members[seat];
        let Some(group) = &member.group else { return };
        let ahead = group.protocol().needs_state();
        let Some(of) = ahead.iter().next() else { return };
        if member.asking || group.is_installing() {
            return;
        }
        member.asking = true;
        let of = of.index();
        if let Some(at_us) = self.network.route_heartbeat((seat, of), self.now_us) {
            self.plan_at(at_us, Event::Asked { by: seat, of });
        }
        let now_us = self.now_us;
        if let Some(back) = self.report.returns.iter_mut().find(|back| back.seat == seat) {
            back.asked_us.get_or_insert(now_us - back.started_at_us);
        }
    }

    fn look_after(&mut self, seat: usize) {
        let Some(group) = &self.members[seat].group else { return };
        if group.is_installing() || !group.protocol().needs_state().is_empty() {
            return;
        }
        let others = self.members[..self.plan.mortal().start].iter();
        let others: Vec<_> = others.filter_map(|member| member.group.as_ref()).collect();
        let id = ReplicaId(seat as u8);
        let counted = others.iter().all(|group| !group.protocol().absent().contains(id));
        let back = self.report.returns.iter_mut().find(|back| back.seat == seat);
        let Some(back) = back.filter(|back| counted && back.current_us.is_none()) else { return };
        let since = self.now_us - back.started_at_us;
        back.taken_back_us.get_or_insert(since);
        let lanes = || (0..self.plan.replicas as u8).map(ReplicaId);
        let target = self.targets[seat].get_or_insert_with(|| {
            let reached = |lane| others.iter().map(move |g| g.protocol().executed_upto(lane));
            lanes().map(|lane| reached(lane).max().unwrap_or(0)).collect()
        });
        let has = |lane: ReplicaId| group.protocol().executed_upto(lane) >= target[lane.index()];
        if lanes().all(has) {
            back.current_us = Some(since);
        }
    }

    /// Whether nothing is left to do, or too much time was spent on it.
    fn is_settled(&self) -> bool {
        let since = self.settling_since_us.unwrap_or(self.now_us);
        let mut executed = self.members.iter().filter_map(|m| Some(m.group.as_ref()?.executed()));
        let first = executed.next();
        let same = executed.all(|executed| Some(executed) == first);
        (self.load.waiting() == 0 && same && self.now_us > since + 3_000_000)
            || self.now_us > since + SETTLE_MAX_US
    }

    fn finish(mut self) -> Report {
        for group in self.members.iter().filter_map(|member| member.group.as_ref()) {
            let counters = group.protocol().counters();
            self.report.fast_commits += counters.fast_commits;
            self.report.slow_commits += counters.slow_commits;
            self.report.executed = self.report.executed.max(group.executed());
            self.report.state_hashes.push(group.machine().state_hash().0);
            self.report.digests.push(group.sessions().digest());
        }
        assert_eq!(self.load.waiting(), 0, "proposals without an answer");
        self.report.latency = self.load.latency.iter().map(Histogram::clone).collect();
        self.report.fates = self.load.fates;
        self.report.virtual_us = self.now_us;
        if self.plan.restart_all {
            self.restart_all();
        }
        self.report.real = self.begun.elapsed();
        self.report
    }

    /// Power fails everywhere; every member comes back from its own disk as it was.
    fn restart_all(&mut self) {
        let now = self.now();
        for member in &mut self.members {
            let state = |member: &Member| {
                let group = member.group.as_ref().expect("it lives");
                (group.executed(), group.machine().state_hash(), group.sessions().digest())
            };
            let was = state(member);
            member.die();
            member.start(&self.plan, KvStore::default(), now);
            // What the journal lets it execute it executes in its first turn.
            member.turn(&self.plan, now, &mut self.frames);
            assert_eq!(state(member), was, "{} comes back as another", member.seat);
            self.report.restarted += 1;
        }
    }
}

/// The state before any command.
fn birth(plan: &Plan, seat: usize) -> KvStore {
    let mut store = KvStore::default();
    if plan.state_mib == 0 || plan.mortal().contains(&seat) {
        return store;
    }
    let keys = (plan.state_mib << 20) / (VALUE_BYTES as u64 + 24);
    for number in 0..keys {
        let mut key = vec![b'#'; 16];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let value = Bytes::from(vec![number as u8; VALUE_BYTES]);
        let context =
            ApplyContext { id: InstanceId::new(ReplicaId(0), 0), proposed_at: WallTime(0) };
        store.apply(&context, KvCommand::One(KvOp::Put { key: key.into(), value }));
    }
    store
}
