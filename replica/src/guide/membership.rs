//! How members and protocols are changed while it runs.
//!
//! A group lives in *epochs*, each with fixed members and a protocol. A [`Change`](crate::Change) ends one
//! and begins the next, at a point in the order of commands that all members agree on. What was under way
//! goes on in the new epoch; callers notice a pause of some round trips.
//!
//! **Another protocol, or another leader.** One call, at any member:
//!
//! ```
//! # use panchayat::{Change, ChangeError, ProtocolChoice, Replica, kv::KvStore};
//! # async fn f(mumbai: Replica<KvStore>) -> Result<(), Box<dyn std::error::Error>> {
//! let led = "multipaxos leader delhi".parse::<ProtocolChoice>()?;
//! mumbai.change(&Change::new().protocol(led)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! **A replica that is dead, or has lost its disk,** is replaced by one with a number and a certificate of
//! its own. It must never come back as itself, since it would undo what it had promised:
//!
//! ```
//! # use panchayat::{Change, GroupView, NodeId, Newcomer, Replica, kv::KvStore};
//! # async fn f(mumbai: Replica<KvStore>) -> Option<()> {
//! let group: GroupView = mumbai.group().await?;
//! let dead = group.member("delhi")?.member.node;
//! let delhi = Newcomer::new("delhi", group.next_node, "10.0.2.11:7001".parse().ok()?);
//! mumbai.change(&Change::new().remove_member(dead).add_member(delhi)).await.ok()?;
//! # Some(())
//! # }
//! ```
//!
//! The newcomer is started with [`Builder::joining`](crate::Builder::joining), before or after that. It
//! takes over the state, and votes from then on: [`GroupView::is_complete`](crate::GroupView::is_complete).
//! Until it does, a group of three with one newcomer bears the loss of nobody else.
//!
//! **More or fewer.** Most of the next members must be members already: three become five in one step,
//! five become three, and larger steps are refused. Who was removed says so, gets no traffic, and serves nobody.
//!
//! **Every start is like the first.** What a replica is configured with is what the cluster *began* with,
//! and stays so; what has changed since, the members have agreed on, and it is in every replica's journal.
//! Only addresses of the first members may differ at a start.
//!
//! Any change may be asked for again: it is made once. From the command line: `panchayat member` and
//! `panchayat workload set`.
