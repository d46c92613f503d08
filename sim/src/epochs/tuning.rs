//! What the swarm chooses for epochs.

use panchayat_consensus::Span;
use panchayat_epochs::{Order, Timing, Watch};

/// How a group begins, and its timeouts between epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochTuning {
    /// The first so many replicas found the group.
    pub founders: usize,
    /// How many there can be, founders included.
    pub places: usize,
    /// The first epoch's protocol.
    pub order: Order,
    /// Timeouts.
    pub timing: Timing,
    /// How closely members watch, if the group moves of its own accord.
    pub watch: Option<Watch>,
}

impl EpochTuning {
    /// Patient ones, for `n` replicas that stay.
    pub fn calm(rtt: Span) -> Self {
        Self {
            founders: 3,
            places: 3,
            order: Order::EPaxos,
            timing: Timing::for_rtt(rtt),
            watch: None,
        }
    }
}
