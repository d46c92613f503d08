//! A small deterministic world for Fast Paxos replicas: virtual time, a network that delays, loses,
//! duplicates, reorders and cuts, journals that lose what was not synced, clocks that differ. What
//! must hold is checked after every step.

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod check;
pub(crate) mod geo;
pub(crate) mod rng;
pub(crate) mod swarm;
pub(crate) mod sweep;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_consensus::{
    Command, Durable, EffectsOf, Execution, Footprint, Gated, Input, KeyHash, Mode, Now, Output,
    Path, Protocol, RecordSeq, ReplicaId, ReplicaSet, Slot, Time, Token, WallTime,
};
use panchayat_fastpaxos::{Config, FastPaxos, Message, Record};

use check::{Applied, Checks};
use rng::Rng;

/// Microseconds of true time.
pub(crate) type Us = u64;
pub(crate) const MS: Us = 1_000;

/// How the network, the disks and the detector behave.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    /// `one_way[a][b]`: from a to b.
    pub(crate) one_way: Vec<Vec<Us>>,
    /// Lognormal, added to a message's way: median in µs, and sigma.
    pub(crate) jitter: (f64, f64),
    /// Chances in a million, per message.
    pub(crate) loss: u64,
    pub(crate) duplicate: u64,
    pub(crate) spike: u64,
    /// A sync takes up to this.
    pub(crate) sync: Us,
    /// Chance in a million, per message, that its sender dies just before it leaves.
    pub(crate) die: u64,
    /// Silence that makes a process suspected.
    pub(crate) detector: Us,
}

#[derive(Clone, Debug)]
enum Event {
    Deliver { from: usize, to: usize, bytes: Bytes },
    Synced { node: usize, run: u64, upto: usize },
    Wake { node: usize, run: u64 },
    Detect,
    State { to: usize, run: u64, handover: Vec<Record>, state: Applied },
    Do(Action),
}

/// What a test can have happen at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Propose(usize),
    Crash(usize),
    Restart(usize),
    Cut(usize, usize),
    HealAll,
    Pause(usize, Us),
    Snapshot(usize),
    ClockJump(usize, Us),
}

/// A proposal that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) node: usize,
    pub(crate) proposed: Us,
    pub(crate) committed: (Us, Path),
    pub(crate) executed: Us,
}

/// A journal's items: records, and images with the states they go with.
#[derive(Clone, Debug)]
enum Item {
    Record(Record),
    Image(Vec<Record>, Applied),
}

/// One machine: a disk that stays, clocks, and a process that may be gone.
#[derive(Debug, Default)]
pub(crate) struct Node {
    journal: Vec<Item>,
    synced: usize,
    syncing: bool,
    run: u64,
    /// By how much the clocks differ from true time.
    boot: u64,
    pub(crate) wall: u64,
    paused_until: Us,
    heard: Vec<Us>,
    pub(crate) process: Option<Process>,
}

/// A proposal without a result: its payload, when it was made, when and how it was committed.
type Waiting = (u64, Us, Option<(Us, Path)>);

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) protocol: FastPaxos,
    effects: EffectsOf<FastPaxos>,
    held: VecDeque<Gated<Output<Message>>>,
    executions: VecDeque<Gated<Execution>>,
    /// Where in the journal each record of this run is.
    record_at: Vec<usize>,
    pub(crate) state: Applied,
    wake: Option<Time>,
    suspected: ReplicaSet,
    seen: Slot,
    /// A state was installed and is not synced: nothing leaves.
    blocked: bool,
    state_asked: Option<Us>,
    pub(crate) waiting: BTreeMap<Token, Waiting>,
    tokens: u64,
}

impl Node {
    fn now(&self, time: Us) -> Now {
        Now { monotonic: Time(self.boot + time), wall: WallTime(self.wall + time) }
    }

    fn durable(&self) -> Durable {
        let records = self.process.as_ref().map_or(&[][..], |process| &process.record_at);
        Durable(RecordSeq(records.partition_point(|at| *at < self.synced) as u64))
    }
}

pub(crate) struct World {
    pub(crate) now: Us,
    pub(crate) nodes: Vec<Node>,
    pub(crate) weather: Weather,
    cut: Vec<Vec<bool>>,
    pub(crate) checks: Checks,
    pub(crate) answered: Vec<Answered>,
    pub(crate) rejected: u64,
    pub(crate) messages: u64,
    totals: BTreeMap<&'static str, u64>,
    configs: Vec<Config>,
    rng: Rng,
    events: BTreeMap<(Us, u64), Event>,
    sequence: u64,
    payloads: u64,
}

impl World {
    pub(crate) fn new(configs: Vec<Config>, weather: Weather, seed: u64) -> Self {
        let n = configs.len();
        let mut world = Self {
            now: 1_000,
            nodes: (0..n).map(|_| Node::default()).collect(),
            weather,
            cut: vec![vec![false; n]; n],
            checks: Checks::default(),
            answered: Vec::new(),
            rejected: 0,
            messages: 0,
            totals: BTreeMap::new(),
            configs,
            rng: Rng(seed),
            events: BTreeMap::new(),
            sequence: 0,
            payloads: 0,
        };
        world.push(world.now, Event::Detect);
        world
    }

    pub(crate) fn n(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn start(&mut self) {
        (0..self.n()).for_each(|node| self.restart(node));
    }

    pub(crate) fn at(&mut self, time: Us, action: Action) {
        self.push(time, Event::Do(action));
    }

    fn push(&mut self, time: Us, event: Event) {
        self.sequence += 1;
        self.events.insert((time.max(self.now), self.sequence), event);
    }

    pub(crate) fn run_until(&mut self, time: Us) {
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= time
        {
            let ((at, _), event) = entry.remove_entry();
            self.now = self.now.max(at);
            self.one(event);
        }
        self.now = self.now.max(time);
    }

    /// Runs until `done`, looked at now and then; false if that takes until `limit`.
    pub(crate) fn run_until_done(&mut self, limit: Us, done: impl Fn(&Self) -> bool) -> bool {
        while !done(self) {
            if self.now >= limit {
                return false;
            }
            self.run_until((self.now + 20 * MS).min(limit));
        }
        true
    }

    fn one(&mut self, event: Event) {
        let at = match &event {
            Event::Deliver { to, .. } | Event::State { to, .. } => Some(*to),
            Event::Synced { node, .. } | Event::Wake { node, .. } => Some(*node),
            Event::Do(Action::Propose(node) | Action::Snapshot(node)) => Some(*node),
            Event::Detect | Event::Do(_) => None,
        };
        if let Some(until) = at.map(|node| self.nodes[node].paused_until)
            && until > self.now
        {
            self.push(until, event);
            return;
        }
        match event {
            Event::Deliver { from, to, bytes } => {
                let message = from_bytes::<Message>(bytes).expect("what was sent decodes");
                let from = ReplicaId(from as u8);
                self.step(to, Input::Receive { from, message });
            }
            Event::Synced { node, run, upto } => self.synced(node, run, upto),
            Event::Wake { node, run } => self.wake(node, run),
            Event::Detect => self.detect(),
            Event::State { to, run, handover, state } => self.install(to, run, handover, state),
            Event::Do(action) => self.act(action),
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Propose(node) => _ = self.propose(node),
            Action::Crash(node) => self.crash(node),
            Action::Restart(node) => self.restart(node),
            Action::Cut(from, to) => self.cut[from][to] = true,
            Action::HealAll => self.cut.iter_mut().for_each(|row| row.fill(false)),
            Action::Pause(node, span) => {
                let until = self.now + span;
                self.nodes[node].paused_until = self.nodes[node].paused_until.max(until);
            }
            Action::Snapshot(node) => self.snapshot(node),
            Action::ClockJump(node, wall) => self.nodes[node].wall = wall,
        }
    }

    fn step(&mut self, node: usize, input: Input<Message>) {
        let now = self.nodes[node].now(self.now);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.protocol.step(now, input, &mut process.effects);
        self.turn(node);
    }

    /// A client proposes a command of its own at `node`.
    pub(crate) fn propose(&mut self, node: usize) -> Option<u64> {
        let process = self.nodes[node].process.as_mut()?;
        self.payloads += 1;
        let payload = self.payloads;
        process.tokens += 1;
        let token = Token(process.tokens);
        process.waiting.insert(token, (payload, self.now, None));
        let mut bytes = payload.to_le_bytes().to_vec();
        bytes.resize(8 + self.rng.below(60) as usize, 0);
        let footprint = Footprint::new([(KeyHash(payload % 7), Mode::Write)]);
        let command = Command::new(footprint, None, bytes.into());
        self.checks.submitted.insert(payload);
        self.step(node, Input::Propose { token, command });
        Some(payload)
    }

    fn detect(&mut self) {
        self.push(self.now + 20 * MS, Event::Detect);
        for node in 0..self.n() {
            for peer in (0..self.n()).filter(|peer| *peer != node) {
                let there = &self.nodes[peer];
                let audible = there.process.is_some()
                    && there.paused_until <= self.now
                    && !self.cut[peer][node];
                let here = &mut self.nodes[node];
                if audible || here.process.is_none() {
                    here.heard[peer] = self.now;
                }
                let silent = self.now - here.heard[peer] > self.weather.detector;
                let id = ReplicaId(peer as u8);
                let Some(process) = here.process.as_mut().filter(|_| here.paused_until <= self.now)
                else {
                    continue;
                };
                if silent && process.suspected.insert(id) {
                    self.step(node, Input::PeerSuspected(id));
                } else if !silent && process.suspected.remove(id) {
                    self.step(node, Input::PeerUp(id));
                }
            }
        }
    }

    /// Records to the journal, then what may leave.
    fn turn(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let Some(process) = &mut here.process else { return };
        for record in process.effects.take_records() {
            let coded = from_bytes(to_bytes(&record)).expect("a record decodes");
            assert_eq!(record, coded, "a record comes back as it was written");
            process.record_at.push(here.journal.len());
            here.journal.push(Item::Record(record));
        }
        let outputs: Vec<_> = process.effects.take_outputs().collect();
        process.held.extend(outputs);
        process.executions.extend(process.effects.take_executions());
        self.sync(node);
        self.release(node);
        let now = self.nodes[node].now(self.now).monotonic;
        let Some(process) = &mut self.nodes[node].process else { return };
        if let Some(wake) = process.effects.take_wake()
            && process.wake.is_none_or(|earlier| earlier > wake)
        {
            process.wake = Some(wake);
            let run = self.nodes[node].run;
            let at = self.now + wake.0.saturating_sub(now.0);
            self.push(at, Event::Wake { node, run });
        }
        self.look(node);
    }

    fn release(&mut self, node: usize) {
        let durable = self.nodes[node].durable();
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.blocked {
            return;
        }
        let held = std::mem::take(&mut process.held);
        let (mut opened, mut locked) = (Vec::new(), VecDeque::new());
        for output in held {
            match output.open(durable) {
                Ok(output) => opened.push(output),
                Err(output) => locked.push_back(output),
            }
        }
        process.held = locked;
        for output in opened {
            if self.rng.chance(self.weather.die) {
                self.crash(node);
                return;
            }
            self.put_out(node, output);
        }
        let Some(process) = &mut self.nodes[node].process else { return };
        while let Some(execution) = process.executions.pop_front() {
            match execution.open(durable) {
                Ok(execution) => {
                    self.checks.execute(node, &execution, &mut process.state);
                    let Some(token) = execution.token else { continue };
                    let (payload, proposed, committed) =
                        process.waiting.remove(&token).expect("answered once");
                    assert_eq!(payload, payload_of(&execution.command), "another's result");
                    assert!(self.checks.answered.insert(payload), "{payload} answered twice");
                    let committed = committed.expect("commit is told before the result");
                    let executed = self.now;
                    self.answered.push(Answered { node, proposed, committed, executed });
                }
                Err(execution) => {
                    process.executions.push_front(execution);
                    break;
                }
            }
        }
    }

    fn put_out(&mut self, node: usize, output: Output<Message>) {
        let now = self.now;
        match output {
            Output::Send { to, message } => {
                assert!(!to.contains(ReplicaId(node as u8)), "a message to oneself");
                let bytes = to_bytes(&message);
                to.iter().for_each(|peer| self.transmit(node, peer.index(), &bytes));
            }
            Output::Committed { token, path } => {
                let Some(process) = &mut self.nodes[node].process else { return };
                let waiting = process.waiting.get_mut(&token).expect("committed while waiting");
                assert!(waiting.2.replace((now, path)).is_none(), "committed twice");
            }
            Output::Rejected { token, .. } => {
                self.rejected += 1;
                let Some(process) = &mut self.nodes[node].process else { return };
                let (payload, ..) = process.waiting.remove(&token).expect("rejected once");
                self.checks.rejected.insert(payload);
            }
            other => panic!("a Fast Paxos replica never says {other:?}"),
        }
    }

    fn transmit(&mut self, from: usize, to: usize, bytes: &Bytes) {
        self.messages += 1;
        let Weather { loss, duplicate, spike, jitter: (median, sigma), .. } = self.weather;
        for _ in 0..1 + usize::from(self.rng.chance(duplicate)) {
            if self.cut[from][to] || self.rng.chance(loss) {
                continue;
            }
            let mut delay = self.weather.one_way[from][to];
            if median > 0.0 {
                // Box and Muller.
                let (u, v) = (self.rng.unit().max(1e-12), self.rng.unit());
                let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                delay += (median * (sigma * normal).exp()) as Us;
            }
            if self.rng.chance(spike) {
                delay += self.rng.below(300 * MS);
            }
            self.push(self.now + delay, Event::Deliver { from, to, bytes: bytes.clone() });
        }
    }

    fn look(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        process.protocol.check_invariants();
        self.checks.look(node, &process.protocol, &mut process.seen);
        if process.executions.is_empty() {
            process.state.upto = process.state.upto.max(process.protocol.chosen_upto());
        }
        let wanted = process.protocol.needs_state();
        if !wanted.is_empty() && process.state_asked.is_none_or(|at| self.now >= at + 100 * MS) {
            process.state_asked = Some(self.now);
            self.send_state(node, wanted);
        }
    }

    fn sync(&mut self, node: usize) {
        let delay = self.rng.below(self.weather.sync + 1);
        let here = &mut self.nodes[node];
        if !here.syncing && here.synced < here.journal.len() && here.process.is_some() {
            here.syncing = true;
            let (run, upto) = (here.run, here.journal.len());
            self.push(self.now + delay, Event::Synced { node, run, upto });
        }
    }

    fn synced(&mut self, node: usize, run: u64, upto: usize) {
        let here = &mut self.nodes[node];
        if here.run != run {
            return;
        }
        here.synced = upto;
        here.syncing = false;
        if let Some(process) = &mut here.process {
            let mut unsynced = here.journal[upto..].iter();
            process.blocked &= unsynced.any(|item| matches!(item, Item::Image(..)));
        }
        let durable = here.durable();
        self.step(node, Input::Durable(durable));
    }

    fn wake(&mut self, node: usize, run: u64) {
        let here = &mut self.nodes[node];
        let now = here.now(self.now).monotonic;
        if here.run == run
            && let Some(process) = &mut here.process
            && process.wake.is_some_and(|due| due <= now)
        {
            process.wake = None;
            self.step(node, Input::Wake);
        }
    }

    /// Power is lost: what was not synced may have reached the disk, up to some record.
    pub(crate) fn crash(&mut self, node: usize) {
        let lucky = self.rng.chance(300_000);
        let more = self.rng.below(1 << 30) as usize;
        let here = &mut self.nodes[node];
        let Some(process) = here.process.take() else { return };
        for (name, count) in Protocol::counters(&process.protocol) {
            add(&mut self.totals, name, count);
        }
        let unsynced = here.journal.len() - here.synced;
        here.journal.truncate(here.synced + if lucky { more % (unsynced + 1) } else { 0 });
        here.synced = here.journal.len();
        here.syncing = false;
        here.run += 1;
    }

    pub(crate) fn restart(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let boot = self.rng.below(1_000_000_000);
        let here = &mut self.nodes[node];
        here.run += 1;
        here.boot = boot;
        let image = here.journal.iter().rposition(|item| matches!(item, Item::Image(..)));
        here.journal.drain(..image.unwrap_or(0));
        here.synced = here.journal.len();
        let (mut state, mut records) = (Applied::default(), Vec::new());
        for item in &here.journal {
            match item {
                Item::Record(record) => records.push(record.clone()),
                Item::Image(image, then) => (records, state) = (image.clone(), then.clone()),
            }
        }
        let now = here.now(self.now);
        let mut effects = EffectsOf::<FastPaxos>::default();
        let config = self.configs[node].clone();
        let protocol = FastPaxos::restore(config, records, now, &mut effects);
        here.heard = vec![self.now; self.configs.len()];
        here.process = Some(Process {
            seen: protocol.collected_upto(),
            protocol,
            effects,
            held: VecDeque::new(),
            executions: VecDeque::new(),
            record_at: Vec::new(),
            state,
            wake: None,
            suspected: ReplicaSet::EMPTY,
            blocked: false,
            state_asked: None,
            waiting: BTreeMap::new(),
            tokens: 0,
        });
        self.turn(node);
    }

    fn snapshot(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let Some(process) = &mut here.process else { return };
        if process.executions.is_empty() && !process.blocked {
            here.journal.push(Item::Image(process.protocol.image(), process.state.clone()));
            self.sync(node);
        }
    }

    fn send_state(&mut self, to: usize, from: ReplicaSet) {
        let delay = self.rng.below(30 * MS) + 1;
        let run = self.nodes[to].run;
        let givers: Vec<ReplicaId> = from.iter().collect();
        let giver = self.rng.pick(&givers).index();
        if self.cut[giver][to] || self.cut[to][giver] {
            return;
        }
        let now = self.nodes[giver].now(self.now);
        let Some(process) = &mut self.nodes[giver].process else { return };
        if process.executions.is_empty() && !process.blocked {
            process.protocol.hold(now);
            let handover = FastPaxos::handover(process.protocol.image());
            let state = process.state.clone();
            self.push(self.now + delay, Event::State { to, run, handover, state });
        }
    }

    fn install(&mut self, to: usize, run: u64, handover: Vec<Record>, state: Applied) {
        let here = &mut self.nodes[to];
        let now = here.now(self.now);
        let Some(process) = here.process.as_mut().filter(|_| here.run == run) else { return };
        if !process.protocol.can_install(&handover) || !process.executions.is_empty() {
            return;
        }
        process.protocol.install(now, handover, &mut process.effects);
        process.state = state;
        // Executions that follow at once belong to the image.
        for execution in process.effects.take_executions() {
            let execution = execution.open(Durable(RecordSeq(u64::MAX))).expect("all is durable");
            self.checks.execute(to, &execution, &mut process.state);
            if let Some(token) = execution.token {
                process.waiting.remove(&token);
            }
        }
        process.state.upto = process.protocol.chosen_upto();
        process.seen = process.protocol.collected_upto().max(process.seen);
        here.journal.push(Item::Image(process.protocol.image(), process.state.clone()));
        process.blocked = true;
        add(&mut self.totals, "states_installed", 1);
        self.turn(to);
    }

    pub(crate) fn protocol(&self, node: usize) -> Option<&FastPaxos> {
        Some(&self.nodes[node].process.as_ref()?.protocol)
    }

    /// The replica that coordinates at the highest ballot.
    pub(crate) fn coordinator(&self) -> Option<usize> {
        let nodes = (0..self.n()).filter_map(|node| Some((node, self.protocol(node)?)));
        let coordinating = nodes.filter(|(_, protocol)| protocol.is_coordinator());
        coordinating.max_by_key(|(_, protocol)| protocol.promised()).map(|(node, _)| node)
    }

    /// Counters, over all replicas and their runs: summed, or the largest where that is meant.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut totals = self.totals.clone();
        for protocol in (0..self.n()).filter_map(|node| self.protocol(node)) {
            for (name, count) in Protocol::counters(protocol) {
                add(&mut totals, name, count);
            }
        }
        totals
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts().get(name).copied().unwrap_or(0)
    }

    /// Whether every replica that runs has executed the same and owes nobody an answer.
    pub(crate) fn is_settled(&self) -> bool {
        let running: Vec<&Process> =
            self.nodes.iter().filter_map(|node| node.process.as_ref()).collect();
        let upto = running.iter().map(|process| process.protocol.chosen_upto()).max();
        running.iter().all(|process| {
            process.protocol.in_flight() == 0
                && Some(process.protocol.chosen_upto()) == upto
                && process.executions.is_empty()
        })
    }
}

pub(crate) fn add(totals: &mut BTreeMap<&'static str, u64>, name: &'static str, count: u64) {
    let total = totals.entry(name).or_default();
    *total = if name == "tries_max" { count.max(*total) } else { *total + count };
}

pub(crate) fn payload_of(command: &Command) -> u64 {
    u64::from_le_bytes(command.payload[..8].try_into().expect("eight bytes"))
}
