//! Interactive transactions over the key-value store: read, compute, then validate and write.
//!
//! ```
//! use panchayat::kv::KvStore;
//! use panchayat::transact::{Stop, TransactError, Transactions};
//! use panchayat::Replica;
//!
//! # async fn book(mumbai: Replica<KvStore>) -> Result<(), TransactError<&'static str>> {
//! let transactions = Transactions::new(mumbai);
//! let left = transactions.run(|txn| async move {
//!     let left = txn.number("seats left").await?;
//!     if left == 0 {
//!         return Err(Stop::Abort("sold out"));
//!     }
//!     txn.put("seat of asha", left.to_string());
//!     txn.add("seats left", -1);
//!     Ok(left - 1)
//! });
//! println!("{} left", left.await?);
//! # Ok(())
//! # }
//! ```
//!
//! **How.** The body reads what it likes and says what it wants to write; nothing is locked. Then
//! one command goes through consensus: the conditions that everything read still has the value
//! that was read, and the writes. It is applied whole or not at all. If a condition fails, the
//! body runs again, after a pause.
//!
//! **Isolation: strict serializability.** The command holds at one moment of the agreed order, and
//! at that moment every value that was read is there: so it is as if the body had run just then.
//! That a value changed and changed back meanwhile makes no difference, since the body depends on
//! values only. There is no write skew: what is only read is validated too. A body that writes
//! nothing, and one that aborts, is validated in the same way before anything is reported: "sold
//! out" is then as true as a booking. The body itself may see values of different moments, and must
//! not act on them outside the transaction: only what [`Transactions::run`] returns counts.
//!
//! **Reads.** A body first runs against the local state, which may lag behind, and costs no time.
//! If that was too old it runs again with linearizable reads.
//!
//! **Retries.** The command travels as a named request, so it is tried again where its outcome is
//! unknown, and applied once. How often anything is tried is bounded by [`Retry`]; pauses grow and
//! are drawn at random, so that those who met do not meet again. Under contention on few keys a
//! one-shot command of your own ([`Condition::AtLeast`](crate::kv::Condition) and
//! [`KvOp::Add`](crate::kv::KvOp), or a state machine that decides in `apply`) is better: it is
//! never tried twice.
//!
//! A transaction stays within one workload: keys of another one are not in this store.

mod error;
mod retry;
mod run;
mod store;
mod txn;

pub use error::{Interrupted, Stop, TransactError};
pub use retry::Retry;
pub use run::Transactions;
pub use store::{Store, Unanswered};
pub use txn::Txn;
