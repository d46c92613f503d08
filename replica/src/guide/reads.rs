//! How current a read is, and what it costs.
//!
//! [`Replica::read`](crate::Replica::read) answers a query from the state of that replica, once that is as
//! current as asked. Nothing is written for it.
//!
//! | [`ReadLevel`](crate::ReadLevel) | it holds | it takes | it trusts |
//! |---|---|---|---|
//! | `Linearizable` | everything answered to anyone before the read began | a quorum | no clock |
//! | `Lease` | the same | nothing beyond the leader, under Multi-Paxos with a [`Lease`](crate::Lease) | that clocks run at the right rate, within the lease's bound |
//! | `Stale { max }` | everything answered longer ago than `max`, and says how old it may be | nothing if that is known to be so; else it is made linearizable | that wall clocks agree within the skew configured |
//!
//! ```
//! # use panchayat::{ReadError, ReadLevel, Replica, Span, kv::{KvQuery, KvStore}};
//! # async fn f(bangalore: Replica<KvStore>) -> Result<(), ReadError> {
//! let query = KvQuery::Get { key: "menu".into() };
//! let at_most_a_second_old = ReadLevel::Stale { max: Span::from_ms(1_000) };
//! let reading = bangalore.read(query, at_most_a_second_old).await?;
//! println!("{:?}, at most {:?} old", reading.answer, reading.age);
//! # Ok(())
//! # }
//! ```
//!
//! EPaxos asks a quorum which writes of the key it knows, and answers once these are executed here: no write
//! waits for such a read. A query that looks at several keys, or at one that is
//! [added to](super::footprints) meanwhile, is ordered like a command that changes nothing, and so is every
//! linearizable read under Fast Paxos: it waits for the writes it conflicts with, and they for it. `Stale { max: Span::MAX }` is always answered at once, also by a replica that
//! is cut off. `Lease` is refused ([`ReadRefusal::NoLease`](crate::ReadRefusal::NoLease)) by whatever holds none, and so by an
//! adaptive group that has left Multi-Paxos: ask such a group for `Linearizable`. Every other read is refused after
//! [`Limits::read_timeout`](crate::Limits::read_timeout) if no quorum can be reached.
