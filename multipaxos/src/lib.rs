//! Multi-Paxos: a total order with one leader. **Not built yet**: this crate holds the quorum
//! sizes it will run with, and nothing else.
//!
//! What is planned: a leader chosen by placement, one Prepare for the whole suffix, pipelined
//! accepts, and replicas that learn the outcome by counting the votes themselves.

#![forbid(unsafe_code)]

mod quorums;

pub use quorums::{FlexibleQuorums, QuorumError};
