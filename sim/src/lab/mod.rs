//! Runs for figures: production replicas in virtual time under a load, without the checkers.
//!
//! Where the seeds of this crate look for mistakes, this measures. [`panchayat_core::Group`], its
//! protocol, frames and the detector run as they do in production; distance, jitter, loss, disks
//! and processors are numbers ([`Setting`]). Nothing here watches invariants, so a command costs
//! microseconds and ten minutes pass in seconds. The same seed gives the same run.
//!
//! A caller describes the load as a [`Load`]: what each client sends, and what becomes of it.

mod links;
mod node;
mod outcome;
mod run;
mod setting;
#[cfg(test)]
mod tests;
mod turn;

pub use links::{Lane, Line};
pub use outcome::{Outcome, Standing};
pub use panchayat_epochs::Epochs;
pub use run::run;
pub use setting::{Cost, Event, Load, Lost, Pace, Served, Setting, SyncDraw};
