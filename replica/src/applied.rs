//! A result, and when it came about.

use std::time::Instant;

use panchayat_consensus::{InstanceId, Path};

/// A command that was executed here.
#[derive(Clone, Debug)]
pub struct Applied<O> {
    /// What the state machine answered.
    pub output: O,
    /// The instance that decided it.
    pub id: InstanceId,
    /// How it was decided.
    pub path: Path,
    /// When its decision was durable here. For measurement: nothing may be concluded from it
    /// about the order of commands.
    pub committed_at: Instant,
    /// When it was executed here.
    pub executed_at: Instant,
}
