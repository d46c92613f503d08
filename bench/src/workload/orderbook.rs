//! `orderbook`: an exchange, where the orders of a symbol have one order.
//!
//! Each command chains the order into its symbol's book and stores the order itself. Symbols are
//! few and unequal, so keys are hot.

use panchayat::kv::{KvCommand, KvOp};

use super::{Stream, key};

pub(super) fn command(stream: &mut Stream) -> KvCommand {
    let symbol = stream.draw();
    let (client, number) = (stream.client, stream.step);
    let order = stream.salt.clone();
    KvCommand::Transaction {
        conditions: Vec::new(),
        ops: vec![
            KvOp::Mix { key: key("book", symbol), salt: order.clone() },
            KvOp::Put { key: key("order", format_args!("{client}/{number}")), value: order },
        ],
    }
}
