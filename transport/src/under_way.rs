//! What is under way in the bulk lane: queued here, or sent and not known to have arrived.
//!
//! A large frame may take longer to cross a link than its sender's patience lasts. Sent again, and
//! again, it only delays itself and everything behind it. So the receiver says how many frames of
//! the lane it has taken ([`crate::link`]), and a frame that is still under way is not queued twice.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashSet, FxHasher};

/// What tells one frame from another. Two that share it are taken for one while the first is under
/// way: as if the second was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Print(u64);

impl Print {
    pub(crate) fn of(frame: &[u8]) -> Self {
        let mut hasher = FxHasher::default();
        frame.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Frames of one lane in the order they were queued.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    order: VecDeque<Option<Print>>,
    prints: FxHashSet<Print>,
    /// Of those that the present link carried, how many have arrived.
    arrived: u64,
}

impl UnderWay {
    pub(crate) fn contains(&self, print: Print) -> bool {
        self.prints.contains(&print)
    }

    /// A frame was queued; with `None` for one that may be repeated.
    pub(crate) fn queued(&mut self, print: Option<Print>) {
        self.prints.extend(print);
        self.order.push_back(print);
    }

    /// The peer has taken so many frames since the link began. A peer that claims more than were
    /// sent confuses nobody but itself.
    pub(crate) fn arrived(&mut self, count: u64, queued: usize) {
        let sent = self.order.len().saturating_sub(queued) as u64;
        let more = count.saturating_sub(self.arrived).min(sent);
        self.arrived += more;
        self.forget(more as usize);
    }

    /// Another link begins, and only what is still queued will go over it.
    pub(crate) fn begin(&mut self, queued: usize) {
        self.arrived = 0;
        self.forget(self.order.len().saturating_sub(queued));
    }

    fn forget(&mut self, count: usize) {
        for print in self.order.drain(..count).flatten() {
            self.prints.remove(&print);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_under_way_until_it_has_arrived_or_its_link_ended() {
        let mut lane = UnderWay::default();
        let [a, b, c] = [b"a", b"b", b"c"].map(|frame| Print::of(frame));
        lane.queued(Some(a));
        lane.queued(None);
        lane.queued(Some(b));
        // Of these, b still waits here: however many the peer claims, b has not arrived.
        lane.arrived(u64::MAX, 1);
        assert!(!lane.contains(a) && lane.contains(b));
        lane.queued(Some(c));
        lane.arrived(3, 1);
        assert!(!lane.contains(b) && lane.contains(c));
        // Counts that came late or twice say nothing new.
        lane.arrived(2, 0);
        assert!(lane.contains(c));
        lane.queued(Some(a));
        lane.begin(1);
        assert!(!lane.contains(c) && lane.contains(a), "what was sent may be lost with its link");
        lane.arrived(1, 0);
        assert!(!lane.contains(a));
    }
}
