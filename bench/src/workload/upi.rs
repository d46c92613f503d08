//! `upi`: payments between two accounts, without overdraft.
//!
//! Every account was opened with the same amount; what is stored is its movement since, so nothing
//! has to be loaded before. A payment is one command: if the payer's balance covers it, the payer
//! is debited and the payee credited, else nothing happens, the same everywhere. Amounts are whole
//! paise. Reading the payer's balance makes payments of one payer conflict; credits commute.

use panchayat::kv::{Condition, KvCommand, KvOp};

use super::{Stream, key};

/// What every account was opened with: ₹10,000.
const OPENED_WITH_PAISE: i64 = 1_000_000;
/// The largest payment: ₹2,000.
const AMOUNT_PAISE_MAX: u64 = 200_000;

pub(super) fn command(stream: &mut Stream) -> KvCommand {
    let accounts = u64::from(stream.workload.keys.keys());
    let payer = stream.draw();
    let mut payee = stream.draw();
    if payee == payer {
        payee = ((u64::from(payer) + 1) % accounts) as u32;
    }
    let amount = stream.below(AMOUNT_PAISE_MAX) as i64 + 1;
    let (from, to) = (key("account", payer), key("account", payee));
    KvCommand::Transaction {
        conditions: vec![Condition::AtLeast {
            key: from.clone(),
            least: amount - OPENED_WITH_PAISE,
        }],
        ops: vec![KvOp::Add { key: from, amount: -amount }, KvOp::Add { key: to, amount }],
    }
}
