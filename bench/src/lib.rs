//! Workloads, load, and the experiments that put figures on Panchayat.
//!
//! | what | where |
//! |---|---|
//! | which commands clients send | [`workload`] |
//! | clients that send them and note when they were answered | [`load`] |
//! | latencies, counted | [`histogram`] |
//! | answers with their times, for runs in which something fails | [`trace`] |
//! | a whole cluster under load, with a report that checks itself | [`geo`] |
//!
//! Every figure comes with its conditions, and every run measures its own error: what the
//! emulated links really did, how late the emulator was, how long the disk takes to sync.

#![forbid(unsafe_code)]

pub mod geo;
pub mod histogram;
pub mod load;
pub mod trace;
pub mod workload;

/// The git commit this was built from, or `unknown`.
pub const COMMIT: &str = env!("PANCHAYAT_COMMIT");
