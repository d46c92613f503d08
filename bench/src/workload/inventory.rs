//! `inventory`: orders that go through their states by compare-and-set.
//!
//! A client takes an order of a popular item, pays, packs, ships and delivers it, one state a
//! command; then the next. The item's stock is read in the first step only, so that conflicts are
//! those of people who want the same thing.

use bytes::Bytes;
use panchayat::kv::{Condition, KvCommand, KvOp};

use super::{Stream, key};

const STATES: [&str; 5] = ["placed", "paid", "packed", "shipped", "delivered"];
/// What every item was stocked with; what is stored is its movement since.
const STOCK: i64 = 1_000_000;

pub(super) fn command(stream: &mut Stream) -> KvCommand {
    let states = STATES.len() as u64;
    let (order, at) = ((stream.step - 1) / states, ((stream.step - 1) % states) as usize);
    let own = key("order", format_args!("{}/{order}", stream.client));
    let state = |at: usize| Bytes::from_static(STATES[at].as_bytes());
    if at > 0 {
        let (expected, new) = (Some(state(at - 1)), Some(state(at)));
        return KvCommand::One(KvOp::CompareAndSet { key: own, expected, new });
    }
    let item = key("item", stream.draw());
    KvCommand::Transaction {
        conditions: vec![
            Condition::AtLeast { key: item.clone(), least: 1 - STOCK },
            Condition::Is { key: own.clone(), expected: None },
        ],
        ops: vec![KvOp::Add { key: item, amount: -1 }, KvOp::Put { key: own, value: state(0) }],
    }
}
