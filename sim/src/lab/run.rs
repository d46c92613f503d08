//! The queue of what happens, and everything that is not inside a replica: lines, disks, clients.

use std::collections::BTreeMap;

use bytes::Bytes;
use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{
    Command, EpochNumber, GroupId, Path, Protocol, RecordSeq, ReplicaId, Span, Time, Token,
    WallTime,
};
use panchayat_core::detector::Detector;
use panchayat_core::frame::FrameHeader;
use panchayat_core::kv::KvStore;
use panchayat_core::{Base, Group, SessionConfig, StateMachine};
use rustc_hash::FxHashMap;

use super::links::Links;
use super::node::{Job, Node, Pending};
use super::outcome::{Outcome, Standing};
use super::setting::{Event, Load, Lost, Pace, Served, Setting};
use super::turn::{Outbox, Word};
use crate::clock::Clock;
use crate::queue::Queue;
use crate::rng::Rng;

const HEADER: FrameHeader = FrameHeader { group: GroupId(1), epoch: EpochNumber(1), terms: 0 };
/// How long a client that was refused waits before it goes on.
const REFUSED_PAUSE_US: u64 = 5_000;
/// How often the load is told the time, and a run that has ended is asked whether it has settled.
const TICK_US: u64 = 100_000;

/// What happens next.
#[derive(Debug)]
enum Next {
    Frame { from: usize, to: usize, bytes: Bytes },
    Heartbeat { from: usize, to: usize },
    Beat { seat: usize, incarnation: u32 },
    Synced { seat: usize, incarnation: u32 },
    Wake { seat: usize, incarnation: u32 },
    Turn { seat: usize, incarnation: u32 },
    Client { seat: usize, client: u32, life: u32 },
    Arrival { seat: usize },
    Solo { seat: usize },
    Event { index: usize },
    Begin,
    Tick,
}

struct World<'a, P: Protocol, L: Load> {
    setting: &'a Setting,
    config: &'a dyn Fn(ReplicaId, u64) -> P::Config,
    load: &'a mut L,
    queue: Queue<Next>,
    now_us: u64,
    nodes: Vec<Node<P>>,
    links: Links,
    outbox: Outbox,
    sync_rng: Rng,
    arrival_rng: Rng,
    seed_rng: Rng,
    /// Counted since the run began, how much of it before the measured time, and in it.
    sent: Sent,
    before: Sent,
    measured: Sent,
    counters_before: BTreeMap<&'static str, u64>,
    /// What the dead had counted.
    gone: BTreeMap<&'static str, u64>,
    standing: Vec<Standing>,
    needs_state: Vec<usize>,
    pings_us: Vec<Vec<Vec<u64>>>,
    steps: u64,
    epochs_changed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    messages: u64,
    frames: u64,
    bytes: u64,
    syncs: u64,
}

impl Sent {
    fn since(self, earlier: Self) -> Self {
        Self {
            messages: self.messages - earlier.messages,
            frames: self.frames - earlier.frames,
            bytes: self.bytes - earlier.bytes,
            syncs: self.syncs - earlier.syncs,
        }
    }
}

/// Runs `setting` under `load`. `config` gives the configuration of a replica and the seed it is to
/// draw its own chances from.
///
/// # Panics
/// If the lines make no square, or an assertion of the protocol fails.
pub fn run<P: Protocol>(
    setting: &Setting,
    config: impl Fn(ReplicaId, u64) -> P::Config,
    load: &mut impl Load,
) -> Outcome {
    World::<P, _>::new(setting, &config, load).run()
}

impl<'a, P: Protocol, L: Load> World<'a, P, L> {
    fn new(
        setting: &'a Setting,
        config: &'a dyn Fn(ReplicaId, u64) -> P::Config,
        load: &'a mut L,
    ) -> Self {
        let n = setting.lines.len();
        let mut world = Self {
            setting,
            config,
            load,
            queue: Queue::new(),
            now_us: 0,
            nodes: (0..n).map(|seat| empty_node(setting, seat)).collect(),
            links: Links::new(setting.seed, &setting.lines, setting.lane),
            outbox: Outbox::new(n, HEADER),
            sync_rng: Rng::new(setting.seed, "syncs"),
            arrival_rng: Rng::new(setting.seed, "arrivals"),
            seed_rng: Rng::new(setting.seed, "seeds"),
            sent: Sent::default(),
            before: Sent::default(),
            measured: Sent::default(),
            counters_before: BTreeMap::new(),
            gone: BTreeMap::new(),
            standing: Vec::new(),
            needs_state: Vec::new(),
            pings_us: vec![vec![Vec::new(); n]; n],
            steps: 0,
            epochs_changed: 0,
        };
        for seat in 0..n {
            world.start(seat);
        }
        for (index, (at_us, _)) in setting.events.iter().enumerate() {
            world.queue.push(*at_us, Next::Event { index });
        }
        world.queue.push(setting.begin_us, Next::Begin);
        world.queue.push(TICK_US, Next::Tick);
        match &setting.pace {
            Pace::Closed(_) => {}
            Pace::Open(rates) => {
                for seat in 0..rates.len().min(n) {
                    world.next_arrival(seat, 0);
                }
            }
            Pace::Solo { rest_us } => world.queue.push(*rest_us, Next::Solo { seat: 0 }),
        }
        world
    }

    fn run(mut self) -> Outcome {
        let deadline_us = self.setting.end_us.saturating_add(self.setting.patience_us);
        let mut ended = false;
        while let Some((at_us, next)) = self.queue.pop() {
            debug_assert!(at_us >= self.now_us, "time runs forward");
            self.now_us = at_us;
            if at_us >= self.setting.end_us {
                if !ended {
                    ended = true;
                    self.measured = self.sent.since(self.before);
                    self.stand();
                    self.links.end_troubles();
                }
                let looks = matches!(next, Next::Tick);
                if at_us >= deadline_us || (looks && self.has_settled()) {
                    break;
                }
            }
            self.steps += 1;
            self.happen(next);
        }
        self.finish()
    }

    fn happen(&mut self, next: Next) {
        let now_us = self.now_us;
        match next {
            Next::Frame { from, to, bytes } => {
                self.give(to, Job::Frame { from: ReplicaId(from as u8), bytes });
            }
            Next::Heartbeat { from, to } => {
                let node = &mut self.nodes[to];
                let at = node.clock.now(now_us).monotonic;
                node.detector.heard(ReplicaId(from as u8), at);
            }
            Next::Beat { seat, incarnation } if self.lives(seat, incarnation) => self.beat(seat),
            Next::Synced { seat, incarnation } if self.lives(seat, incarnation) => {
                self.synced(seat);
            }
            Next::Wake { seat, incarnation } if self.lives(seat, incarnation) => {
                let node = &mut self.nodes[seat];
                if node.wake_at_us.is_some_and(|at| at <= now_us) {
                    node.wake_at_us = None;
                }
                self.give(seat, Job::Wake);
            }
            Next::Turn { seat, incarnation } if self.lives(seat, incarnation) => {
                self.nodes[seat].scheduled = false;
                self.turn(seat);
            }
            Next::Beat { .. } | Next::Synced { .. } | Next::Wake { .. } | Next::Turn { .. } => {}
            Next::Client { seat, client, life } => {
                if now_us < self.setting.end_us && self.lives(seat, life) {
                    self.propose(seat, client, now_us);
                }
            }
            Next::Arrival { seat } => {
                if now_us < self.setting.end_us {
                    self.next_arrival(seat, now_us);
                    self.propose(seat, 0, now_us);
                }
            }
            Next::Solo { seat } => {
                if now_us < self.setting.end_us {
                    self.propose(seat, 0, now_us);
                }
            }
            Next::Event { index } => self.event(self.setting.events[index].1),
            Next::Begin => {
                self.before = self.sent;
                self.counters_before = self.counters();
            }
            Next::Tick => {
                self.load.progress(now_us);
                self.look_at_epochs();
                self.queue.push(now_us + TICK_US, Next::Tick);
            }
        }
    }

    fn lives(&self, seat: usize, incarnation: u32) -> bool {
        let node = &self.nodes[seat];
        node.group.is_some() && node.incarnation == incarnation
    }

    /// Puts an input before a replica, which handles it at once if its processor is free.
    fn give(&mut self, seat: usize, job: Job) {
        let node = &mut self.nodes[seat];
        if node.group.is_none() {
            return;
        }
        node.inbox.push_back(job);
        if node.scheduled {
            return;
        }
        if node.busy_until_us <= self.now_us {
            return self.turn(seat);
        }
        node.scheduled = true;
        let (at_us, incarnation) = (node.busy_until_us, node.incarnation);
        self.queue.push(at_us, Next::Turn { seat, incarnation });
    }

    fn turn(&mut self, seat: usize) {
        let mut outbox = std::mem::replace(&mut self.outbox, Outbox::new(0, HEADER));
        let node = &mut self.nodes[seat];
        if let Some(work_ns) = node.turn(self.now_us, self.setting.cost, &mut outbox) {
            let work_ns = work_ns + node.busy_rest_ns;
            let done_us = self.now_us + work_ns / 1_000;
            (node.busy_until_us, node.busy_rest_ns) = (done_us, work_ns % 1_000);
            self.post(seat, done_us, &mut outbox);
        }
        self.outbox = outbox;
    }

    /// What a turn that is done at `done_us` has for others.
    fn post(&mut self, seat: usize, done_us: u64, outbox: &mut Outbox) {
        self.sent.messages += std::mem::take(&mut outbox.messages);
        outbox.executions = 0;
        if let Some(upto) = outbox.persisted.take() {
            self.nodes[seat].written = upto;
            self.begin_sync(seat, done_us);
        }
        for (to, frame) in outbox.frames.iter_mut().enumerate() {
            let Some(bytes) = frame.take() else { continue };
            self.sent.frames += 1;
            self.sent.bytes += bytes.len() as u64;
            if let Some(at_us) = self.links.route((seat, to), done_us, bytes.len() as u64) {
                self.queue.push(at_us, Next::Frame { from: seat, to, bytes });
            }
        }
        for (token, word) in outbox.words.drain(..) {
            self.told(seat, done_us, token, word);
        }
        let node = &mut self.nodes[seat];
        if let Some(at_us) = node.next_wake(self.now_us) {
            let incarnation = node.incarnation;
            self.queue.push(at_us, Next::Wake { seat, incarnation });
        }
        let group = node.group.as_ref();
        if group.is_some_and(|group| !group.protocol().needs_state().is_empty())
            && !self.needs_state.contains(&seat)
        {
            self.needs_state.push(seat);
        }
    }

    fn begin_sync(&mut self, seat: usize, at_us: u64) {
        let node = &mut self.nodes[seat];
        if node.syncing.is_some() || node.written <= node.durable {
            return;
        }
        node.syncing = Some(node.written);
        self.sent.syncs += 1;
        let draw = self.setting.sync;
        let us = match draw.median_us {
            0 => 0,
            median => (median as f64 * (draw.sigma * self.sync_rng.normal()).exp()) as u64,
        };
        let incarnation = node.incarnation;
        self.queue.push(at_us + us, Next::Synced { seat, incarnation });
    }

    fn synced(&mut self, seat: usize) {
        let node = &mut self.nodes[seat];
        let Some(upto) = node.syncing.take() else { return };
        node.durable = upto;
        self.begin_sync(seat, self.now_us);
        self.give(seat, Job::Synced(upto));
    }

    fn beat(&mut self, seat: usize) {
        let incarnation = self.nodes[seat].incarnation;
        let next_us = self.now_us + self.setting.heartbeat_us;
        self.queue.push(next_us, Next::Beat { seat, incarnation });
        for to in (0..self.nodes.len()).filter(|to| *to != seat) {
            if let Some(at_us) = self.links.route_heartbeat((seat, to), self.now_us) {
                self.queue.push(at_us, Next::Heartbeat { from: seat, to });
            }
            self.look_at_line(seat, to);
        }
        let node = &mut self.nodes[seat];
        let now = node.clock.now(self.now_us).monotonic;
        for verdict in node.detector.poll(now) {
            self.give(seat, Job::Peer(verdict));
        }
    }

    /// Notes what the line between two seats did lately; once a heartbeat, from the lower one's side.
    fn look_at_line(&mut self, seat: usize, to: usize) {
        if seat < to
            && let Some(ping_us) = self.links.take_ping_us(seat, to)
            && (self.setting.begin_us..self.setting.end_us).contains(&self.now_us)
        {
            self.pings_us[seat][to].push(ping_us);
        }
    }

    fn propose(&mut self, seat: usize, client: u32, began_us: u64) {
        let command = self.load.command(seat, client);
        let node = &mut self.nodes[seat];
        if node.group.is_none() {
            self.load.lost(seat, began_us, Lost::NotApplied);
            return self.goes_on(seat, client, self.now_us + REFUSED_PAUSE_US);
        }
        if node.pending.len() >= self.setting.proposals_max {
            self.load.lost(seat, began_us, Lost::Overloaded);
            return self.goes_on(seat, client, self.now_us + REFUSED_PAUSE_US);
        }
        node.next_token += 1;
        let token = Token(node.next_token);
        node.pending.insert(token, Pending { client, began_us, committed: None });
        let wall = node.clock.now(self.now_us).wall.0;
        node.last_proposed_at = wall.max(node.last_proposed_at + 1);
        let proposed_at = WallTime(node.last_proposed_at);
        let mut command = Command::new(KvStore::footprint(&command), None, to_bytes(&command));
        command.proposed_at = proposed_at;
        self.give(seat, Job::Propose { token, command });
    }

    /// What becomes of a proposal.
    fn told(&mut self, seat: usize, at_us: u64, token: Token, word: Word) {
        let node = &mut self.nodes[seat];
        match word {
            Word::Committed(path) => {
                if let Some(pending) = node.pending.get_mut(&token) {
                    pending.committed.get_or_insert((at_us, path));
                }
            }
            Word::Answered => {
                let Some(pending) = node.pending.remove(&token) else { return };
                // A decision that came from elsewhere is known when it is executed.
                let (committed_us, path) = pending.committed.unwrap_or((at_us, Path::Recovered));
                let (began_us, executed_us) = (pending.began_us, at_us);
                let served = Served { seat, began_us, committed_us, executed_us, path };
                self.load.served(&served);
                self.goes_on(seat, pending.client, at_us);
            }
            Word::Lost(why) => {
                let Some(pending) = node.pending.remove(&token) else { return };
                self.load.lost(seat, pending.began_us, why);
                self.goes_on(seat, pending.client, at_us + REFUSED_PAUSE_US);
            }
        }
    }

    /// A client sends its next command.
    fn goes_on(&mut self, seat: usize, client: u32, at_us: u64) {
        match &self.setting.pace {
            Pace::Closed(_) => {
                let life = self.nodes[seat].incarnation;
                self.queue.push(at_us, Next::Client { seat, client, life });
            }
            Pace::Open(_) => {}
            Pace::Solo { rest_us } => {
                let seat = (seat + 1) % self.nodes.len();
                self.queue.push(at_us + rest_us, Next::Solo { seat });
            }
        }
    }

    /// The next of the Poisson arrivals at a replica: times between them are exponential.
    fn next_arrival(&mut self, seat: usize, now_us: u64) {
        let Pace::Open(rates) = &self.setting.pace else { return };
        if rates[seat] <= 0.0 {
            return;
        }
        let unit = ((self.arrival_rng.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let gap_us = (-unit.ln() * 1e6 / rates[seat]).round() as u64;
        self.queue.push(now_us + gap_us, Next::Arrival { seat });
    }

    fn event(&mut self, event: Event) {
        self.stand();
        let all = self.nodes.len();
        match event {
            Event::Kill(seat) => self.kill(seat),
            Event::Start(seat) => self.start(seat),
            Event::Cut(from, to) => self.links.cut(from, to),
            Event::Mend(from, to) => self.links.mend(from, to),
            Event::Slow(seat, by_us) => {
                for peer in (0..all).filter(|peer| *peer != seat) {
                    self.links.slow(seat, peer, by_us);
                    self.links.slow(peer, seat, by_us);
                }
            }
            Event::Unslow(seat, by_us) => {
                for peer in (0..all).filter(|peer| *peer != seat) {
                    self.links.unslow(seat, peer, by_us);
                    self.links.unslow(peer, seat, by_us);
                }
            }
        }
    }

    fn kill(&mut self, seat: usize) {
        let node = &mut self.nodes[seat];
        let Some(group) = &node.group else { return };
        add(&mut self.gone, group.protocol().counters());
        node.die();
        let mut pending: Vec<(Token, Pending)> = node.pending.drain().collect();
        pending.sort_unstable_by_key(|(token, _)| token.0);
        for (_, pending) in pending {
            self.load.lost(seat, pending.began_us, Lost::Unknown);
        }
    }

    /// Starts a replica from its journal, and its clients with it.
    fn start(&mut self, seat: usize) {
        let n = self.nodes.len();
        let (own, seed) = (ReplicaId(seat as u8), self.seed_rng.bits());
        let config = (self.config)(own, seed);
        let node = &mut self.nodes[seat];
        if node.group.is_some() {
            return;
        }
        node.incarnation += 1;
        node.clock = Clock::new(self.now_us, self.now_us, 0, 0);
        let now = node.clock.now(self.now_us);
        let suspicion = Span(self.setting.suspicion_us);
        node.detector = Detector::new(own, n, suspicion, now.monotonic);
        let entries = node.journal.clone().unwrap_or_default();
        let base = Base::birth(KvStore::default(), SessionConfig::default());
        let group = Group::restore(config, base, entries, now);
        node.group = Some(group.expect("a journal without snapshots has no marks"));
        let incarnation = node.incarnation;
        // Not all in step.
        let first = self.now_us + self.setting.heartbeat_us * (seat as u64 + 1) / (n as u64 + 1);
        self.queue.push(first, Next::Beat { seat, incarnation });
        if let Pace::Closed(clients) = &self.setting.pace {
            for client in 0..clients.get(seat).copied().unwrap_or(0) {
                let at_us = self.now_us + self.arrival_rng.below(10_000);
                self.queue.push(at_us, Next::Client { seat, client, life: incarnation });
            }
        }
        self.give(seat, Job::Wake);
    }

    /// Notes how the replicas stand when one of them has come to another epoch.
    fn look_at_epochs(&mut self) {
        let changed = self.nodes.iter().filter_map(|node| node.group.as_ref()).map(|group| {
            let counters = group.protocol().counters();
            let changed = counters.iter().find(|(name, _)| *name == "epochs_changed");
            changed.map_or(0, |(_, count)| *count)
        });
        let changed = changed.max().unwrap_or(0);
        if changed > self.epochs_changed {
            self.epochs_changed = changed;
            self.stand();
        }
    }

    /// Notes how the replicas stand.
    fn stand(&mut self) {
        for (seat, node) in self.nodes.iter().enumerate() {
            let status = node.group.as_ref().and_then(|group| group.protocol().status());
            if let Some(status) = status {
                self.standing.push(Standing { at_us: self.now_us, seat, status });
            }
        }
    }

    fn counters(&self) -> BTreeMap<&'static str, u64> {
        let mut sum = self.gone.clone();
        for group in self.nodes.iter().filter_map(|node| node.group.as_ref()) {
            add(&mut sum, group.protocol().counters());
        }
        sum
    }

    /// Whether all commands are answered, and all living have executed the same.
    fn has_settled(&self) -> bool {
        self.nodes.iter().all(|node| node.pending.is_empty()) && self.agree()
    }

    fn agree(&self) -> bool {
        let mut living = self.nodes.iter().filter_map(|node| node.group.as_ref());
        let ends = |group: &Group<P, KvStore>| (group.executed(), group.machine().state_hash());
        let first = living.next().map(ends);
        living.all(|group| Some(ends(group)) == first)
    }

    fn finish(self) -> Outcome {
        let counted = self.counters();
        let counters = counted.iter().map(|(name, count)| {
            let before = self.counters_before.get(name).copied().unwrap_or(0);
            let grown = if name.ends_with("_max") { *count } else { count - before.min(*count) };
            ((*name).to_owned(), grown)
        });
        let groups = || self.nodes.iter().map(|node| node.group.as_ref());
        Outcome {
            messages: self.measured.messages,
            frames: self.measured.frames,
            bytes: self.measured.bytes,
            frames_lost: self.links.lost(),
            syncs: self.measured.syncs,
            counters: counters.filter(|(_, count)| *count > 0).collect(),
            executed: groups().map(|group| group.map(Group::executed)).collect(),
            states: groups().map(|group| Some(group?.machine().state_hash())).collect(),
            agreed: self.agree(),
            unanswered: self.nodes.iter().map(|node| node.pending.len() as u64).sum(),
            settled_us: self.now_us.saturating_sub(self.setting.end_us),
            needs_state: self.needs_state,
            pings_us: self.pings_us,
            standing: self.standing,
            steps: self.steps,
        }
    }
}

fn add(sum: &mut BTreeMap<&'static str, u64>, counters: Vec<(&'static str, u64)>) {
    for (name, count) in counters {
        let all = sum.entry(name).or_default();
        *all = if name.ends_with("_max") { count.max(*all) } else { *all + count };
    }
}

fn empty_node<P: Protocol>(setting: &Setting, seat: usize) -> Node<P> {
    let restarts = setting.events.iter().any(|(_, event)| *event == Event::Start(seat));
    let own = ReplicaId(seat as u8);
    Node {
        group: None,
        incarnation: 0,
        clock: Clock::new(0, 0, 0, 0),
        detector: Detector::new(own, setting.lines.len(), Span(1), Time(0)),
        inbox: std::collections::VecDeque::new(),
        scheduled: false,
        busy_until_us: 0,
        busy_rest_ns: 0,
        wake_at_us: None,
        pending: FxHashMap::default(),
        next_token: 0,
        last_proposed_at: 0,
        written: RecordSeq(0),
        syncing: None,
        journal: restarts.then(Vec::new),
        journal_before: 0,
        durable: RecordSeq(0),
    }
}
