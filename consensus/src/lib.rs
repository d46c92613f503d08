//! The vocabulary every Panchayat protocol shares: who takes part ([`ids`]), what is ordered
//! ([`Command`], [`Footprint`]), how many must agree ([`Quorums`], [`Ballot`]), and what a protocol
//! is ([`Protocol`]): a value that turns [`Input`]s into [`Effects`].
//!
//! There is no IO here, no clock, no randomness and no thread. Protocol crates depend on this crate
//! and on nothing else of Panchayat.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod account;
mod ballot;
mod command;
pub mod effects;
mod footprint;
pub mod ids;
mod plain;
mod protocol;
mod quorums;
mod read;
mod request;
mod time;
pub mod wire;

pub use account::{Account, Subject};
pub use ballot::Ballot;
pub use command::{Command, Value};
pub use effects::{
    After, Durable, Effects, Execution, Gated, Graft, NotApplied, Output, Path, RecordSeq, Shift,
    Token,
};
pub use footprint::{FOOTPRINT_KEYS_MAX, Footprint, KeyHash, Mode};
pub use ids::{
    ClusterId, EpochNumber, GroupId, InstanceId, NodeId, REPLICAS_MAX, ReplicaId, ReplicaSet, Slot,
};
pub use protocol::{EffectsOf, Input, Protocol};
pub use quorums::{QuorumError, Quorums};
pub use read::{Assurance, ReadLevel, ReadRefusal};
pub use request::{ClientId, Request};
pub use time::{Now, Span, Time, WallTime};
