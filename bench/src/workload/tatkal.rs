//! `tatkal`: a rush of clients on few seats.
//!
//! A train has as many seats as the workload has keys. Every client tries some of them, then the
//! next train opens for it. The first to set a free seat has it; everybody else is refused, the
//! same at every replica.

use panchayat::kv::{KvCommand, KvOp};

use super::{Stream, key};

/// After so many tries a client turns to the next train.
const TRIES: u64 = 20;

pub(super) fn command(stream: &mut Stream) -> KvCommand {
    let train = stream.step / TRIES;
    let seat = stream.draw();
    let passenger = format!("client {} try {}", stream.client, stream.step);
    KvCommand::One(KvOp::CompareAndSet {
        key: key("seat", format_args!("{train}/{seat}")),
        expected: None,
        new: Some(passenger.into()),
    })
}
