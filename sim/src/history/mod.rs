//! Client histories and the checkers that judge them.
//!
//! Clients record what they asked, when, and what they were told. Two checkers then say whether
//! some order of one operation at a time explains it all:
//!
//! * [`check_registers`]: operations on single keys are **linearizable** (per key, which by
//!   locality is the same as all of them together);
//! * [`check_list_append`]: transactions of appends and reads of lists are **strictly
//!   serializable**, and if not, what went wrong, with a short cycle as the reason.
//!
//! A verdict on a history says nothing about the histories that were not recorded: "no violation
//! seen" is the strongest sentence these checkers ever support. They know nothing of the
//! simulator, use the standard library only, and give equal reports for equal histories.

mod anomaly;
mod cycle;
mod demand;
mod dependencies;
mod graph;
mod linearize;
mod list_append;
mod model;
mod observed;
mod pending;
mod per_key;
mod register;
mod search;
mod versions;

#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, AnomalyKind};
pub use linearize::{Leaves, Limits, Search, Specification, Step, linearize};
pub use list_append::{
    Element, ListAppendHistory, ListAppendReport, Lists, Transaction, TxnOp, check_list_append,
};
pub use model::{History, Moment, OpId, Operation, Outcome};
pub use per_key::{RegisterReport, RegisterViolation, Verdict, check_registers};
pub use register::{KeyedCall, Register, RegisterCall, RegisterHistory, RegisterResult, Value};
