//! The sans-IO replica core: what a replica of a group is, apart from threads, sockets and files.
//!
//! [`Group`] drives a [`Protocol`](panchayat_consensus::Protocol) and a [`StateMachine`] in turns;
//! the threads of `panchayat` and the simulator both run this very code. [`frame`] is what goes
//! over the wire, [`journal`] what goes to disk, [`kv`] the key-value state machine.

#![forbid(unsafe_code)]

pub mod detector;
pub mod frame;
mod group;
pub mod journal;
pub mod kv;
pub mod snapshot;
mod state_machine;

pub use group::{Group, Sink};
pub use state_machine::{ApplyContext, StateHash, StateMachine};
