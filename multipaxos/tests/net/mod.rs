//! A small deterministic world for Multi-Paxos replicas: virtual time, a network that delays,
//! loses, duplicates and cuts, journals that lose what was not synced, clocks that run fast or
//! slow. What must hold is checked after every step.

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod check;
pub(crate) mod node;
pub(crate) mod rng;
pub(crate) mod scenarios;
pub(crate) mod swarm;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;
use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_consensus::{
    Command, Footprint, Input, KeyHash, Mode, NotApplied, Output, Path, Protocol, ReplicaId,
    ReplicaSet, Slot,
};
use panchayat_multipaxos::{Config, Message, MultiPaxos, Record, Way};

use check::Checks;
use node::{Item, Node, Process, State};
use rng::Rng;

/// Microseconds of true time.
pub(crate) type Us = u64;

/// How the network, the disks and the detector behave.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    /// `one_way[a][b]`: from a to b.
    pub(crate) one_way: Vec<Vec<Us>>,
    /// Added to a message's way, at most.
    pub(crate) jitter: Us,
    /// Chances in a million, per message.
    pub(crate) loss: u32,
    pub(crate) duplicate: u32,
    pub(crate) spike: u32,
    /// A sync takes up to this.
    pub(crate) sync: Us,
    /// Chance in a million, per output, that the replica dies just before it leaves.
    pub(crate) die: u32,
    /// Silence that makes a process suspected.
    pub(crate) detector: Us,
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Deliver { from: usize, to: usize, bytes: Bytes },
    Synced { node: usize, incarnation: u64, upto: usize },
    Wake { node: usize, incarnation: u64 },
    Detect,
    State { to: usize, incarnation: u64, handover: Vec<Record>, state: State },
    Do(Action),
}

/// What a test can have happen at a time.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Propose(usize),
    Read(usize, Way),
    Crash(usize),
    Restart(usize),
    Cut(usize, usize),
    HealAll,
    Pause(usize, Us),
    Snapshot(usize),
    Transfer(usize, usize),
}

/// A proposal that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) node: usize,
    pub(crate) proposed: Us,
    pub(crate) committed: Option<(Us, Path)>,
    pub(crate) executed: Us,
    pub(crate) slot: Slot,
}

pub(crate) struct World {
    pub(crate) now: Us,
    pub(crate) nodes: Vec<Node>,
    pub(crate) weather: Weather,
    pub(crate) cut: Vec<Vec<bool>>,
    pub(crate) checks: Checks,
    pub(crate) answered: Vec<Answered>,
    pub(crate) rejected: u64,
    pub(crate) reads_served: BTreeMap<Way, Vec<Us>>,
    pub(crate) reads_refused: u64,
    pub(crate) given_up: u64,
    pub(crate) messages: u64,
    pub(crate) totals: BTreeMap<&'static str, u64>,
    configs: Vec<Config>,
    rng: Rng,
    queue: BinaryHeap<Reverse<(Us, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    payloads: u64,
}

impl World {
    pub(crate) fn new(configs: Vec<Config>, weather: Weather, seed: u64) -> Self {
        let n = configs.len();
        let mut world = Self {
            now: 1_000,
            nodes: (0..n).map(|_| Node::new()).collect(),
            weather,
            cut: vec![vec![false; n]; n],
            checks: Checks::default(),
            answered: Vec::new(),
            rejected: 0,
            reads_served: BTreeMap::new(),
            reads_refused: 0,
            given_up: 0,
            messages: 0,
            totals: BTreeMap::new(),
            configs,
            rng: Rng::new(seed),
            queue: BinaryHeap::new(),
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
        for node in 0..self.n() {
            self.act(Action::Restart(node));
        }
    }

    pub(crate) fn at(&mut self, time: Us, action: Action) {
        self.push(time, Event::Do(action));
    }

    fn push(&mut self, time: Us, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((time.max(self.now), self.sequence)));
        self.events.insert(self.sequence, event);
    }

    /// Runs until `time`.
    pub(crate) fn run_until(&mut self, time: Us) {
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= time) {
            self.one();
        }
        self.now = self.now.max(time);
    }

    /// Runs until `done`, checked now and then; false if that takes until `limit`.
    pub(crate) fn run_until_done(
        &mut self,
        limit: Us,
        mut done: impl FnMut(&Self) -> bool,
    ) -> bool {
        loop {
            if done(self) {
                return true;
            }
            if self.now >= limit {
                return false;
            }
            self.run_until((self.now + 20_000).min(limit));
        }
    }

    fn one(&mut self) {
        let Some(Reverse((time, sequence))) = self.queue.pop() else { return };
        self.now = self.now.max(time);
        let Some(event) = self.events.remove(&sequence) else { return };
        if let Some(node) = self.node_of(&event)
            && self.nodes[node].paused_until > self.now
        {
            let until = self.nodes[node].paused_until;
            self.push(until, event);
            return;
        }
        match event {
            Event::Deliver { from, to, bytes } => {
                let message = from_bytes::<Message>(bytes).expect("what was sent decodes");
                let from = ReplicaId(from as u8);
                self.step(to, Input::Receive { from, message });
            }
            Event::Synced { node, incarnation, upto } => self.synced(node, incarnation, upto),
            Event::Wake { node, incarnation } => self.wake(node, incarnation),
            Event::Detect => self.detect(),
            Event::State { to, incarnation, handover, state } => {
                self.install(to, incarnation, handover, state);
            }
            Event::Do(action) => self.act(action),
        }
    }

    fn node_of(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Deliver { to, .. } | Event::State { to, .. } => Some(*to),
            Event::Synced { node, .. } | Event::Wake { node, .. } => Some(*node),
            Event::Do(Action::Propose(node) | Action::Read(node, _) | Action::Snapshot(node)) => {
                Some(*node)
            }
            _ => None,
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Propose(node) => _ = self.propose(node),
            Action::Read(node, level) => self.read(node, level),
            Action::Crash(node) => self.crash(node),
            Action::Restart(node) => self.restart(node),
            Action::Cut(from, to) => self.cut[from][to] = true,
            Action::HealAll => self.cut.iter_mut().for_each(|row| row.fill(false)),
            Action::Pause(node, span) => {
                let until = self.now + span;
                self.nodes[node].paused_until = self.nodes[node].paused_until.max(until);
            }
            Action::Snapshot(node) => self.snapshot(node),
            Action::Transfer(node, to) => {
                let now = self.nodes[node].clock.now(self.now);
                if let Some(process) = &mut self.nodes[node].process {
                    let to = ReplicaId(to as u8);
                    process.protocol.transfer(to, now, &mut process.effects);
                    self.turn(node);
                }
            }
        }
    }

    fn step(&mut self, node: usize, input: Input<Message>) {
        let now = self.nodes[node].clock.now(self.now);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.protocol.step(now, input, &mut process.effects);
        self.turn(node);
    }

    /// A client proposes a command of its own at `node`; its payload.
    pub(crate) fn propose(&mut self, node: usize) -> Option<u64> {
        self.payloads += 1;
        let payload = self.payloads;
        let size = 8 + self.rng.below(60) as usize;
        let mut bytes = payload.to_le_bytes().to_vec();
        bytes.resize(size, 0);
        let footprint = Footprint::new([(KeyHash(payload % 7), Mode::Write)]);
        let command = Command::new(footprint, None, bytes.into());
        let now = self.now;
        let process = self.nodes[node].process.as_mut()?;
        let token = process.next_token();
        process.waiting.insert(token, (payload, now, None));
        self.checks.submitted(payload);
        self.step(node, Input::Propose { token, command });
        Some(payload)
    }

    /// A client reads at `node`: it must see every command answered so far.
    pub(crate) fn read(&mut self, node: usize, level: Way) {
        let floor = self.checks.answered_upto();
        let (now, local) = (self.now, self.nodes[node].clock.now(self.now));
        let Some(process) = &mut self.nodes[node].process else { return };
        let token = process.next_token();
        process.reads.insert(token, (level, floor, now));
        process.protocol.read(token, level, local, &mut process.effects);
        self.turn(node);
    }

    fn detect(&mut self) {
        self.push(self.now + 20_000, Event::Detect);
        for node in 0..self.n() {
            for peer in 0..self.n() {
                let audible = node != peer
                    && self.nodes[peer].process.is_some()
                    && self.nodes[peer].paused_until <= self.now
                    && !self.cut[peer][node];
                if audible || self.nodes[node].process.is_none() {
                    self.nodes[node].heard[peer] = self.now;
                }
                let silent = self.now - self.nodes[node].heard[peer] > self.weather.detector;
                let id = ReplicaId(peer as u8);
                if node == peer || self.nodes[node].paused_until > self.now {
                    continue;
                }
                let Some(process) = &mut self.nodes[node].process else { continue };
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
        self.sync(node);
        let Some(process) = &mut self.nodes[node].process else { return };
        let outputs: Vec<_> = process.effects.take_outputs().collect();
        process.held.extend(outputs);
        process.executions.extend(process.effects.take_executions());
        let blocked = process.blocked;
        let mut kept = std::collections::VecDeque::new();
        while let Some(output) = self.process(node).and_then(|process| process.held.pop_front()) {
            let durable = self.nodes[node].durable();
            if blocked {
                kept.push_back(output);
                continue;
            }
            match output.open(durable) {
                Ok(output) => {
                    if self.rng.chance(self.weather.die) {
                        self.crash(node);
                        return;
                    }
                    self.release(node, output);
                }
                Err(output) => kept.push_back(output),
            }
        }
        let durable = self.nodes[node].durable();
        let Some(process) = &mut self.nodes[node].process else { return };
        process.held = kept;
        while !blocked && let Some(execution) = process.executions.pop_front() {
            match execution.open(durable) {
                Ok(execution) => {
                    let answered = self.checks.execute(node, execution, self.now, process);
                    self.answered.extend(answered);
                }
                Err(execution) => {
                    process.executions.push_front(execution);
                    break;
                }
            }
        }
        if let Some(wake) = process.effects.take_wake() {
            let earlier = process.wake.filter(|earlier| *earlier <= wake);
            if earlier.is_none() {
                process.wake = Some(wake);
                let incarnation = self.nodes[node].incarnation;
                let time = self.nodes[node].clock.when(wake, self.now);
                self.push(time, Event::Wake { node, incarnation });
            }
        }
        self.look(node);
    }

    fn process(&mut self, node: usize) -> Option<&mut Process> {
        self.nodes[node].process.as_mut()
    }

    fn look(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        process.protocol.check_invariants();
        self.checks.look(node, &process.protocol, &mut process.seen);
        if process.executions.is_empty() {
            process.state.upto = process.state.upto.max(process.protocol.chosen_upto());
        }
        let leads = process.protocol.is_leader();
        if leads {
            let holds = |node: &&Node| {
                let now = node.clock.now(self.now);
                node.process.as_ref().is_some_and(|process| process.protocol.holds_lease(now))
            };
            let holders = self.nodes.iter().filter(holds).count();
            self.checks.lease_holders(holders);
        }
        let Some(process) = &mut self.nodes[node].process else { return };
        let wanted = process.protocol.needs_state();
        if !wanted.is_empty() && process.state_asked.is_none_or(|at| self.now >= at + 100_000) {
            process.state_asked = Some(self.now);
            self.send_state(node, wanted);
        }
    }

    fn release(&mut self, node: usize, output: Output<Message>) {
        match output {
            Output::Send { to, message } => {
                assert!(!to.contains(ReplicaId(node as u8)), "a message to oneself");
                let bytes = to_bytes(&message);
                for peer in to.iter() {
                    self.transmit(node, peer.index(), bytes.clone());
                }
            }
            Output::Committed { token, path } => {
                let now = self.now;
                if let Some(process) = self.process(node)
                    && let Some(waiting) = process.waiting.get_mut(&token)
                {
                    assert!(waiting.2.is_none(), "committed twice");
                    waiting.2 = Some((now, path));
                }
            }
            Output::Rejected { token, reason } => {
                assert!(matches!(reason, NotApplied::Overloaded | NotApplied::Unreachable));
                self.rejected += 1;
                let waiting = self.process(node).and_then(|process| process.waiting.remove(&token));
                let (payload, ..) = waiting.expect("rejected once");
                self.checks.rejected(payload);
            }
            Output::Unknown { token } => {
                let waiting = self.process(node).and_then(|process| process.waiting.remove(&token));
                assert!(waiting.is_some(), "given up once");
                self.given_up += 1;
            }
            Output::ReadReady { token, .. } => {
                let now = self.now;
                let Some(process) = self.process(node) else { return };
                // Everything handed out so far is applied before the answer.
                let upto = process.protocol.chosen_upto();
                let (way, floor, since) = process.reads.remove(&token).expect("one answer each");
                self.checks.read(node, way, floor, upto);
                self.reads_served.entry(way).or_default().push(now - since);
            }
            Output::ReadRefused { token, .. } => {
                let read = self.process(node).and_then(|process| process.reads.remove(&token));
                assert!(read.is_some(), "one answer each");
                self.reads_refused += 1;
            }
        }
    }

    fn transmit(&mut self, from: usize, to: usize, bytes: Bytes) {
        self.messages += 1;
        let Weather { loss, duplicate, spike, jitter, .. } = self.weather;
        let copies = 1 + usize::from(self.rng.chance(duplicate));
        for _ in 0..copies {
            if self.cut[from][to] || self.rng.chance(loss) {
                continue;
            }
            let mut delay = self.weather.one_way[from][to] + self.rng.below(jitter + 1);
            if self.rng.chance(spike) {
                delay += self.rng.below(300_000);
            }
            self.push(self.now + delay, Event::Deliver { from, to, bytes: bytes.clone() });
        }
    }

    fn sync(&mut self, node: usize) {
        let delay = self.rng.below(self.weather.sync + 1);
        let here = &mut self.nodes[node];
        if !here.syncing && here.synced < here.journal.len() && here.process.is_some() {
            here.syncing = true;
            let (incarnation, upto) = (here.incarnation, here.journal.len());
            self.push(self.now + delay, Event::Synced { node, incarnation, upto });
        }
    }

    fn synced(&mut self, node: usize, incarnation: u64, upto: usize) {
        if self.nodes[node].incarnation != incarnation {
            return;
        }
        self.nodes[node].synced = upto;
        self.nodes[node].syncing = false;
        let here = &mut self.nodes[node];
        if let Some(process) = &mut here.process {
            let unsynced = here.journal[upto..].iter();
            let image = unsynced.filter(|item| matches!(item, Item::Image(..))).count();
            process.blocked &= image > 0;
        }
        let durable = self.nodes[node].durable();
        self.step(node, Input::Durable(durable));
        self.sync(node);
    }

    fn wake(&mut self, node: usize, incarnation: u64) {
        let here = &mut self.nodes[node];
        let due = here.process.as_ref().and_then(|process| process.wake);
        let now = here.clock.now(self.now).monotonic;
        if here.incarnation == incarnation
            && due.is_some_and(|due| due <= now)
            && let Some(process) = &mut here.process
        {
            process.wake = None;
            self.step(node, Input::Wake);
        }
    }

    /// Power is lost: what was not synced may or may not have reached the disk, up to some record.
    pub(crate) fn crash(&mut self, node: usize) {
        let lucky = self.rng.chance(300_000);
        let more = self.rng.below(1 << 30);
        let here = &mut self.nodes[node];
        let Some(process) = here.process.take() else { return };
        for (name, count) in Protocol::counters(&process.protocol) {
            *self.totals.entry(name).or_default() += count;
        }
        let unsynced = here.journal.len() - here.synced;
        let kept = if lucky { (more as usize) % (unsynced + 1) } else { 0 };
        here.journal.truncate(here.synced + kept);
        here.synced = here.journal.len();
        here.syncing = false;
        here.incarnation += 1;
    }

    pub(crate) fn restart(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let offset = self.rng.below(1_000_000_000);
        let here = &mut self.nodes[node];
        here.incarnation += 1;
        here.clock.offset = offset;
        let image = here.journal.iter().rposition(|item| matches!(item, Item::Image(..)));
        here.journal.drain(..image.unwrap_or(0));
        here.synced = here.journal.len();
        let mut state = State::default();
        let mut records = Vec::new();
        for item in &here.journal {
            match item {
                Item::Record(record) => records.push(record.clone()),
                Item::Image(image, then) => {
                    records.clone_from(image);
                    state = then.clone();
                }
            }
        }
        let now = here.clock.now(self.now);
        let config = self.configs[node].clone();
        here.process = Some(Process::restore(config, records, state, now));
        here.heard = vec![self.now; self.configs.len()];
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
        let delay = self.rng.below(30_000) + 1;
        let incarnation = self.nodes[to].incarnation;
        let givers: Vec<ReplicaId> = from.iter().collect();
        let giver = givers[self.rng.below(givers.len() as u64) as usize].index();
        if self.cut[giver][to] || self.cut[to][giver] {
            return;
        }
        let now = self.nodes[giver].clock.now(self.now);
        let Some(process) = &mut self.nodes[giver].process else { return };
        if process.executions.is_empty() && !process.blocked {
            process.protocol.hold(now);
            let handover = MultiPaxos::handover(process.protocol.image());
            let state = process.state.clone();
            let event = Event::State { to, incarnation, handover, state };
            self.push(self.now + delay, event);
        }
    }

    fn install(&mut self, to: usize, incarnation: u64, handover: Vec<Record>, state: State) {
        let here = &mut self.nodes[to];
        let now = here.clock.now(self.now);
        let Some(process) = here.process.as_mut().filter(|_| here.incarnation == incarnation)
        else {
            return;
        };
        if !process.protocol.can_install(&handover) || !process.executions.is_empty() {
            return;
        }
        process.protocol.install(now, handover, &mut process.effects);
        process.state = state;
        // Executions that follow at once come after the image.
        let image = process.protocol.image();
        let follow: Vec<_> = process.effects.take_executions().collect();
        for execution in follow {
            let execution = execution.open(panchayat_consensus::Durable::default()).expect("free");
            let answered = self.checks.execute(to, execution, self.now, process);
            self.answered.extend(answered);
        }
        process.state.upto = process.protocol.chosen_upto();
        let then = process.state.clone();
        process.seen = process.protocol.collected_upto().max(process.seen);
        here.journal.push(Item::Image(image, then));
        process.blocked = true;
        *self.totals.entry("states_installed").or_default() += 1;
        self.turn(to);
    }

    pub(crate) fn protocol(&self, node: usize) -> Option<&MultiPaxos> {
        Some(&self.nodes[node].process.as_ref()?.protocol)
    }

    /// The replica that leads at the highest ballot.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leading = (0..self.n()).filter_map(|node| Some((node, self.protocol(node)?)));
        let leading = leading.filter(|(_, protocol)| protocol.is_leader());
        leading.max_by_key(|(_, protocol)| protocol.promised()).map(|(node, _)| node)
    }

    /// A counter, summed over all replicas and their runs.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let past = self.totals.get(name).copied().unwrap_or(0);
        let now = (0..self.n()).filter_map(|node| self.protocol(node));
        let now = now.flat_map(Protocol::counters);
        past + now.filter(|(known, _)| *known == name).map(|(_, count)| count).sum::<u64>()
    }

    /// Whether every replica that runs has executed the same and owes nobody an answer.
    pub(crate) fn is_settled(&self) -> bool {
        let running: Vec<&Process> =
            self.nodes.iter().filter_map(|node| node.process.as_ref()).collect();
        let upto = running.iter().map(|process| process.protocol.chosen_upto()).max();
        running.iter().all(|process| {
            process.waiting.is_empty()
                && process.reads.is_empty()
                && Some(process.protocol.chosen_upto()) == upto
                && process.executions.is_empty()
        })
    }
}

pub(crate) fn payload_of(command: &Command) -> u64 {
    u64::from_le_bytes(command.payload[..8].try_into().expect("eight bytes"))
}
