//! Which protocol orders a workload.
//!
//! | | [`EPaxos`](crate::ProtocolChoice::EPaxos) | [`MultiPaxos`](crate::ProtocolChoice::MultiPaxos) | [`FastPaxos`](crate::ProtocolChoice::FastPaxos) |
//! |---|---|---|---|
//! | who orders | every replica, for its own clients | one leader | any replica, with a coordinator for collisions |
//! | a command takes | a round trip to the nearest quorum | to the leader, its quorum, and back | a round trip to a fast quorum, which is nearly everybody |
//! | commands that conflict | cost a second round trip, and a chain of waiting | cost nothing: all are in one line | collide, and are settled by the coordinator |
//! | a replica is lost | the others go on at once | if it led, nothing is answered until another does | if it was of the fast quorum, classic rounds |
//! | reads | of one key by a quorum, of more ordered like commands | by read index or lease, without a place in the log | ordered like commands |
//! | suits | payments, profiles, carts: clients everywhere, few conflicts | order books, counters with answers, one hot key | rare single decisions |
//!
//! [`Adaptive`](crate::ProtocolChoice::Adaptive) lets the members choose: they measure who asks for how much, how
//! many of the commands conflict or collide, and who answers, and move when another protocol or leader
//! promises enough less for several seconds, without losing a command. The log has a line with the numbers
//! behind every move; `panchayat plan` says what a group would do under a given load.
//!
//! When in doubt begin with EPaxos, and measure with `panchayat geo` on a topology with your
//! distances. All members of a workload must be started with the same choice; another one is a
//! [change](super::membership) while it runs.
//!
//! ```
//! use panchayat::{LocalConfig, ProtocolChoice, Topology};
//!
//! # fn f(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = LocalConfig::new(Topology::builtin(), "india3", dir);
//! config.protocol = "multipaxos leader mumbai".parse::<ProtocolChoice>()?;
//! # Ok(())
//! # }
//! ```
//!
//! Before a conflict is blamed on the protocol, look at the [footprints](super::footprints): what commutes
//! need not conflict.
