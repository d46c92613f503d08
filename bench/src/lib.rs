//! Workloads, load, and the experiments that put figures on Panchayat.
//!
//! | what | where |
//! |---|---|
//! | which commands clients send | [`workload`] |
//! | clients that send them and note when they were answered | [`load`] |
//! | whom they send them to | [`target`] |
//! | latencies, counted | [`histogram`] |
//! | answers with their times, for runs in which something fails | [`trace`] |
//! | a whole cluster under load, with a report that checks itself | [`geo`] |
//! | many runs that answer one question, and their report | [`experiment`] |
//! | what a topology promises before anything runs | [`planner`] |
//! | what a command costs where nothing is far away | [`loopback`] |
//! | that report as a page with plots | [`page`] |
//! | the same cluster in virtual time | [`simulated`] |
//! | a topology file from round trips between real hosts | [`survey`] |
//! | processor time by thread, memory | [`machine`] |
//!
//! Every figure comes with its conditions, and every run measures its own error: what the
//! emulated links really did, how late the emulator was, how long the disk takes to sync.

#![forbid(unsafe_code)]

mod counters;
pub mod experiment;
pub mod geo;
pub mod histogram;
pub mod load;
pub mod loopback;
pub mod machine;
pub mod page;
pub mod planner;
pub mod simulated;
pub mod survey;
pub mod target;
pub mod trace;
mod traffic;
pub mod workload;

use std::path::Path;

use panchayat::{Durability, SyncLatency, measure_sync};

/// The git commit this was built from, or `unknown`.
pub const COMMIT: &str = env!("PANCHAYAT_COMMIT");

/// How reports call it.
fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Fsync => "fsync",
        Durability::Os => "os",
        Durability::Memory => "memory",
    }
}

/// How long one small write with a sync takes in `dir`, nothing else going on; or why it cannot be
/// said.
async fn sync_latency(dir: &Path) -> Result<SyncLatency, String> {
    let path = dir.to_owned();
    let measured = tokio::task::spawn_blocking(move || measure_sync(&path)).await;
    measured.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
