//! `mix`: a stated share of conflicts.
//!
//! Every command is a [`KvOp::Mix`]: the key's value becomes a hash of the old value and the
//! command's id. So any two commands on one key that execute in different orders at two replicas
//! leave different states, and comparing state hashes at the end of a run finds it.

use bytes::Bytes;
use panchayat::kv::{KvCommand, KvOp};

use super::Stream;

/// The key that conflicting commands share. No other choice gives it.
pub(super) const HOT_KEY: &[u8] = b"hot";

pub(super) fn command(stream: &mut Stream) -> KvCommand {
    match stream.unit() < stream.workload.conflict_share {
        true => hot(stream),
        false => cold(stream),
    }
}

/// On the common key.
pub(super) fn hot(stream: &mut Stream) -> KvCommand {
    write(Bytes::from_static(HOT_KEY), stream)
}

/// On another one.
pub(super) fn cold(stream: &mut Stream) -> KvCommand {
    let key = Bytes::copy_from_slice(&stream.draw().to_be_bytes());
    write(key, stream)
}

fn write(key: Bytes, stream: &Stream) -> KvCommand {
    KvCommand::One(KvOp::Mix { key, salt: stream.salt.clone() })
}
