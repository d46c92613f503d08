//! The deterministic simulator: production replicas in virtual time, with faults, invariants and
//! history checkers.
//!
//! A seed draws a whole run ([`Setup`]): how many commands on how many keys, how slow the links
//! and disks, which faults and when. First everything goes wrong (*safety*), then everything is
//! healed but for at most f replicas (*liveness*: all that is known must commit and execute), then
//! power fails everywhere (*durability*: all that was answered must still be there). The same seed
//! gives the same run, byte for byte.
//!
//! What runs inside is [`panchayat_core::Group`] with its protocol, the real frames and the real
//! journal format; only network, disk, clocks and clients are simulated. The invariants of
//! [`invariants`] watch every record, message, step and execution.
//!
//! "N seeds with these faults, zero violations" is the strongest thing it can say.

#![forbid(unsafe_code)]

mod accounts;
mod client;
mod clock;
mod disk;
mod epaxos;
mod epochs;
mod exact;
mod fastpaxos;
pub mod fault;
mod flaw;
pub mod history;
pub mod invariants;
mod judge;
pub mod lab;
pub mod log;
mod multipaxos;
mod network;
mod queue;
mod report;
mod required;
mod rng;
mod run;
mod setup;
mod subject;
mod trace;
mod workload;
mod world;

pub use client::{Answer, ClientEvent, ClientEventKind, ReadSeen};
pub use clock::Clock;
pub use disk::{Disk, Keep, Opened};
pub use epaxos::EPaxosChecks;
pub use epochs::{Change, EpochTuning, EpochsChecks, PlannedChange};
pub use exact::{Exact, Outcome};
pub use fastpaxos::{FastPaxosChecks, FastTuning};
pub use flaw::{Flaw, Invariant};
pub use judge::{Judged, judge};
pub use multipaxos::{LogTuning, MultiPaxosChecks};
pub use network::{LinkId, Network, Weather};
pub use report::{Coverage, Execution, Report, Violation};
pub use required::{
    ENOUGH, LONG_RUN, Missing, Required, SHORT_RUN, missing_coverage, required_coverage,
};
pub use rng::Rng;
pub use run::{Load, Options, Strength, Summary, run_range, run_seed, run_setup};
pub use setup::{Setup, SyncTime};
pub use subject::{Checks, Part, Place, Seat, Subject, Tuning};
pub use trace::{Line, Trace};
pub use workload::Workload;
