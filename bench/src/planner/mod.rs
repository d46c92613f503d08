//! What a topology promises before anything runs: latency in every city under every protocol, every
//! leader and every choice of replicas, with all cities up and with one down; and which to take for
//! a workload.
//!
//! | part | what it is |
//! |---|---|
//! | [`Forecast`] | one protocol, one leader, some replicas: closed forms, exact without load |
//! | [`Contention`] | how often a workload's commands conflict |
//! | [`Plan`] | all forecasts of a set, ranked, and a recommendation for each workload with its reason |
//!
//! The forms are held against the simulated engine in tests: exactly where nothing conflicts, and with
//! a stated error where commands do.

mod contention;
mod forecast;
mod plan;

pub use contention::Contention;
pub use forecast::{Down, Forecast};
pub use plan::{Plan, PlanError, Recommendation};
