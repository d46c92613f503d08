//! A right machine passes; each of the wrong ones is caught by the rule it breaks.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Footprint, KeyHash, Mode};

use super::{Draw, Report, Rule, Suite, Violation};
use crate::state_machine::{ApplyContext, RestoreError, StateHash, StateMachine};

const RIGHT: u8 = 0;
/// Adding loses its last bit on the wire.
const CODEC: u8 = 1;
/// A sum over a process-wide counter.
const GLOBAL: u8 = 2;
/// The first key of a hash map decides.
const HASH_MAP: u8 = 3;
/// The hash is always the same.
const BLIND_HASH: u8 = 4;
/// Views share the state instead of freezing it.
const SHARED_VIEW: u8 = 5;
/// The log of the last command is not written.
const FORGETFUL: u8 = 6;
/// What is cut off is not missed.
const TRUSTING: u8 = 7;
/// A move names only the counter it takes from.
const ONE_KEY: u8 = 8;
/// Looking counts as a change.
const COUNTS_READS: u8 = 9;
/// Adding answers the new sum.
const TELLING: u8 = 10;
/// The query for one counter answers the sum of all.
const WIDE_QUERY: u8 = 11;
/// Setting and adding both claim to commute.
const ALL_COMMUTE: u8 = 12;
/// Moves depend on the time at which they were proposed relative to the last.
const LAST_TIME: u8 = 13;

static GLOBAL_COUNT: AtomicI64 = AtomicI64::new(0);

/// Named counters, with one mistake.
#[derive(Debug, Default)]
struct Counters<const MISTAKE: u8> {
    counters: Arc<Mutex<BTreeMap<u8, i64>>>,
    last: i64,
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Look(u8),
    Add(u8, i64),
    Set(u8, i64),
    Move(u8, u8),
}

impl Encode for Command {
    fn encode(&self, out: &mut Writer) {
        let (tag, key, number) = match *self {
            Self::Look(key) => (0, key, 0),
            Self::Add(key, number) => (1, key, number),
            Self::Set(key, number) => (2, key, number),
            Self::Move(from, to) => (3, from, i64::from(to)),
        };
        out.put_u8(tag);
        out.put_u8(key);
        out.put_u64(number as u64);
    }
}

impl Decode for Command {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let (tag, key, number) = (input.u8()?, input.u8()?, input.u64()? as i64);
        match tag {
            0 => Ok(Self::Look(key)),
            1 => Ok(Self::Add(key, number)),
            2 => Ok(Self::Set(key, number)),
            3 => Ok(Self::Move(key, number as u8)),
            tag => Err(DecodeError::UnknownTag { what: "command", tag }),
        }
    }
}

/// A number, as output, query and answer.
#[derive(Clone, Copy, Debug)]
struct Number<const MISTAKE: u8>(i64);

impl<const MISTAKE: u8> Encode for Number<MISTAKE> {
    fn encode(&self, out: &mut Writer) {
        out.put_u64(if MISTAKE == CODEC { self.0 as u64 & !1 } else { self.0 as u64 });
        out.put_u8(0);
    }
}

impl<const MISTAKE: u8> Decode for Number<MISTAKE> {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let number = input.u64()? as i64;
        match input.u8()? {
            _ if MISTAKE == CODEC && number == 4 => Err(DecodeError::OutOfRange("four")),
            0 => Ok(Self(number)),
            tag => Err(DecodeError::UnknownTag { what: "number", tag }),
        }
    }
}

fn key(key: u8) -> KeyHash {
    KeyHash::of(&[key])
}

impl<const MISTAKE: u8> Counters<MISTAKE> {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<u8, i64>) -> T) -> T {
        act(&mut self.counters.lock().unwrap())
    }
}

impl<const MISTAKE: u8> StateMachine for Counters<MISTAKE> {
    type Command = Command;
    type Output = Number<MISTAKE>;
    type Query = Number<RIGHT>;
    type Answer = Number<RIGHT>;
    type View = (Arc<Mutex<BTreeMap<u8, i64>>>, i64);

    fn footprint(command: &Command) -> Footprint {
        let one = |at, mode| Footprint::new([(key(at), mode)]);
        match *command {
            Command::Look(at) => one(at, Mode::Read),
            Command::Add(at, _) => one(at, Mode::Commute),
            Command::Set(at, _) if MISTAKE == ALL_COMMUTE => one(at, Mode::Commute),
            Command::Set(at, _) => one(at, Mode::Write),
            Command::Move(from, _) if MISTAKE == ONE_KEY => one(from, Mode::Write),
            Command::Move(from, to) => {
                Footprint::new([(key(from), Mode::Write), (key(to), Mode::Write)])
            }
        }
    }

    fn apply(&mut self, context: &ApplyContext, command: Command) -> Self::Output {
        let last = std::mem::replace(&mut self.last, context.proposed_at.0 as i64);
        Number(self.with(|counters| match command {
            Command::Look(at) => {
                if MISTAKE == COUNTS_READS {
                    *counters.entry(at).or_default() += 1;
                }
                counters.get(&at).copied().unwrap_or_default()
            }
            Command::Add(at, number) => {
                let sum = counters.entry(at).or_default();
                *sum += number;
                if MISTAKE == TELLING { *sum } else { 0 }
            }
            Command::Set(at, number) => {
                counters.insert(at, number);
                if MISTAKE == GLOBAL { GLOBAL_COUNT.fetch_add(1, Ordering::Relaxed) } else { 0 }
            }
            Command::Move(from, to) => {
                let moved = counters.insert(from, 0).unwrap_or_default();
                *counters.entry(to).or_default() += moved;
                match MISTAKE {
                    HASH_MAP => {
                        let map: HashMap<u8, i64> = (0..16).map(|at| (at, at.into())).collect();
                        map.into_values().next().unwrap_or_default()
                    }
                    LAST_TIME | FORGETFUL => last,
                    _ => moved,
                }
            }
        }))
    }

    fn query_footprint(query: &Self::Query) -> Footprint {
        Footprint::new([(key(query.0 as u8), Mode::Read)])
    }

    fn query(&self, query: Self::Query) -> Self::Answer {
        Number(self.with(|counters| match MISTAKE {
            WIDE_QUERY => counters.values().sum(),
            _ => counters.get(&(query.0 as u8)).copied().unwrap_or_default(),
        }))
    }

    fn state_hash(&self) -> StateHash {
        let entry = |(at, number): (&u8, &i64)| {
            (u64::from(*at) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (*number as u64) << 1
        };
        let sum = |counters: &mut BTreeMap<u8, i64>| {
            let held = counters.iter().filter(|(_, number)| **number != 0);
            held.map(entry).fold(0u64, u64::wrapping_add)
        };
        StateHash(if MISTAKE == BLIND_HASH { 7 } else { self.with(sum) })
    }

    fn view(&mut self) -> Self::View {
        let shared = match MISTAKE {
            SHARED_VIEW => self.counters.clone(),
            _ => Arc::new(Mutex::new(self.with(|counters| counters.clone()))),
        };
        (shared, self.last)
    }

    fn write((counters, _): &Self::View, sink: &mut dyn Write) -> io::Result<()> {
        let counters = counters.lock().unwrap();
        sink.write_all(&[counters.len() as u8])?;
        counters.iter().try_for_each(|(at, number)| {
            sink.write_all(&[*at])?;
            sink.write_all(&number.to_le_bytes())
        })
    }

    fn restore(source: &mut dyn Read) -> Result<Self, RestoreError> {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes)?;
        let count = bytes.first().copied().map_or(0, usize::from);
        if bytes.len() != 1 + 9 * count && MISTAKE != TRUSTING {
            return Err(RestoreError::Malformed("cut"));
        }
        let rows = bytes.get(1..).unwrap_or_default().chunks_exact(9);
        let row = |row: &[u8]| (row[0], i64::from_le_bytes(row[1..].try_into().unwrap()));
        Ok(Self { counters: Arc::new(Mutex::new(rows.map(row).collect())), last: 0 })
    }
}

fn command(draw: &mut Draw) -> Command {
    let (key, number) = (draw.below(4) as u8, draw.below(9) as i64);
    match draw.below(4) {
        0 => Command::Look(key),
        1 => Command::Add(key, number),
        2 => Command::Set(key, number),
        _ => Command::Move(key, (key + 1 + draw.below(3) as u8) % 4),
    }
}

fn suite<const MISTAKE: u8>(
    draws: impl Fn(&mut Draw) -> Command + 'static,
) -> Suite<Counters<MISTAKE>> {
    Suite::new(Counters::<MISTAKE>::default, draws)
        .queries(|draw| Number(draw.below(4) as i64))
        .rounds(30)
}

fn run<const MISTAKE: u8>() -> Result<Report, Violation> {
    suite::<MISTAKE>(command).run()
}

#[test]
fn a_right_machine_passes_and_the_report_says_what_was_tried() {
    let report = run::<RIGHT>().unwrap();
    assert_eq!((report.commands, report.snapshots), (30 * 40, 30));
    assert!(report.changes > 100 && report.commuting > 100, "{report:?}");
    assert!(report.reordered > 1_000 && report.queries > 100, "{report:?}");
    assert_eq!(run::<RIGHT>(), Ok(report), "equal suites see equal things");
}

#[test]
fn every_mistake_is_caught_by_the_rule_it_breaks() {
    let caught = [
        (run::<CODEC>(), Rule::Encoding, "does not decode"),
        (run::<GLOBAL>(), Rule::Determinism, "answers"),
        (run::<HASH_MAP>(), Rule::Determinism, "Move"),
        (run::<BLIND_HASH>(), Rule::Fingerprint, "changed"),
        (run::<SHARED_VIEW>(), Rule::Snapshot, "share"),
        (run::<FORGETFUL>(), Rule::Snapshot, "where it was"),
        (run::<TRUSTING>(), Rule::Snapshot, "as if they were all"),
        (run::<ONE_KEY>(), Rule::Footprint, "do not conflict"),
        (run::<COUNTS_READS>(), Rule::ReadOnly, "Look"),
        (run::<TELLING>(), Rule::Commute, "fresh state"),
        (run::<WIDE_QUERY>(), Rule::Query, "does not conflict"),
        (run::<ALL_COMMUTE>(), Rule::Footprint, "Set"),
    ];
    for (result, rule, says) in caught {
        let violation = result.expect_err(says);
        assert_eq!(violation.rule, rule, "{violation}");
        assert!(violation.text.contains(says), "{says:?} is not in: {violation}");
    }
}

#[test]
fn a_hidden_state_is_found_by_the_order_it_depends_on() {
    // Moves only, of keys that are never restored in between.
    let moves = |draw: &mut Draw| {
        let from = 2 * draw.below(2) as u8;
        Command::Move(from, from + 1)
    };
    let steady = suite::<RIGHT>(move |draw: &mut Draw| match draw.below(2) {
        0 => Command::Add(2 * draw.below(2) as u8, 1),
        _ => moves(draw),
    });
    steady.run().unwrap();
    let mut suite = suite::<LAST_TIME>(moves);
    suite.rounds = 1;
    // It is not written either, so either rule may notice first.
    let violation = suite.run().unwrap_err();
    assert!(matches!(violation.rule, Rule::Footprint | Rule::Snapshot), "{violation}");
}

#[test]
fn the_pair_that_can_be_told_apart_is_named() {
    let only_two = |draw: &mut Draw| match draw.below(3) {
        0 => Command::Set(1, draw.below(5) as i64 + 1),
        1 => Command::Set(0, 7),
        _ => Command::Move(0, 1),
    };
    let violation = suite::<ONE_KEY>(only_two).run().unwrap_err();
    let text = violation.to_string();
    assert!(text.contains("Set(1") && text.contains("Move(0, 1)"), "{text}");
    assert!(text.contains("seed 1, round"), "{text}");
}
