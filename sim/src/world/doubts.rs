//! Doubts about whoever sends a state, for no more than a moment.
//!
//! A sender that is silent just long enough to be suspected has not taken back what is on its way. A
//! failure detector of its own would rarely come to that in the short time between the end of a
//! transfer and the receiver's next look, so it is drawn on purpose.

use panchayat_consensus::ReplicaId;
use panchayat_core::detector::Verdict;

use super::{Event, Job, Phase, World};
use crate::flaw::Flaw;
use crate::subject::{Place, Subject};

/// The longest doubt.
const DOUBT_MAX_US: u64 = 400_000;

impl<P: Subject> World<P> {
    /// Whether `by` comes to doubt `of`, whose state is to arrive at `at_us`.
    pub(super) fn plan_doubt(&mut self, by: Place, of: usize, at_us: u64) {
        if self.phase != Phase::Safety || !self.doubt_rng.percent(self.setup.doubt_percent) {
            return;
        }
        let from_us = self.now_us + self.doubt_rng.below(at_us - self.now_us);
        let until_us = from_us + self.doubt_rng.octaves(1_000, DOUBT_MAX_US);
        self.queue.push(from_us, Event::Doubt { by, of, begins: true });
        self.queue.push(until_us, Event::Doubt { by, of, begins: false });
    }

    /// A doubt begins or ends, unless the failure detector has the same by itself.
    pub(super) fn doubt(&mut self, by: Place, of: usize, begins: bool) -> Result<(), Flaw> {
        let replica = by.replica.index();
        let peer = ReplicaId(of as u8);
        let node = &self.nodes[replica];
        if !self.runs(replica, by.incarnation) || node.detector.suspected().contains(peer) {
            return Ok(());
        }
        let verdict = if begins {
            *self.stats.named.entry("fault_doubt").or_default() += 1;
            Verdict::Suspected(peer)
        } else {
            Verdict::Up(peer)
        };
        self.give(replica, Job::Peer(verdict))
    }
}
