//! Running it.
//!
//! **Start.** A replica has a data directory of its own, a certificate, and the same
//! [`Cluster`](crate::Cluster) as all others. Whether it has run before is noted in the directory; a
//! replica that has lost its journal is refused, since it would undo what it had promised. Give
//! [`Builder::has_run_before`](crate::Builder::has_run_before) what you know better than an empty disk.
//!
//! **Watch.** [`Replica::metrics`](crate::Replica::metrics) and [`Node::metrics`](crate::Node::metrics) are
//! owned numbers; holding one blocks nobody.
//!
//! ```
//! # use panchayat::{Replica, kv::KvStore};
//! # async fn f(mumbai: Replica<KvStore>) -> Option<()> {
//! let metrics = mumbai.metrics().await?;
//! println!(
//!     "{} executed, {} in flight, suspects {:?}, journal {} bytes, behind: {}",
//!     metrics.core.executed,
//!     metrics.core.in_flight,
//!     metrics.core.suspected,
//!     metrics.journal_file_bytes,
//!     metrics.core.snapshots.behind,
//! );
//! # Some(())
//! # }
//! ```
//!
//! **Limits.** Everything that can grow has one, in [`Limits`](crate::Limits) and
//! [`SessionConfig`](crate::SessionConfig). At a limit callers get `Overloaded` at once, not latency
//! without end. `cargo run --release -p panchayat --example flood` adds up what the limits of three
//! cities allow, lets a producer that never waits loose on them, and fails if they hold more.
//!
//! **Disk.** Snapshots are taken by themselves, and the journal is cut below them. A full disk refuses
//! proposals with a clear error and goes on when there is space. A failed sync stops the replica: it
//! says why ([`Replica::stopped`](crate::Replica::stopped)) and votes no more; it never syncs again as if
//! nothing had happened.
//!
//! **A replica that was away** catches up by itself; if it missed too much it takes over a peer's state,
//! and refuses proposals until it has.
//!
//! **A replica that will not come back** is replaced: see [`membership`](super::membership).
//!
//! **Back up** with [`Replica::back_up`](crate::Replica::back_up). A backup is a state, not promises: it can
//! only be the beginning of a whole new cluster
//! ([`LocalCluster::restore_backup`](crate::LocalCluster::restore_backup)), never be put under one replica
//! of a cluster that goes on.
//!
//! **Stop** with [`Replica::shutdown`](crate::Replica::shutdown), which finishes what is in flight. If no
//! quorum answers that takes for ever: use a timeout, and drop the handle.
