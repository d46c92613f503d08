//! Multi-Paxos: one leader orders every command in one log.
//!
//! One `Prepare` covers the whole suffix of the log; after it a command costs one round of
//! `Accept`, pipelined. A replica anywhere takes proposals and forwards them to the leader, and
//! **learns the outcome by itself**: it counts the votes, its own among them, so with the leader in
//! Mumbai a client in Delhi waits for one round trip to Mumbai and not for two. The two quorums are
//! flexible ([`FlexibleQuorums`]).
//!
//! Sources: Lamport, *Paxos Made Simple* (2001); Howard, Malkhi, Spiegelman, *Flexible Paxos*
//! (2016); Gray, Cheriton, *Leases* (1989). Persistence is in [`Effects`]: a message that promises
//! something leaves only after the journal record of the promise.
//!
//! | concept | file |
//! |---|---|
//! | what the log holds | `entry`, `log` |
//! | proposals, forwarding, exactly one application | `forward`, `pending`, `origins` |
//! | the leader's votes and everybody else's | `accept` |
//! | counting votes, choosing, executing | `learn` |
//! | filling gaps by asking | `catch_up` |
//! | when to stand, pre-vote | `elect` |
//! | taking over a log | `takeover` |
//! | being the leader: heartbeats, resigning, transfer | `lead` |
//! | reads and the clocks they trust | `read`, `lease` |
//! | restart, snapshots, forgetting | `restore`, `snapshot`, `record`, `collect` |
//!
//! # Clocks
//!
//! Safety of the log needs no clock at all. Of the reads, only [`Way::Lease`] trusts clocks,
//! and only their *rate*: see [`Lease`]. Without a configured [`Lease`] it is refused.
//!
//! [`Effects`]: panchayat_consensus::Effects

#![forbid(unsafe_code)]

mod accept;
mod account;
mod catch_up;
mod collect;
mod config;
mod counters;
mod elect;
mod entry;
mod forward;
mod lead;
mod learn;
mod lease;
mod log;
mod message;
#[cfg_attr(
    not(feature = "mutations"),
    allow(dead_code, unreachable_pub, reason = "only the tests of tests list them")
)]
mod mutation;
mod origins;
mod pending;
mod quorums;
mod read;
mod record;
mod replica;
mod restore;
mod snapshot;
mod takeover;

pub use config::{Config, ConfigError, Confirmation, Learning, Limits, Placement, Timing};
pub use counters::Counters;
pub use entry::{Entry, Submission};
pub use lease::Lease;
pub use message::{Message, Progress, Report};
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use origins::Applied;
pub use quorums::{FlexibleQuorums, QuorumError};
pub use read::Way;
pub use record::Record;
pub use replica::MultiPaxos;
