//! Forgetting executed slots.
//!
//! A slot is kept here as long as a member may ask for it: until every member durably knows its
//! outcome, or until there are so many that whoever needs the oldest is better served by a state.
//! That is about memory only: what a restart needs is in the journal, which is cut below a durable
//! snapshot and nowhere else.

use panchayat_consensus::{Now, Slot, Time};

use crate::replica::FastPaxos;

/// While a state is being transferred, this many times the usual may be kept.
const HELD_TIMES: u64 = 2;

/// Slots above this one are kept until then.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Hold {
    above: Slot,
    until: Time,
}

impl FastPaxos {
    /// Keeps what comes after a state taken from now on.
    pub(crate) fn hold_slots(&mut self, now: Now) {
        let until = now.monotonic + self.config.timing.hold;
        let above = self.hold.map_or(self.chosen, |hold| hold.above);
        self.hold = Some(Hold { above, until });
    }

    /// Forgets executed slots that nobody needs, and those that are too many.
    pub(crate) fn collect(&mut self, now: Now) {
        self.hold = self.hold.filter(|hold| now.monotonic < hold.until);
        let others = self.others().iter().map(|replica| self.progress[replica.index()].kept);
        let nobody_needs = others.fold(self.kept, Slot::min);
        let limits = self.config.limits;
        while self.log.base() < self.chosen {
            let base = self.log.base();
            let held = self.hold.is_some_and(|hold| hold.above <= base);
            let times = if held { HELD_TIMES } else { 1 };
            let too_many = self.chosen - base > limits.retained_slots_max.saturating_mul(times)
                || self.retained_bytes as u64 > (limits.retained_bytes_max as u64) * times;
            if !too_many && (held || base >= nobody_needs) {
                break;
            }
            let entry = self.log.collect_one();
            self.counters.collected += 1;
            self.retained_bytes -= entry.map_or(0, |entry| entry.bytes());
        }
    }
}
