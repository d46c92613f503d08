//! EPaxos*: leaderless consensus that orders commands by their conflicts.
//!
//! Every replica coordinates the commands of its own clients. A command commits in one round trip
//! to the nearest quorum unless replicas disagree about its conflicts, in two otherwise, and is
//! executed after everything it depends on. The protocol is EPaxos* of Ryabinin, Gotsman and Sutra,
//! *Making Democracy Work: Fixing and Simplifying Egalitarian Paxos* (OPODIS 2025,
//! arXiv 2511.02743): EPaxos with a recovery that is proved correct, and without sequence numbers.
//!
//! The paper's replicas crash for ever; these restart. What that takes is in [`Effects`]: a
//! message that promises something leaves only after the journal record of the promise.
//!
//! | concept | file |
//! |---|---|
//! | what a replica knows of an instance | `instance`, `lanes` |
//! | which instances a command conflicts with | `conflicts`, `deps` |
//! | first round, second round, decision | `preaccept`, `accept`, `commit` |
//! | who is sent a payload, and when again | `payload` |
//! | recovery | `recover`, `validate`, `waiting` |
//! | when to help an instance along | `attend`, `watch` |
//! | execution order | `graph` |
//! | reads of one key that no write waits for | `read` |
//! | restart | `restore`, `record` |
//! | what all have executed goes | `collect`, `status`, `pledge` |
//! | snapshots and taking over a state | `image` |
//!
//! [`Effects`]: panchayat_consensus::Effects

#![forbid(unsafe_code)]

mod accept;
mod account;
mod attempt;
mod attend;
mod collect;
mod commit;
mod config;
mod conflicts;
mod counters;
mod deps;
pub mod graph;
mod image;
mod instance;
mod lanes;
mod message;
#[cfg_attr(
    not(feature = "mutations"),
    allow(dead_code, unreachable_pub, reason = "only the simulator lists them")
)]
mod mutation;
mod payload;
mod pledge;
mod preaccept;
mod read;
mod record;
mod recover;
mod replica;
mod restore;
mod status;
mod validate;
mod waiting;
mod watch;

pub use config::{Config, Limits, Timing};
pub use counters::Counters;
pub use deps::Deps;
pub use instance::{Instance, Phase};
pub use message::{INVALIDATORS_MAX, Invalidator, Message, Proposal, Report};
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use read::READ_RUN_SHIFT;
pub use record::Record;
pub use replica::EPaxos;
pub use status::Status;
