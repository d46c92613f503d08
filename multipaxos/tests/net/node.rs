//! One machine: a disk that stays, a clock, and a process that may be gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use panchayat_consensus::{
    Durable, EffectsOf, Execution, Gated, Now, Output, Path, Protocol, RecordSeq, ReplicaSet, Slot,
    Time, Token, WallTime,
};
use panchayat_multipaxos::{Config, Message, MultiPaxos, Record, Way};

use super::Us;

/// What a journal holds.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Record(Record),
    /// An image of the protocol with the state it goes with: everything before may go.
    Image(Vec<Record>, State),
}

/// The state machine: the commands it applied, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) order: Vec<(Slot, u64)>,
    pub(crate) applied: BTreeSet<u64>,
    /// Every slot up to here is in it.
    pub(crate) upto: Slot,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) offset: u64,
    /// How much faster than true time it runs, in parts per million.
    pub(crate) ppm: i64,
    pub(crate) wall: u64,
}

impl Clock {
    pub(crate) fn now(&self, true_time: Us) -> Now {
        let elapsed = i128::from(true_time) * i128::from(1_000_000 + self.ppm) / 1_000_000;
        let wall = WallTime(self.wall + true_time);
        Now { monotonic: Time(self.offset + elapsed as u64), wall }
    }

    /// The first moment at or after `from` at which the clock shows `time`.
    pub(crate) fn when(&self, time: Time, from: Us) -> Us {
        let elapsed = i128::from(time.0.saturating_sub(self.offset));
        let mut at = (elapsed * 1_000_000 / i128::from(1_000_000 + self.ppm)) as u64;
        while self.now(at).monotonic < time {
            at += 1;
        }
        at.max(from)
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) journal: Vec<Item>,
    pub(crate) synced: usize,
    pub(crate) syncing: bool,
    pub(crate) clock: Clock,
    pub(crate) incarnation: u64,
    pub(crate) paused_until: Us,
    pub(crate) heard: Vec<Us>,
    pub(crate) process: Option<Process>,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self {
            journal: Vec::new(),
            synced: 0,
            syncing: false,
            clock: Clock::default(),
            incarnation: 0,
            paused_until: 0,
            heard: Vec::new(),
            process: None,
        }
    }

    /// How many of this run's records are synced.
    pub(crate) fn durable(&self) -> Durable {
        let records = self.process.as_ref().map_or(&[][..], |process| &process.record_at);
        Durable(RecordSeq(records.partition_point(|at| *at < self.synced) as u64))
    }
}

/// A proposal without a result: its payload, when it was made, when and how it was committed.
pub(crate) type Waiting = (u64, Us, Option<(Us, Path)>);

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) protocol: MultiPaxos,
    pub(crate) effects: EffectsOf<MultiPaxos>,
    pub(crate) held: VecDeque<Gated<Output<Message>>>,
    pub(crate) executions: VecDeque<Gated<Execution>>,
    /// Where in the journal each record of this run is.
    pub(crate) record_at: Vec<usize>,
    pub(crate) state: State,
    pub(crate) wake: Option<Time>,
    pub(crate) suspected: ReplicaSet,
    /// Decisions up to here were compared.
    pub(crate) seen: Slot,
    /// A state was installed and is not synced: nothing leaves.
    pub(crate) blocked: bool,
    pub(crate) state_asked: Option<Us>,
    pub(crate) waiting: BTreeMap<Token, Waiting>,
    pub(crate) reads: BTreeMap<Token, (Way, Slot, Us)>,
    tokens: u64,
}

impl Process {
    pub(crate) fn restore(config: Config, records: Vec<Record>, state: State, now: Now) -> Self {
        let mut effects = EffectsOf::<MultiPaxos>::default();
        let protocol = MultiPaxos::restore(config, records, now, &mut effects);
        Self {
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
            reads: BTreeMap::new(),
            tokens: 0,
        }
    }

    pub(crate) fn next_token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }
}
