//! When a command should have reached a fast quorum.
//!
//! Every message that says when it was sent shows by how much its sender's wall clock then was
//! behind the receiver's now: the delay and the difference of the clocks in one number, which is
//! what one needs to say when something will arrive *by the receiver's clock*. Members tell each
//! other these numbers. A wrong clock makes them wrong, which costs collisions or waiting.

use panchayat_consensus::{Now, ReplicaId, WallTime};

use crate::config::Slots;
use crate::replica::FastPaxos;

/// An estimate falls by this part of the way to a smaller sample, and rises to a larger one at
/// once: what arrives too late collides, what waits a little does not.
const FALL: i64 = 8;

/// Delays between members, clock differences included, in microseconds.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Delays {
    /// From each member to this one.
    pub(crate) inbound: Vec<Option<i64>>,
    /// From this member to each, as they say.
    outbound: Vec<Option<i64>>,
}

impl Delays {
    pub(crate) fn new(n: usize) -> Self {
        Self { inbound: vec![None; n], outbound: vec![None; n] }
    }

    fn sample(&mut self, from: ReplicaId, delay: i64) {
        let known = &mut self.inbound[from.index()];
        *known = Some(known.map_or(delay, |known| delay.max(known - (known - delay) / FALL)));
    }
}

impl FastPaxos {
    /// Something arrived that was sent at `sent`.
    pub(crate) fn note_delay(&mut self, from: ReplicaId, sent: WallTime, now: Now) {
        let delay = (now.wall.0 as i64).wrapping_sub(sent.0 as i64);
        // Clocks further apart than a day say nothing.
        if delay.unsigned_abs() < 86_400_000_000 {
            self.delays.sample(from, delay);
        }
    }

    /// What a member says of the way from here to there.
    pub(crate) fn note_outbound(&mut self, from: ReplicaId, delays: &[Option<i64>]) {
        if let Some(delay) = delays.get(self.me().index()) {
            self.delays.outbound[from.index()] = *delay;
        }
    }

    /// When a command sent now should have reached a fast quorum; zero if that is not known, or
    /// not wanted.
    pub(crate) fn arrival(&self, now: Now) -> WallTime {
        self.arrival_at(self.config.quorums.fast(), now)
    }

    /// The same for all members.
    pub(crate) fn arrival_everywhere(&self, now: Now) -> WallTime {
        self.arrival_at(self.config.quorums.n(), now)
    }

    fn arrival_at(&self, members: usize, now: Now) -> WallTime {
        if self.config.slots == Slots::NextFree {
            return WallTime(0);
        }
        let here = self.me().index();
        let outbound = self.delays.outbound.iter().enumerate();
        let known = outbound.filter_map(|(to, delay)| if to == here { Some(0) } else { *delay });
        let mut delays: Vec<i64> = known.collect();
        delays.sort_unstable();
        let last = delays.get(members - 1);
        last.map_or(WallTime(0), |delay| WallTime(now.wall.0.saturating_add_signed(*delay)))
    }
}
