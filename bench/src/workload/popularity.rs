//! `popularity`: likes and views, counters that commute.
//!
//! However many add to one counter at once, nobody has to wait for anybody. Only a read has a place
//! among them.

use panchayat::kv::{KvCommand, KvOp};

use super::{Stream, key};

/// One command in so many reads a counter.
const READ_EVERY: u64 = 100;

pub(super) fn command(stream: &mut Stream) -> KvCommand {
    let key = key("likes", stream.draw());
    KvCommand::One(match stream.below(READ_EVERY) {
        0 => KvOp::Get { key },
        _ => KvOp::Add { key, amount: 1 },
    })
}
