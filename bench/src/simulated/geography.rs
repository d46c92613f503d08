//! Lines and machines: what a topology's profile means in virtual time.

use panchayat::topology::NotFound;
use panchayat::{Durability, Topology};
use panchayat_sim::lab::{Cost, Line, SyncDraw};

/// What one city's replica runs on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Its disk.
    pub sync: SyncDraw,
    /// Its processor.
    pub cost: Cost,
}

impl Machine {
    /// No disk, and a processor that takes no time: for closed forms.
    pub const IDEAL: Self = Self {
        sync: SyncDraw::NONE,
        cost: Cost { turn_ns: 0, message_ns: 0, proposal_ns: 0, execution_ns: 0 },
    };

    /// A disk and a thread like those this was measured on: a sync takes 64 µs in the median, and a
    /// replica's thread 3.3 µs for a command at n = 3 (two messages, a third of a proposal, an
    /// execution).
    pub fn typical(durability: Durability) -> Self {
        let sync = match durability {
            Durability::Fsync => SyncDraw { median_us: 64, sigma: 0.5 },
            Durability::Os | Durability::Memory => SyncDraw::NONE,
        };
        let cost = Cost { turn_ns: 500, message_ns: 1_000, proposal_ns: 1_500, execution_ns: 800 };
        Self { sync, cost }
    }
}

/// The lines between the cities of `set` under `profile`, by sender and receiver. Where a line
/// neither jitters nor loses nor fails, frames take no time to be sent either: a closed form knows
/// of none, and of a small frame it is a microsecond.
///
/// # Errors
/// [`NotFound`].
pub fn lines(topology: &Topology, set: &str, profile: &str) -> Result<Vec<Vec<Line>>, NotFound> {
    let n = topology.matrix(set)?.len();
    let mut lines = vec![vec![Line::ideal(0); n]; n];
    for link in topology.links(set, profile)? {
        let chain = link.loss_chain();
        let flap = link.flap;
        let quiet = link.jitter_median_us == 0 && link.loss == 0.0 && flap.is_none();
        lines[link.from][link.to] = Line {
            one_way_us: link.one_way_us,
            jitter_median_us: link.jitter_median_us,
            jitter_sigma: link.jitter_sigma,
            loss_enter: chain.enter,
            loss_leave: chain.leave,
            bits_per_s: if quiet { 0 } else { link.bandwidth_bits_per_s },
            flap_us: flap
                .map(|flap| [flap.up.min_us, flap.up.max_us, flap.down.min_us, flap.down.max_us]),
        };
    }
    Ok(lines)
}
