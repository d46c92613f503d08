//! A cluster in memory, whose messages stay on the wire until a test delivers or loses them.
//! Disks are fast: what a step records is durable at its end.

use std::collections::BTreeMap;

use bytes::Bytes;
use panchayat_consensus::{
    Command, Durable, Effects, Footprint, Input, InstanceId, KeyHash, Mode, Now, Output, Protocol,
    Quorums, ReplicaId, Span, Time, Token, WallTime,
};
use panchayat_epaxos::{Config, Deps, EPaxos, Limits, Message, Proposal, Record};

type Fx = Effects<Message, Record>;

/// A little more than the interval at which members tell their statuses, in microseconds.
const STATUS_INTERVAL_US: u64 = 110_000;

pub(crate) struct Member {
    config: Config,
    pub(crate) protocol: EPaxos,
    effects: Fx,
    journal: Vec<Record>,
    /// What it executed, in order.
    pub(crate) executed: Vec<InstanceId>,
    /// What it executed for a client of its own: these know that it happened.
    pub(crate) acknowledged: Vec<InstanceId>,
    up: bool,
}

/// A message under way.
pub(crate) struct Letter {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) message: Message,
}

impl Letter {
    pub(crate) fn is_status(&self) -> bool {
        matches!(self.message, Message::Status(_))
    }

    pub(crate) fn is_about(&self, id: InstanceId) -> bool {
        self.message.instance() == Some(id)
    }

    /// Whether it goes from one of these members to another of them.
    pub(crate) fn is_among(&self, members: &[usize]) -> bool {
        members.contains(&self.from) && members.contains(&self.to)
    }
}

/// What was decided of an instance.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    Nop,
    Command(Deps),
}

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    wire: Vec<Letter>,
    now: Now,
    tokens: u64,
    keys: BTreeMap<InstanceId, u64>,
    decided: BTreeMap<InstanceId, Decision>,
}

impl Cluster {
    /// `n` members that have heard each other's statuses and count members as absent when more
    /// than `retained_max` instances are kept.
    pub(crate) fn new(n: usize, retained_max: usize) -> Self {
        Self::with_large(n, retained_max, Limits::default().large_bytes)
    }

    /// The same, where payloads of `large_bytes` count as large. All are seven bytes long.
    pub(crate) fn with_large(n: usize, retained_max: usize, large_bytes: usize) -> Self {
        let quorums = Quorums::for_replicas(n).unwrap();
        let now = Now { monotonic: Time(1), wall: WallTime(1_000_000) };
        let members = (0..n).map(|seat| {
            let mut config = Config::new(ReplicaId(seat as u8), quorums, Span::from_ms(20));
            config.limits.retained_max = retained_max;
            config.limits.large_bytes = large_bytes;
            let mut effects = Fx::default();
            let protocol = EPaxos::restore(config.clone(), [], now, &mut effects);
            Member {
                config,
                protocol,
                effects,
                journal: vec![],
                executed: vec![],
                acknowledged: vec![],
                up: true,
            }
        });
        let mut cluster = Self {
            members: members.collect(),
            wire: vec![],
            now,
            tokens: 0,
            keys: BTreeMap::new(),
            decided: BTreeMap::new(),
        };
        for _ in 0..3 {
            cluster.tell_statuses(0..n);
            cluster.deliver(|_| true);
        }
        cluster
    }

    /// A write of `key`, which must be taken.
    pub(crate) fn propose(&mut self, at: usize, key: u64) -> InstanceId {
        self.try_propose(at, key).unwrap_or_else(|| panic!("replica {at} takes no proposals"))
    }

    /// A write of `key`, unless `at` keeps too much to take it.
    pub(crate) fn try_propose(&mut self, at: usize, key: u64) -> Option<InstanceId> {
        self.tokens += 1;
        let footprint = Footprint::new([(KeyHash(key), Mode::Write)]);
        let command = Command::new(footprint, None, Bytes::from_static(b"payload"));
        let proposed = self.members[at].protocol.counters().proposed;
        self.step(at, Input::Propose { token: Token(self.tokens), command });
        let member = &self.members[at];
        if member.protocol.counters().proposed == proposed {
            return None;
        }
        let own = ReplicaId(at as u8);
        let opened = member.journal.iter().rev().find_map(|record| match record {
            Record::PreAccepted { id, .. } if id.replica == own => Some(*id),
            _ => None,
        });
        let id = opened.expect("its pre-accept is durable");
        self.keys.insert(id, key);
        Some(id)
    }

    pub(crate) fn receive(&mut self, letter: Letter) {
        let from = ReplicaId(letter.from as u8);
        self.step(letter.to, Input::Receive { from, message: letter.message });
    }

    /// These members suspect those.
    pub(crate) fn suspect(&mut self, members: &[usize], suspects: &[usize]) {
        for (member, suspect) in pairs(members, suspects) {
            self.step(member, Input::PeerSuspected(ReplicaId(suspect as u8)));
        }
    }

    /// These members reach those again.
    pub(crate) fn trust(&mut self, members: &[usize], peers: &[usize]) {
        for (member, peer) in pairs(members, peers) {
            self.step(member, Input::PeerUp(ReplicaId(peer as u8)));
        }
    }

    /// Time passes, and these members put their statuses on the wire.
    pub(crate) fn tell_statuses(&mut self, members: impl IntoIterator<Item = usize>) {
        self.pass(STATUS_INTERVAL_US);
        for at in members {
            self.step(at, Input::Wake);
        }
    }

    /// These members run for a while, and hear each other and no one else.
    pub(crate) fn run(&mut self, members: &[usize], rounds: usize) {
        for _ in 0..rounds {
            self.pass(STATUS_INTERVAL_US / 2);
            for at in members {
                self.step(*at, Input::Wake);
            }
            self.deliver(|letter| letter.is_among(members));
            self.lose(|_| true);
        }
    }

    /// Time passes, and every member does what it does by itself.
    pub(crate) fn wake_all(&mut self, micros: u64) {
        self.pass(micros);
        for at in 0..self.members.len() {
            self.step(at, Input::Wake);
        }
    }

    fn pass(&mut self, micros: u64) {
        self.now.monotonic.0 += micros;
        self.now.wall.0 += micros;
    }

    /// Delivers what is on the wire and meets the condition, in order, and so what comes of it.
    pub(crate) fn deliver(&mut self, condition: impl Fn(&Letter) -> bool) {
        while let Some(place) = self.wire.iter().position(&condition) {
            let letter = self.wire.remove(place);
            self.receive(letter);
        }
    }

    /// Loses what is on the wire and meets the condition.
    pub(crate) fn lose(&mut self, condition: impl Fn(&Letter) -> bool) {
        self.wire.retain(|letter| !condition(letter));
    }

    /// Takes from the wire what meets the condition, to be received late; the rest is lost.
    pub(crate) fn delay(&mut self, condition: impl Fn(&Letter) -> bool) -> Vec<Letter> {
        self.wire.drain(..).filter(condition).collect()
    }

    pub(crate) fn crash(&mut self, at: usize) {
        self.members[at].up = false;
    }

    pub(crate) fn restart(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.up = true;
        member.effects = Fx::default();
        // What it executed before stays executed: its journal says what comes next.
        let journal = member.journal.clone();
        let config = member.config.clone();
        member.executed.clear();
        member.protocol = EPaxos::restore(config, journal, self.now, &mut member.effects);
        self.perform(at);
    }

    /// `to` takes over the state of `from`, which it knows that it needs.
    pub(crate) fn take_over(&mut self, from: usize, to: usize) {
        assert!(self.members[to].protocol.needs_state().contains(ReplicaId(from as u8)));
        let now = self.now;
        self.members[from].protocol.hold(now);
        let handover = EPaxos::handover(self.members[from].protocol.image());
        let executed = self.members[from].executed.clone();
        let member = &mut self.members[to];
        member.executed = executed;
        member.protocol.install(now, handover, &mut member.effects);
        member.protocol.check_invariants();
        self.perform(to);
    }

    /// Whether `at` counts `member` as absent.
    pub(crate) fn counts_absent(&self, at: usize, member: usize) -> bool {
        self.members[at].protocol.absent().contains(ReplicaId(member as u8))
    }

    pub(crate) fn executed_upto(&self, at: usize, lane: usize) -> u64 {
        self.members[at].protocol.executed_upto(ReplicaId(lane as u8))
    }

    pub(crate) fn collected_upto(&self, at: usize, lane: usize) -> u64 {
        self.members[at].protocol.collected_upto(ReplicaId(lane as u8))
    }

    /// An acknowledged command is executed at each of these members, and never becomes Nop.
    pub(crate) fn check_acknowledged(&self, members: &[usize]) {
        let acknowledged = self.members.iter().flat_map(|member| &member.acknowledged);
        for (id, at) in acknowledged.flat_map(|id| members.iter().map(move |at| (id, *at))) {
            assert_ne!(self.decided[id], Decision::Nop, "{id} was acknowledged");
            assert!(self.members[at].protocol.is_executed(*id), "replica {at} lacks {id}");
        }
    }

    /// Visibility: of two conflicting commands that are decided, one depends on the other.
    pub(crate) fn check_visibility(&self) {
        let commands: Vec<_> = { self.decided.iter() }
            .filter_map(|(id, decision)| match decision {
                Decision::Command(deps) => Some((*id, self.keys[id], deps)),
                Decision::Nop => None,
            })
            .collect();
        for (place, (a, key, a_deps)) in commands.iter().enumerate() {
            for (b, _, b_deps) in commands[..place].iter().filter(|(_, other, _)| other == key) {
                let visible = a_deps.contains(*b) || b_deps.contains(*a);
                assert!(visible, "{a} with {a_deps:?} and {b} with {b_deps:?} write key {key}");
            }
        }
    }

    fn step(&mut self, at: usize, input: Input<Message>) {
        let member = &mut self.members[at];
        if !member.up {
            return;
        }
        member.protocol.step(self.now, input, &mut member.effects);
        member.protocol.check_invariants();
        self.perform(at);
    }

    fn perform(&mut self, at: usize) {
        loop {
            let member = &mut self.members[at];
            let durable = Durable(member.effects.last_record());
            let records: Vec<Record> = member.effects.take_records().collect();
            for output in member.effects.take_outputs() {
                let output = output.open(durable).expect("all is durable");
                let Output::Send { to, message } = output else { continue };
                self.wire.extend(to.iter().map(|to| Letter {
                    from: at,
                    to: to.index(),
                    message: message.clone(),
                }));
            }
            for execution in member.effects.take_executions() {
                let execution = execution.open(durable).expect("all is durable");
                member.executed.push(execution.id);
                member.acknowledged.extend(execution.token.map(|_| execution.id));
            }
            member.journal.extend(records.iter().cloned());
            records.iter().for_each(|record| self.judge(at, record));
            if records.is_empty() {
                return;
            }
            let member = &mut self.members[at];
            member.protocol.step(self.now, Input::Durable(durable), &mut member.effects);
        }
    }

    /// Agreement: whoever decides an instance decides the same.
    fn judge(&mut self, at: usize, record: &Record) {
        let Record::Committed { id, value, deps, .. } = record else { return };
        let decision = match value {
            Proposal::Nop => Decision::Nop,
            _ => Decision::Command(deps.clone()),
        };
        let first = self.decided.entry(*id).or_insert_with(|| decision.clone());
        assert_eq!(*first, decision, "{id}, as decided before and at replica {at}");
    }
}

/// Every pair of different members of these and those.
fn pairs(these: &[usize], those: &[usize]) -> Vec<(usize, usize)> {
    let all = these.iter().flat_map(|a| those.iter().map(move |b| (*a, *b)));
    all.filter(|(a, b)| a != b).collect()
}
