//! Fast Paxos: any replica sends a command straight to the acceptors.
//!
//! The coordinator prepares the whole suffix of the log once and says from which slot on *any*
//! value will do. From then on a command costs one round trip to the fast quorum, from wherever it
//! comes: each acceptor votes for it in its next free slot, and everybody counts the votes.
//!
//! Where acceptors disagree about a slot, the coordinator settles it at once in a classic round of
//! its own ballot, with the fast votes as the first phase of that round (`coordinate.rs`,
//! `pick.rs`). Where their counters have drifted apart, it closes a stretch of the log and they go
//! on together above it. With too few replicas for a fast quorum, or with too many collisions, it
//! runs classic rounds for a while, and says why (`mode.rs`).
//!
//! Commands can be voted for in the order in which they should have arrived everywhere instead of
//! that in which they did ([`Slots::ByArrival`]). That takes clocks, whose errors cost collisions
//! and never safety.
//!
//! Sources: Lamport, *Fast Paxos* (2006); Howard, Malkhi, Spiegelman, *Flexible Paxos* (2016); for
//! arrival times Yan et al., *Domino* (2020), and Geng et al., *Nezha* (2022).

#![forbid(unsafe_code)]

mod accept;
mod account;
mod applied;
mod arrival;
mod catch_up;
mod collect;
mod config;
mod coordinate;
mod counters;
mod elect;
mod entry;
mod known;
mod learn;
mod log;
mod message;
mod mode;
#[cfg_attr(
    not(feature = "mutations"),
    allow(dead_code, unreachable_pub, reason = "only the tests of tests list them")
)]
mod mutation;
mod pending;
mod pick;
mod place;
mod propose;
mod protocol;
mod quorums;
mod record;
mod replica;
mod restore;
mod round;
mod settle;
mod snapshot;
mod survey;

pub use applied::Applied;
pub use config::{Config, ConfigError, Limits, ModeRules, Slots, Timing};
pub use counters::Counters;
pub use entry::{Entry, Name, Submission};
pub use message::{Message, Progress, Report};
pub use mode::{Mode, Reason, Status};
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use quorums::{FastQuorums, QuorumError};
pub use record::Record;
pub use replica::FastPaxos;
pub use round::Round;
