//! The key mixes of the Yahoo! Cloud Serving Benchmark (Cooper et al., SoCC 2010), A to F.
//!
//! | mix | commands | keys |
//! |---|---|---|
//! | A | half reads, half updates | Zipf |
//! | B | 95 % reads, 5 % updates | Zipf |
//! | C | reads | Zipf |
//! | D | 95 % reads, 5 % inserts | the latest inserts |
//! | E | 95 % scans of up to 100 records, 5 % inserts | Zipf |
//! | F | half reads, half read-modify-writes | Zipf |
//!
//! Commands do not depend on answers, so "the latest" are a client's own inserts, and what is
//! scanned are the keys that follow in the numbering. A read-modify-write is one command.

use bytes::Bytes;
use panchayat::kv::{KvCommand, KvOp};

use super::{Stream, key};

/// Longest scan.
const SCAN_MAX: u64 = 100;

/// Which of the six.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ycsb {
    /// Update heavy.
    A,
    /// Read mostly.
    B,
    /// Read only.
    C,
    /// Read latest.
    D,
    /// Short ranges.
    E,
    /// Read, modify, write.
    F,
}

impl Ycsb {
    pub(super) const ALL: [Self; 6] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F];

    /// Percent of commands that read.
    fn read_percent(self) -> u64 {
        match self {
            Self::A | Self::F => 50,
            Self::B | Self::D | Self::E => 95,
            Self::C => 100,
        }
    }
}

pub(super) fn command(stream: &mut Stream, mix: Ycsb) -> KvCommand {
    let reads = stream.below(100) < mix.read_percent();
    let value = stream.salt.clone();
    match (mix, reads) {
        (Ycsb::D, true) => KvCommand::One(KvOp::Get { key: latest(stream) }),
        (Ycsb::E, true) => {
            let (first, length) = (stream.draw(), stream.below(SCAN_MAX) + 1);
            let keys = (0..length).map(|next| record(u64::from(first) + next));
            KvCommand::Transaction {
                conditions: Vec::new(),
                ops: keys.map(|key| KvOp::Get { key }).collect(),
            }
        }
        (_, true) => KvCommand::One(KvOp::Get { key: record(stream.draw().into()) }),
        (Ycsb::D | Ycsb::E, false) => {
            KvCommand::One(KvOp::Put { key: inserted(stream.client, stream.step), value })
        }
        (Ycsb::F, false) => {
            KvCommand::One(KvOp::Mix { key: record(stream.draw().into()), salt: value })
        }
        (_, false) => KvCommand::One(KvOp::Put { key: record(stream.draw().into()), value }),
    }
}

fn record(number: u64) -> Bytes {
    key("user", number)
}

/// The insert that this client made, or would have made, with its `step`-th command.
fn inserted(client: u64, step: u64) -> Bytes {
    key("new", format_args!("{client}/{step}"))
}

/// The more recent the likelier.
fn latest(stream: &mut Stream) -> Bytes {
    let age = u64::from(stream.draw()) + 1;
    match stream.step.checked_sub(age) {
        Some(step) => inserted(stream.client, step),
        None => record(age),
    }
}
