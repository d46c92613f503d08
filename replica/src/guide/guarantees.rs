//! What an answer means, and what is never promised.
//!
//! # Promised
//!
//! * **Strict serializability.** [`Replica::propose`](crate::Replica::propose) answers when the command
//!   has been executed at that replica, after everything it depends on. All commands of a workload
//!   behave as if they came one at a time, in an order that agrees with real time: what is proposed
//!   after an answer, anywhere, comes after what was answered.
//! * **Durability.** With [`Durability::Fsync`](crate::Durability), the default, every promise is synced
//!   to the disk before the message that makes it leaves. An answered command survives the loss of
//!   power at every replica at once.
//! * **Availability with a quorum.** With n replicas, ⌊(n−1)/2⌋ may be down and the others go on. There
//!   is no leader to lose under EPaxos; under the others a lost one is replaced.
//! * **Certain or unknown.** An error says whether the command may have been applied:
//!
//! ```
//! # use panchayat::{ProposeError, Replica, kv::{KvCommand, KvStore}};
//! # async fn f(mumbai: Replica<KvStore>, command: KvCommand) {
//! match mumbai.propose(&command).await {
//!     Ok(output) => println!("executed: {output:?}"),
//!     Err(ProposeError::Overloaded) => println!("not applied; too much is in flight here"),
//!     Err(error) if error.is_certain() => println!("not applied: {error}"),
//!     Err(error) => println!("unknown, see the page on sessions: {error}"),
//! }
//! # }
//! ```
//!
//! # Not promised
//!
//! * A replica that cannot reach a quorum serves no writes and no linearizable reads. It refuses or
//!   waits; it never answers from its own state alone, unless a [stale read](super::reads) asks for that.
//! * With [`Durability::Os`](crate::Durability) or `Memory`, promises hold only while no machine loses
//!   power, or no replica stops.
//! * Replicas are trusted. They may crash, stall, lose messages and lose power; they may not lie.
//! * Nothing is ordered across [workloads](super::workloads).
//! * Clocks only ever cost time, with two exceptions that say so:
//!   [leases and stale reads](super::reads).
//! * It is tested by simulation under faults, exhaustively in a small scope, and with real processes
//!   that are killed. That is evidence, not proof.
