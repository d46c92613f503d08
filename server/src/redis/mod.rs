//! The data of the Redis-protocol server: a replicated state machine, without IO.
//!
//! A command of the state machine is a [`Batch`]: Redis commands as clients send them, and versions
//! of keys that must not have changed (`WATCH`). It executes as a whole. What only reads is a
//! [`Query`] instead, answered from the state of one replica.
//!
//! **Time is agreed data.** A key expires when a *command* that names it is executed, proposed at or
//! after its time; nothing else removes it. A query compares with the local clock only in order to
//! notice that a key may be due: then it answers [`Answer::Due`], and its caller has it ordered as a
//! batch, which writes the keys it names. So a key that was seen as gone never comes back, whatever
//! the clocks of the cities say.
//!
//! **Chance** is drawn from the id of the command, and so is the version that a key gets when it
//! changes.
//!
//! One file per type of value: [`strings`], [`hashes`], [`lists`], [`sets`], [`sorted_sets`]; what
//! concerns keys whatever they hold is in [`keys`] and [`expiry`].

mod batch;
mod db;
mod decimal;
mod entry;
mod error;
mod expiry;
mod glob;
mod hashes;
mod keys;
mod lists;
mod machine;
mod members;
mod number;
mod reply;
mod reply_codec;
mod scan;
mod sequence;
mod set_algebra;
mod sets;
mod sorted_set;
mod sorted_set_ranges;
mod sorted_set_stores;
mod sorted_sets;
mod spec;
mod strings;
mod table;
#[cfg(test)]
mod tests;
mod view;
mod visible;

pub(crate) use batch::{Batch, Call, Guard};
pub(crate) use glob::matches;
pub(crate) use machine::{Answer, Outcome, Query, Store};
pub(crate) use number::{format_double, parse_integer};
pub(crate) use reply::Reply;
pub(crate) use scan::CURSOR_BITS;
pub(crate) use spec::{Keys, Run, Spec};
pub(crate) use table::{find, specs};
pub(crate) use visible::narrowed;
