//! Experiments: many runs that answer one question, described as data.
//!
//! A file says who competes, where, under which load, and what is varied ([`Experiment`]); the
//! shipped ones are in `bench/experiments`. The same experiment runs on either engine: *real*
//! (QUIC, threads, disks, emulated distance) or *simulated* (the same replicas in virtual time,
//! [`crate::simulated`]), or on both, and then the two are compared. [`run`] gives a [`Report`],
//! which is JSON, and from which [`crate::page`] draws a page.
//!
//! On the simulated engine the same seed gives the same report, byte for byte, apart from the
//! commit it names.

mod compare;
mod faults;
mod findings;
mod named;
mod parse;
mod point;
mod real;
mod report;
mod run;
mod simulate;
mod spec;

use panchayat::ProtocolError;
use panchayat::topology::NotFound;
use thiserror::Error;

use crate::geo::{FaultError, GeoError};
use crate::simulated::SimulatedError;
use crate::workload::WorkloadError;

pub use compare::Compared;
pub use named::{names, shipped, text_of};
pub use parse::parse;
pub use point::{Components, PointReport};
pub use report::{Conditions, Report};
pub use run::{Engine, Progress, run};
pub use spec::{
    Axis, Carrier, Contender, Experiment, POINTS_MAX, Point, ProtocolKind, Setpoint, Sweep,
};

/// Why an experiment has no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The topology has no such set or profile.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// A protocol does not fit a set.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The faults make no sense.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The workload makes no sense.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// More runs than anybody waits for.
    #[error("{0} runs: an experiment has at most {POINTS_MAX}")]
    TooMany(usize),
    /// A run on the real engine failed.
    #[error(transparent)]
    Real(#[from] GeoError),
    /// A run on the simulated engine failed.
    #[error(transparent)]
    Simulated(#[from] SimulatedError),
    /// The caller wanted no more of it.
    #[error("the experiment was cancelled")]
    Cancelled,
    /// A run ended in a panic.
    #[error("a simulated run failed: {0}")]
    Panicked(String),
}
