//! The workloads by name, and what each is like unless told otherwise.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Ycsb;

/// What kind of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A stated share of conflicts.
    Mix,
    /// Payments between accounts.
    Upi,
    /// A rush on seats.
    Tatkal,
    /// An exchange.
    OrderBook,
    /// Orders through their states.
    Inventory,
    /// Settings, read mostly.
    Config,
    /// Commuting counters.
    Popularity,
    /// One of the mixes of YCSB.
    Ycsb(Ycsb),
}

/// How large and how skewed a workload is.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// How many keys commands choose from: accounts, seats, symbols, items.
    pub keys: u32,
    /// The exponent of Zipf's law by which they choose; `None` for evenly.
    pub zipf: Option<f64>,
    /// Bytes of payload a command carries, where it carries any.
    pub payload_bytes: usize,
    /// Share of commands on one common key, for [`Kind::Mix`] only.
    pub conflict_percent: f64,
}

/// No workload of that name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no workload `{name}`: there are {}", Kind::names().join(", "))]
pub struct UnknownKind {
    /// What was asked for.
    pub name: String,
}

impl Kind {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let named = [
            Self::Mix,
            Self::Upi,
            Self::Tatkal,
            Self::OrderBook,
            Self::Inventory,
            Self::Config,
            Self::Popularity,
        ];
        named.into_iter().chain(Ycsb::ALL.map(Self::Ycsb))
    }

    /// Their names.
    pub fn names() -> Vec<&'static str> {
        Self::all().map(Self::name).collect()
    }

    /// Its name, as it is written on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mix => "mix",
            Self::Upi => "upi",
            Self::Tatkal => "tatkal",
            Self::OrderBook => "orderbook",
            Self::Inventory => "inventory",
            Self::Config => "config",
            Self::Popularity => "popularity",
            Self::Ycsb(Ycsb::A) => "ycsb-a",
            Self::Ycsb(Ycsb::B) => "ycsb-b",
            Self::Ycsb(Ycsb::C) => "ycsb-c",
            Self::Ycsb(Ycsb::D) => "ycsb-d",
            Self::Ycsb(Ycsb::E) => "ycsb-e",
            Self::Ycsb(Ycsb::F) => "ycsb-f",
        }
    }

    /// What it is like unless told otherwise.
    pub fn shape(self) -> Shape {
        let (keys, zipf, payload_bytes) = match self {
            Self::Mix => (1_000_000, None, 100),
            Self::Upi => (100_000, None, 0),
            Self::Tatkal => (72, None, 0),
            Self::OrderBook => (50, Some(0.9), 64),
            Self::Inventory => (1_000, Some(0.9), 0),
            Self::Config => (1_000, Some(0.7), 100),
            Self::Popularity => (10_000, Some(0.99), 0),
            Self::Ycsb(_) => (100_000, Some(0.99), 1_000),
        };
        let conflict_percent = if self == Self::Mix { 2.0 } else { 0.0 };
        Shape { keys, zipf, payload_bytes, conflict_percent }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let unknown = || UnknownKind { name: name.to_owned() };
        Self::all().find(|kind| kind.name() == name).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use panchayat::kv::{Condition, KvCommand, KvOp};

    use super::super::Workload;
    use super::*;

    fn commands(kind: Kind, count: usize) -> Vec<KvCommand> {
        let mut stream = Workload::of(kind, &kind.shape(), 5).unwrap().stream(3);
        (0..count).map(|_| stream.command()).collect()
    }

    #[test]
    fn every_kind_has_its_name_and_the_same_stream_for_the_same_seed() {
        for kind in Kind::all() {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(commands(kind, 40), commands(kind, 40), "{kind}");
        }
        let error = "paint".parse::<Kind>().unwrap_err().to_string();
        assert!(error.contains("`paint`") && error.contains("orderbook"), "{error}");
    }

    #[test]
    fn a_payment_keeps_the_sum_and_the_payer_above_zero() {
        for command in commands(Kind::Upi, 500) {
            let KvCommand::Transaction { conditions, ops } = command else { panic!() };
            let [Condition::AtLeast { key: payer, least }] = &conditions[..] else { panic!() };
            let [KvOp::Add { key: from, amount: out }, KvOp::Add { key: to, amount }] = &ops[..]
            else {
                panic!()
            };
            assert_eq!((payer, out + amount), (from, 0));
            assert!(from != to && *amount > 0);
            // What the account was opened with, the movement so far, and then this.
            assert!(1_000_000 + least + out >= 0 && *least < 0);
        }
    }

    #[test]
    fn seats_are_taken_once_and_orders_go_through_their_states() {
        let seats = commands(Kind::Tatkal, 100);
        let free = |command: &KvCommand| {
            matches!(
                command,
                KvCommand::One(KvOp::CompareAndSet { expected: None, new: Some(_), .. })
            )
        };
        assert!(seats.iter().all(free));

        let steps = commands(Kind::Inventory, 10);
        for order in steps.chunks(5) {
            assert!(matches!(&order[0], KvCommand::Transaction { .. }));
            let mut state: &[u8] = b"placed";
            for step in &order[1..] {
                let KvCommand::One(KvOp::CompareAndSet { expected, new, .. }) = step else {
                    panic!()
                };
                assert_eq!(expected.as_deref(), Some(state));
                state = new.as_deref().unwrap();
            }
            assert_eq!(state, b"delivered");
        }
    }

    #[test]
    fn shares_of_reads_are_as_published() {
        let reads = |kind| {
            let reads = |command: &&KvCommand| match command {
                KvCommand::One(op) => matches!(op, KvOp::Get { .. }),
                KvCommand::Transaction { ops, .. } => {
                    ops.iter().all(|op| matches!(op, KvOp::Get { .. }))
                }
            };
            commands(kind, 10_000).iter().filter(reads).count()
        };
        for (kind, percent) in [
            (Kind::Ycsb(Ycsb::A), 50),
            (Kind::Ycsb(Ycsb::B), 95),
            (Kind::Ycsb(Ycsb::C), 100),
            (Kind::Ycsb(Ycsb::D), 95),
            (Kind::Ycsb(Ycsb::E), 95),
            (Kind::Ycsb(Ycsb::F), 50),
            (Kind::Config, 99),
            (Kind::Popularity, 1),
        ] {
            let found = reads(kind);
            assert!(found.abs_diff(percent * 100) < 200, "{kind}: {found} of 10,000");
        }
    }
}
