//! The simulated world: replicas, network, disks, clocks and clients under one queue of events.
//!
//! One thread, one queue, no clock but the virtual one and no randomness but the seed's: a seed is
//! a whole story. Production code runs unchanged inside: [`Group`](panchayat_core::Group) drives
//! the protocol, frames and journal are the real formats.

mod changes;
mod clients;
mod doubts;
mod faults;
mod node;
mod phases;
mod reads;
mod snapshots;
mod turn;

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use panchayat_consensus::{
    ClusterId, EpochNumber, GroupId, InstanceId, Path, ReplicaId, ReplicaSet, Time, Token,
};
use panchayat_core::detector::Detector;
use panchayat_core::frame::FrameHeader;
use panchayat_core::kv::KvCommand;
use panchayat_core::{StateHash, StateMachine};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::client::{Acknowledged, Answer, Client, ClientEvent, ReadSeen};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::flaw::Flaw;
use crate::invariants::{ExecutionOrder, OneCommand};
use crate::network::Network;
use crate::queue::Queue;
use crate::report::Execution;
use crate::rng::Rng;
use crate::setup::Setup;
use crate::subject::{Checks, Place, Subject};
use crate::trace::Trace;

pub(crate) use node::{INBOX_MAX, Job, Node, Power};
use turn::Action;

/// The group and epoch that simulated frames and records carry.
pub(crate) const GROUP: GroupId = GroupId(1);
pub(crate) const EPOCH: EpochNumber = EpochNumber(1);
/// All replicas of a world were started alike.
pub(crate) const FRAMES: FrameHeader = FrameHeader { group: GROUP, epoch: EPOCH, terms: 0 };
pub(crate) const CLUSTER: ClusterId = ClusterId(1);

/// What happens next.
#[derive(Debug)]
pub(crate) enum Event {
    Frame { from: usize, to: usize, bytes: Bytes },
    Heartbeat { from: usize, to: usize },
    Tick { replica: usize, incarnation: u32 },
    Synced { replica: usize, incarnation: u32 },
    Wake { replica: usize, incarnation: u32 },
    Turn { replica: usize, incarnation: u32 },
    Restart { replica: usize },
    SnapshotWritten { replica: usize, incarnation: u32, number: u64 },
    StateAsked { by: Place, of: usize },
    StateArrives { at: Place, from: usize, frozen: Rc<dyn std::any::Any> },
    Doubt { by: Place, of: usize, begins: bool },
    Client { client: usize },
    ClientTimeout { client: usize, op: u64, attempt: u32 },
    ClientRetry { client: usize, op: u64 },
    Script { index: usize },
    Fault { index: usize },
    FaultEnd { index: usize },
    Change { index: usize },
    Check,
}

/// What a run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Faults.
    Safety,
    /// Healed, with some down: everything must settle.
    Liveness,
    /// Everyone restarted from synced bytes: everything must be there.
    Durability,
    /// Over.
    Done,
}

/// A proposal of a script, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Scripted {
    pub(crate) replica: usize,
    pub(crate) command: KvCommand,
    pub(crate) proposed_us: u64,
    pub(crate) committed: Option<(u64, Path)>,
    pub(crate) executed_us: Option<u64>,
}

/// Counts of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) commands: u64,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) rejected: u64,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
    pub(crate) torn_tails: u64,
    pub(crate) refused_journals: u64,
    pub(crate) sync_errors: u64,
    pub(crate) suspicions: u64,
    pub(crate) executions: u64,
    pub(crate) messages: Vec<u64>,
    pub(crate) named: BTreeMap<&'static str, u64>,
}

/// Everything.
pub(crate) struct World<P: Subject> {
    pub(crate) seed: u64,
    pub(crate) setup: Setup,
    pub(crate) now_us: u64,
    pub(crate) step: u64,
    pub(crate) phase: Phase,
    pub(crate) phase_since_us: u64,
    /// The furthest that any wall clock was off, drift apart.
    skew_max_us: u64,
    queue: Queue<Event>,
    pub(crate) nodes: Vec<Node<P>>,
    network: Network,
    pub(crate) checks: P::Checks,
    order: ExecutionOrder,
    commands: OneCommand,
    states: FxHashMap<u64, StateHash>,
    clients: Vec<Client>,
    next_process: u32,
    next_op: u64,
    commands_left: u32,
    pub(crate) history: Vec<ClientEvent>,
    acknowledged: Vec<Acknowledged>,
    /// Disks that were lost for good.
    lost: ReplicaSet,
    /// Who was ever to be a member: nobody else starts.
    invited: ReplicaSet,
    /// Every epoch that was ever proposed, and the first: its number and members.
    proposed_epochs: Vec<(u64, ReplicaSet)>,
    /// The newest of them that is known to stand.
    established: u64,
    pub(crate) answers: Vec<Answer>,
    pub(crate) readings: Vec<ReadSeen>,
    pub(crate) executions: Vec<Execution>,
    pub(crate) script: Vec<Scripted>,
    pub(crate) trace: Trace,
    pub(crate) stats: Stats,
    /// The replica at work and the instances it touches in this turn.
    pub(crate) working: Option<usize>,
    pub(crate) touched: Vec<InstanceId>,
    touched_set: FxHashSet<InstanceId>,
    actions: Vec<Action<P>>,
    crash_rng: Rng,
    clock_rng: Rng,
    client_rng: Rng,
    query_rng: Rng,
    sync_rng: Rng,
    snapshot_rng: Rng,
    doubt_rng: Rng,
}

/// The token space of scripts, apart from that of clients.
const SCRIPT_TOKENS: u64 = 1 << 48;
/// The token space of operators, apart from that of clients and scripts.
const OPERATOR_TOKENS: u64 = 1 << 49;

impl<P: Subject> World<P> {
    pub(crate) fn new(seed: u64, setup: Setup, text: bool) -> Self {
        let n = setup.replicas();
        let network = Network::new(seed, &setup.delays_us, setup.fifo, setup.weather);
        let nodes = (0..n).map(|index| empty_node(seed, index, &setup)).collect();
        let commands_left = setup.workload.commands;
        let mut world = Self {
            seed,
            now_us: 0,
            step: 0,
            phase: Phase::Safety,
            phase_since_us: 0,
            skew_max_us: setup.skew_us.iter().map(|us| us.unsigned_abs()).max().unwrap_or(0),
            queue: Queue::new(),
            nodes,
            network,
            checks: P::Checks::new(setup.quorums),
            order: ExecutionOrder::default(),
            commands: OneCommand::default(),
            states: FxHashMap::default(),
            clients: Vec::new(),
            next_process: 0,
            next_op: 0,
            commands_left,
            history: Vec::new(),
            acknowledged: Vec::new(),
            lost: ReplicaSet::EMPTY,
            invited: ReplicaSet::all(setup.founders()),
            proposed_epochs: vec![(1, ReplicaSet::all(setup.founders()))],
            established: 1,
            answers: Vec::new(),
            readings: Vec::new(),
            executions: Vec::new(),
            script: Vec::new(),
            trace: Trace::new(text),
            stats: Stats { messages: vec![0; P::LABELS.len()], ..Stats::default() },
            working: None,
            touched: Vec::new(),
            touched_set: FxHashSet::default(),
            actions: Vec::new(),
            crash_rng: Rng::new(seed, "crashes"),
            clock_rng: Rng::new(seed, "clocks"),
            client_rng: Rng::new(seed, "clients"),
            query_rng: Rng::new(seed, "queries"),
            sync_rng: Rng::new(seed, "syncs"),
            snapshot_rng: Rng::new(seed, "snapshots"),
            doubt_rng: Rng::new(seed, "doubts"),
            setup,
        };
        world.checks.begin(&world.setup);
        world.plan_first_events();
        world
    }

    fn plan_first_events(&mut self) {
        for replica in 0..self.setup.founders() {
            self.queue.push(0, Event::Restart { replica });
        }
        for (index, planned) in self.setup.changes.iter().enumerate() {
            self.queue.push(planned.at_us, Event::Change { index });
        }
        for (index, planned) in self.setup.plan.iter().enumerate() {
            self.queue.push(planned.at_us, Event::Fault { index });
        }
        let load = &self.setup.workload;
        for number in 0..load.clients_per_replica * self.setup.founders() {
            let home = number % self.setup.founders();
            self.clients.push(Client::new(home, self.next_process));
            self.next_process += 1;
            let at = self.client_rng.below(load.think_us + 1);
            self.queue.push(at, Event::Client { client: number });
        }
        self.queue.push(self.setup.safety_us, Event::Check);
    }

    /// Adds a proposal at a time of the caller's choice. Before the run starts only.
    pub(crate) fn add_script(&mut self, at_us: u64, replica: usize, command: KvCommand) {
        let index = self.script.len();
        self.script.push(Scripted {
            replica,
            command,
            proposed_us: at_us,
            committed: None,
            executed_us: None,
        });
        self.queue.push(at_us, Event::Script { index });
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Result<(), Flaw> {
        while self.phase != Phase::Done {
            let Some((at_us, event)) = self.queue.pop() else { break };
            debug_assert!(at_us >= self.now_us, "time runs forward");
            self.now_us = at_us;
            self.step += 1;
            self.trace.at(at_us, self.step);
            self.dispatch(event)?;
        }
        Ok(())
    }

    fn dispatch(&mut self, event: Event) -> Result<(), Flaw> {
        match event {
            Event::Frame { from, to, bytes } => {
                if self.nodes[to].is_up() {
                    self.trace.mix(xxhash_rust::xxh3::xxh3_64(&bytes));
                    let from = ReplicaId(from as u8);
                    return self.give(to, Job::Frame { from, bytes });
                }
                Ok(())
            }
            Event::Heartbeat { from, to } => self.heartbeat(from, to),
            Event::Tick { replica, incarnation } => self.tick(replica, incarnation),
            Event::Synced { replica, incarnation } => self.sync_done(replica, incarnation),
            Event::Wake { replica, incarnation } => {
                if self.runs(replica, incarnation) {
                    if self.nodes[replica].wake_at_us.is_some_and(|at| at <= self.now_us) {
                        self.nodes[replica].wake_at_us = None;
                    }
                    return self.give(replica, Job::Wake);
                }
                Ok(())
            }
            Event::Turn { replica, incarnation } => {
                if self.runs(replica, incarnation) {
                    let until = self.nodes[replica].paused_until_us;
                    if until > self.now_us {
                        self.queue.push(until, Event::Turn { replica, incarnation });
                        return Ok(());
                    }
                    self.nodes[replica].scheduled = false;
                    return self.turn(replica);
                }
                Ok(())
            }
            Event::Restart { replica } => self.restart(replica),
            Event::SnapshotWritten { replica, incarnation, number } => {
                self.snapshot_written(replica, incarnation, number)
            }
            Event::StateAsked { by, of } => self.state_asked(by, of),
            Event::StateArrives { at, from, frozen } => self.state_arrives(at, from, frozen),
            Event::Doubt { by, of, begins } => self.doubt(by, of, begins),
            Event::Client { client } => self.client_acts(client),
            Event::ClientTimeout { client, op, attempt } => {
                self.client_gives_up(client, op, attempt);
                Ok(())
            }
            Event::ClientRetry { client, op } => self.client_tries_again(client, op),
            Event::Script { index } => self.script_proposes(index),
            Event::Fault { index } => self.begin_fault(index),
            Event::FaultEnd { index } => self.end_fault(index),
            Event::Change { index } => self.operate(index),
            Event::Check => self.check(),
        }
    }

    /// Puts an input before a replica, at once if it is idle.
    fn give(&mut self, replica: usize, job: Job) -> Result<(), Flaw> {
        let node = &mut self.nodes[replica];
        if !node.is_up() {
            return Ok(());
        }
        if node.inbox.len() >= INBOX_MAX && matches!(job, Job::Frame { .. }) {
            *self.stats.named.entry("frames_dropped_full").or_default() += 1;
            return Ok(());
        }
        node.inbox.push_back(job);
        if node.scheduled {
            return Ok(());
        }
        let at_us = (self.now_us + node.turn_time_us()).max(node.paused_until_us);
        if at_us == self.now_us {
            return self.turn(replica);
        }
        node.scheduled = true;
        let incarnation = node.incarnation;
        self.queue.push(at_us, Event::Turn { replica, incarnation });
        Ok(())
    }

    fn runs(&self, replica: usize, incarnation: u32) -> bool {
        let node = &self.nodes[replica];
        node.is_up() && node.incarnation == incarnation
    }

    fn heartbeat(&mut self, from: usize, to: usize) -> Result<(), Flaw> {
        let node = &mut self.nodes[to];
        if node.is_up() && node.paused_until_us <= self.now_us {
            let at = node.clock.now(self.now_us).monotonic;
            node.detector.heard(ReplicaId(from as u8), at);
        }
        Ok(())
    }

    fn tick(&mut self, replica: usize, incarnation: u32) -> Result<(), Flaw> {
        if !self.runs(replica, incarnation) {
            return Ok(());
        }
        let next = self.now_us + self.setup.heartbeat_us;
        self.queue.push(next, Event::Tick { replica, incarnation });
        if self.nodes[replica].paused_until_us > self.now_us {
            return Ok(());
        }
        let muted = self.nodes[replica].muted_until_us > self.now_us;
        for to in (0..self.setup.replicas()).filter(|to| *to != replica && !muted) {
            if let Some(at) = self.network.route_heartbeat((replica, to), self.now_us) {
                self.queue.push(at, Event::Heartbeat { from: replica, to });
            }
        }
        let node = &mut self.nodes[replica];
        let monotonic: Time = node.clock.now(self.now_us).monotonic;
        for verdict in node.detector.poll(monotonic) {
            self.stats.suspicions += 1;
            self.give(replica, Job::Peer(verdict))?;
            if !self.runs(replica, incarnation) {
                break;
            }
        }
        Ok(())
    }

    fn script_proposes(&mut self, index: usize) -> Result<(), Flaw> {
        let (replica, command) = {
            let scripted = &self.script[index];
            (scripted.replica, scripted.command.clone())
        };
        let token = Token(SCRIPT_TOKENS + index as u64);
        self.propose(replica, token, &command, None)
    }
}

fn empty_node<P: Subject>(seed: u64, index: usize, setup: &Setup) -> Node<P> {
    let id = ReplicaId(index as u8);
    Node {
        id,
        power: Power::Down,
        group: None,
        incarnation: 0,
        disk: Disk::new(seed, index, GROUP, EPOCH),
        damaged: false,
        sync_time: setup.disks[index],
        slow_disk: None,
        sync_fails: None,
        clock: Clock::new(0, 0, setup.drift_ppm[index], setup.skew_us[index]),
        detector: Detector::new(id, setup.replicas(), panchayat_consensus::Span(1), Time(0)),
        inbox: std::collections::VecDeque::new(),
        scheduled: false,
        turn_us: setup.turn_us[index],
        slow_turn_us: 0,
        paused_until_us: 0,
        mutes: None,
        muted_until_us: 0,
        partial: None,
        parts_with: None,
        armed: None,
        wake_at_us: None,
        record_seq: 0,
        unsynced: std::collections::VecDeque::new(),
        durable_records: 0,
        tokens: FxHashMap::default(),
        next_token: 0,
        last_proposed_at: 0,
        own_seal: None,
        executed: FxHashSet::default(),
        executed_print: 0,
        executing: None,
        applied: FxHashSet::default(),
        stored: None,
        writing: None,
        entries_since: 0,
        askers: Vec::new(),
        served: Vec::new(),
        asking_until_us: 0,
        asked: index,
    }
}

/// The state of a replica, for comparison.
fn state_of<P: Subject>(node: &Node<P>) -> Option<StateHash> {
    node.group.as_ref().map(|group| group.machine().state_hash())
}
