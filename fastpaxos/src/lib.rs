//! Fast Paxos: any replica proposes straight to the acceptors. **Not built yet**: this crate holds
//! the quorum sizes it will run with, and nothing else.
//!
//! What is planned: fast rounds over a prepared suffix, collisions settled at once by the
//! coordinator, and classic rounds while too few replicas are alive.

#![forbid(unsafe_code)]

mod quorums;

pub use quorums::{FastQuorums, QuorumError};
