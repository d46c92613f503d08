//! The simulator on a protocol that is small enough to see through: one fixed sequencer. Right, it
//! passes; broken in a known way, the matching check must say so. So a silent checker shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{
    After, Command, Effects, Input, InstanceId, Now, Path, Protocol, Quorums, ReplicaId,
    ReplicaSet, Span, Time, Token, WallTime,
};
use panchayat_sim::fault::Fault;
use panchayat_sim::{Checks, Flaw, Invariant, Place, Report, Seat, Setup, Subject, run_setup};

const RIGHT: u8 = 0;
/// Executes and answers before anything is durable.
const HASTY: u8 = 1;
/// Followers execute in the order of arrival.
const CARELESS: u8 = 2;
/// The last follower never executes every twentieth entry.
const LAZY: u8 = 3;
/// Asserts something untrue after a while.
const ASSERTING: u8 = 4;
/// The sequencer takes a command that was forwarded twice twice.
const TWICE: u8 = 5;

const SEQUENCER: ReplicaId = ReplicaId(0);
const RETRY: Span = Span::from_ms(60);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    slot: u64,
    origin: ReplicaId,
    nonce: u64,
    command: Arc<Command>,
}

#[derive(Clone, Debug, PartialEq, Hash)]
enum Message {
    Forward(Entry),
    Append(Entry),
    Have(u64),
}

impl Encode for Entry {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.slot);
        self.origin.encode(out);
        out.put_u64(self.nonce);
        self.command.encode(out);
    }
}

impl Decode for Entry {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let (slot, origin) = (input.varint()?, ReplicaId::decode(input)?);
        Ok(Self { slot, origin, nonce: input.u64()?, command: Arc::new(Command::decode(input)?) })
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Forward(entry) => {
                out.put_u8(0);
                entry.encode(out);
            }
            Self::Append(entry) => {
                out.put_u8(1);
                entry.encode(out);
            }
            Self::Have(upto) => {
                out.put_u8(2);
                out.put_varint(*upto);
            }
        }
    }
}

impl Decode for Message {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Entry::decode(input).map(Self::Forward),
            1 => Entry::decode(input).map(Self::Append),
            2 => input.varint().map(Self::Have),
            tag => Err(DecodeError::UnknownTag { what: "toy message", tag }),
        }
    }
}

/// One sequencer numbers all commands; everyone writes them down and executes them in order.
#[derive(Clone, Debug, Hash)]
struct Toy<const BUG: u8> {
    me: ReplicaId,
    n: usize,
    seed: u64,
    log: BTreeMap<u64, (Entry, After)>,
    executed: u64,
    seen: BTreeSet<(ReplicaId, u64)>,
    own: BTreeMap<u64, (Token, Entry)>,
    next_nonce: u64,
    retry_at: Time,
    steps: u64,
}

type Fx = Effects<Message, Entry>;

impl<const BUG: u8> Toy<BUG> {
    fn sequence(&mut self, mut entry: Entry, fx: &mut Fx) {
        if !self.seen.insert((entry.origin, entry.nonce)) && BUG != TWICE {
            return;
        }
        entry.slot = self.log.keys().next_back().copied().unwrap_or(0) + 1;
        let record = fx.persist(entry.clone());
        let after = if BUG == HASTY { After::NOTHING } else { record };
        let others = ReplicaSet::all(self.n).without(self.me);
        fx.send(others, Message::Append(entry.clone()), after);
        self.log.insert(entry.slot, (entry, after));
        self.execute(fx);
    }

    fn append(&mut self, entry: Entry, fx: &mut Fx) {
        if self.log.contains_key(&entry.slot) {
            return;
        }
        let record = fx.persist(entry.clone());
        let after = if BUG == HASTY { After::NOTHING } else { record };
        let slot = entry.slot;
        self.log.insert(slot, (entry, after));
        if BUG == CARELESS {
            self.execute_one(slot, fx);
        } else {
            self.execute(fx);
        }
    }

    fn execute(&mut self, fx: &mut Fx) {
        while self.log.contains_key(&(self.executed + 1)) {
            self.executed += 1;
            self.execute_one(self.executed, fx);
        }
    }

    fn execute_one(&mut self, slot: u64, fx: &mut Fx) {
        if BUG == LAZY && usize::from(self.me.0) + 1 == self.n && slot.is_multiple_of(20) {
            return;
        }
        let Some((entry, after)) = self.log.get(&slot) else { return };
        let token = self.own.get(&entry.nonce).map(|(token, _)| *token);
        let token = token.filter(|_| entry.origin == self.me);
        if let Some(token) = token {
            self.own.remove(&entry.nonce);
            fx.committed(token, Path::Slow, *after);
        }
        let id = InstanceId::new(SEQUENCER, slot);
        fx.execute(id, entry.command.clone(), token, *after);
    }
}

impl<const BUG: u8> Protocol for Toy<BUG> {
    type Config = (ReplicaId, usize, u64);
    type Message = Message;
    type Record = Entry;

    fn restore(
        (me, n, seed): Self::Config,
        records: impl IntoIterator<Item = Entry>,
        now: Now,
        effects: &mut Fx,
    ) -> Self {
        let mut toy = Self {
            me,
            n,
            seed,
            log: BTreeMap::new(),
            executed: 0,
            seen: BTreeSet::new(),
            own: BTreeMap::new(),
            next_nonce: 0,
            retry_at: now.monotonic,
            steps: 0,
        };
        for entry in records {
            toy.seen.insert((entry.origin, entry.nonce));
            toy.log.insert(entry.slot, (entry, After::NOTHING));
        }
        toy.execute(effects);
        effects.wake_at(now.monotonic);
        toy
    }

    fn step(&mut self, now: Now, input: Input<Message>, effects: &mut Fx) {
        self.steps += 1;
        match input {
            Input::Propose { token, command } => {
                self.next_nonce += 1;
                let nonce = (self.seed << 20) | self.next_nonce;
                let entry = Entry { slot: 0, origin: self.me, nonce, command: Arc::new(command) };
                self.own.insert(nonce, (token, entry.clone()));
                if self.me == SEQUENCER {
                    self.sequence(entry, effects);
                } else {
                    let to = ReplicaSet::only(SEQUENCER);
                    effects.send(to, Message::Forward(entry), After::NOTHING);
                }
            }
            Input::Receive { message: Message::Forward(entry), .. } => {
                self.sequence(entry, effects);
            }
            Input::Receive { message: Message::Append(entry), .. } => self.append(entry, effects),
            Input::Receive { from, message: Message::Have(upto) } => {
                for (entry, after) in self.log.range(upto + 1..).map(|(_, kept)| kept).take(64) {
                    let message = Message::Append(entry.clone());
                    effects.send(ReplicaSet::only(from), message, *after);
                }
            }
            _ => {}
        }
        if now.monotonic >= self.retry_at && self.me != SEQUENCER {
            self.retry_at = now.monotonic + RETRY;
            let to = ReplicaSet::only(SEQUENCER);
            let gap = (1..).find(|slot| !self.log.contains_key(slot)).unwrap_or(1);
            effects.send(to, Message::Have(gap - 1), After::NOTHING);
            for (_, entry) in self.own.values() {
                effects.send(to, Message::Forward(entry.clone()), After::NOTHING);
            }
        }
        if self.me != SEQUENCER {
            effects.wake_at(self.retry_at);
        }
    }

    fn image(&self) -> Vec<Self::Record> {
        unreachable!("nobody asks a toy for its image")
    }

    fn handover(image: Vec<Self::Record>) -> Vec<Self::Record> {
        image
    }

    fn can_install(&self, _: &[Self::Record]) -> bool {
        false
    }

    fn install(&mut self, _: Now, _: Vec<Self::Record>, _: &mut Fx) {
        unreachable!("a toy never falls behind")
    }

    fn needs_state(&self) -> ReplicaSet {
        ReplicaSet::EMPTY
    }

    fn hold(&mut self, _: Now) {}

    fn persist_executed(&mut self, _: &mut Fx) {}

    fn withdraw(&mut self) -> Vec<(Token, Command)> {
        Vec::new()
    }

    fn proposed_after(&self) -> WallTime {
        WallTime(0)
    }

    fn check_invariants(&self) {
        assert!(BUG != ASSERTING || self.steps < 200, "the toy counts to two hundred only");
    }
}

#[derive(Debug)]
struct NoChecks;

impl<const BUG: u8> Checks<Toy<BUG>> for NoChecks {
    type Frozen = ();

    fn new(_quorums: Quorums) -> Self {
        Self
    }
    fn proposed(&mut self, _at: Place, _command: &Command) {}
    fn persisted(&mut self, _at: Place, _record: &Entry) -> Result<(), Flaw> {
        Ok(())
    }
    fn durable(&mut self, _at: Place, _record: &Entry) -> Result<(), Flaw> {
        Ok(())
    }
    fn restored(
        &mut self,
        _: Place,
        _: Option<(&[Entry], &())>,
        _: &[Entry],
        _: &Toy<BUG>,
    ) -> Result<(), Flaw> {
        Ok(())
    }
    fn snapshot_durable(&mut self, _: Place) {}
    fn freeze(&self, _: Place, _: &[Entry]) {}
    fn taken_over(&mut self, _: Place, _: &[Entry], _: &(), _: &Toy<BUG>) -> Result<(), Flaw> {
        Ok(())
    }
    fn sent(&mut self, _: Place, _: ReplicaSet, _: &Message) -> Result<(), Flaw> {
        Ok(())
    }
    fn stepped(&mut self, _: Place, _: &Toy<BUG>, _: &[InstanceId]) -> Result<(), Flaw> {
        Ok(())
    }
    fn executing(&mut self, _: Place, _: InstanceId, _: &Command) -> Result<(), Flaw> {
        Ok(())
    }
    fn coverage(&self, _add: &mut dyn FnMut(&'static str, u64)) {}
}

impl<const BUG: u8> Subject for Toy<BUG> {
    type Checks = NoChecks;
    const LABELS: &'static [&'static str] = &["Forward", "Append", "Have"];

    fn config(seat: &Seat<'_>) -> Self::Config {
        (seat.replica, seat.quorums.n(), seat.seed >> 24)
    }
    fn label(message: &Message) -> usize {
        match message {
            Message::Forward(_) => 0,
            Message::Append(_) => 1,
            Message::Have(_) => 2,
        }
    }
    fn message_instance(_message: &Message) -> Option<InstanceId> {
        None
    }
    fn record_instance(record: &Entry) -> Option<InstanceId> {
        Some(InstanceId::new(SEQUENCER, record.slot))
    }
    fn unsettled(&self, limit: usize) -> Vec<InstanceId> {
        let gap = self.log.keys().filter(|slot| BUG == RIGHT && **slot > self.executed);
        gap.map(|slot| InstanceId::new(SEQUENCER, *slot)).take(limit).collect()
    }
    fn describe(&self, id: InstanceId) -> String {
        format!("{:?}", self.log.get(&id.slot))
    }
}

/// The drawn run of a seed, with the sequencer always coming back.
fn run<const BUG: u8>(seed: u64) -> Report {
    let mut setup = Setup::draw(seed, 3);
    // It has no images, and requests would hide what it applies twice.
    setup.snapshot_every = 0;
    setup.workload.retries = false;
    // And it does not know of reads.
    setup.workload.query_percent = 0;
    setup.down = ReplicaSet::EMPTY;
    setup.plan.retain(|planned| !matches!(planned.fault, Fault::BitFlip { .. }));
    setup.liveness_us = 10_000_000;
    run_setup::<Toy<BUG>>(seed, setup, false)
}

/// What fifty seeds find, each kind once.
fn found<const BUG: u8>() -> Vec<Invariant> {
    let mut kinds = Vec::new();
    for violation in (0..50).filter_map(|seed| run::<BUG>(seed).violation) {
        if !kinds.contains(&violation.flaw.invariant) {
            kinds.push(violation.flaw.invariant);
        }
    }
    kinds
}

#[test]
fn a_right_toy_passes() {
    for seed in 0..50 {
        let report = run::<RIGHT>(seed);
        assert_eq!(report.violation, None, "seed {seed}");
        assert!(report.acknowledged > 100, "seed {seed}: {}", report.acknowledged);
    }
}

#[test]
fn answers_before_durability_are_found() {
    let kinds = found::<HASTY>();
    assert!(kinds.contains(&Invariant::Agreement), "{kinds:?}");
}

#[test]
fn execution_out_of_order_is_found() {
    assert!(found::<CARELESS>().contains(&Invariant::ExecutionOrder));
}

#[test]
fn a_follower_that_skips_is_found() {
    let kinds = found::<LAZY>();
    let expected = [Invariant::Liveness, Invariant::ExecutionOrder];
    assert!(expected.iter().any(|kind| kinds.contains(kind)), "{kinds:?}");
}

#[test]
fn a_failed_assertion_is_a_violation_and_not_the_end() {
    assert_eq!(found::<ASSERTING>(), [Invariant::Panic]);
}

#[test]
fn a_command_that_takes_effect_twice_is_found() {
    let kinds = found::<TWICE>();
    let expected = [Invariant::Linearizable, Invariant::StrictlySerializable];
    assert!(expected.iter().any(|kind| kinds.contains(kind)), "{kinds:?}");
}
