//! Changing more than one key at once.
//!
//! **One-shot.** A command may touch any keys its footprint names. In the key-value store,
//! [`KvCommand::Transaction`](crate::kv::KvCommand) is applied whole if all its conditions hold, and not at
//! all otherwise; conditions are checked in agreed order, at every replica. A state machine of one's
//! own decides in `apply`. That is the fastest way, and it never has to be tried twice.
//!
//! **Interactive.** [`transact`](crate::transact) is for what must be read before it is known what to
//! write:
//!
//! ```
//! # use panchayat::{Replica, kv::KvStore};
//! # use panchayat::transact::{Stop, TransactError, Transactions};
//! # async fn f(delhi: Replica<KvStore>) -> Result<i64, TransactError<&'static str>> {
//! let transactions = Transactions::new(delhi);
//! let moved = transactions.run(|txn| async move {
//!     let (savings, rent) = (txn.number("savings").await?, txn.number("rent").await?);
//!     if savings < rent {
//!         return Err(Stop::Abort("not enough"));
//!     }
//!     txn.add("savings", -rent);
//!     txn.add("landlord", rent);
//!     Ok(rent)
//! });
//! moved.await
//! # }
//! ```
//!
//! **Isolation** is strict serializability in both cases. What an interactive transaction read is
//! validated by the command that writes, including what it only read, so there is no write skew; and one
//! that aborts or writes nothing is validated too before anything is reported.
//!
//! **Across workloads** there are no transactions: a command is of one workload, and
//! [`KvRouter`](crate::KvRouter) refuses one whose keys are in several.
