//! The sans-IO replica core: what a replica of a group is, apart from threads, sockets and files.
//!
//! [`Group`] drives a [`Protocol`](panchayat_consensus::Protocol) and a [`StateMachine`] in turns;
//! the threads of `panchayat` and the simulator both run this very code. [`frame`] is what goes
//! over the wire, [`journal`] and [`snapshot`] what goes to disk, [`sessions`] what makes retries
//! harmless, [`kv`] the key-value state machine, [`cow`] the table that it and the sessions live in,
//! [`conformance`] the tests that state machines of other people must pass.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod conformance;
pub mod cow;
pub mod detector;
pub mod frame;
mod group;
mod guard;
pub mod journal;
pub mod kv;
#[cfg(feature = "mutations")]
pub mod mutation;
pub mod sessions;
pub mod snapshot;
mod state_machine;
pub mod stream;

pub use group::{
    Answer, Base, Doubt, Effect, Group, MarkError, ReadRequest, Reading, Sink, SnapshotParts,
};
pub use guard::FootprintGuard;
pub use sessions::{SessionConfig, Sessions};
pub use state_machine::{ApplyContext, RestoreError, StateHash, StateMachine};
