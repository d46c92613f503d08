//! The key-value state machine: single-key operations and one-shot multi-key transactions.
//!
//! Keys and values are byte strings. A transaction names its conditions and its operations; it is
//! applied whole if every condition holds, and not at all otherwise. Conditions are checked in
//! `apply`, in agreed order, at every replica, never before the command is ordered.

mod command;
mod machine;
mod query;
mod row;
#[cfg(test)]
mod tests;
mod view;

pub use command::{
    Condition, KEY_BYTES_MAX, KvCommand, KvOp, KvOutput, KvValue, OPS_MAX, VALUE_BYTES_MAX,
};
pub use machine::{KvStore, number};
pub use query::{KvAnswer, KvQuery};
pub use view::KvView;
