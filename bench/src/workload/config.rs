//! `config`: settings that everybody reads and hardly anybody writes.

use panchayat::kv::{KvCommand, KvOp};

use super::{Stream, key};

/// One command in so many is a write.
const WRITE_EVERY: u64 = 100;

pub(super) fn command(stream: &mut Stream) -> KvCommand {
    let key = key("setting", stream.draw());
    KvCommand::One(match stream.below(WRITE_EVERY) {
        0 => KvOp::Put { key, value: stream.salt.clone() },
        _ => KvOp::Get { key },
    })
}
