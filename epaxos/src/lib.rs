//! EPaxos*.

#![forbid(unsafe_code)]

mod attempt;
mod config;
mod deps;
mod instance;
mod message;
mod record;

pub use config::{Config, Limits, Timing};
pub use deps::Deps;
pub use instance::{Instance, Phase};
pub use message::{INVALIDATORS_MAX, Invalidator, Message, Proposal, Report};
pub use record::Record;
