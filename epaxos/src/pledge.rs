//! From when on commands can still come: what coordinators pledged about times of proposals.
//!
//! A lane's proposal times grow with its slots. Now and then its coordinator also pledges that
//! every slot above one it names will be proposed after some time, so that an idle lane does not
//! hold up those who ask how old a command can be that is yet to execute: sessions, which forget, and
//! reads, which say how old they are. For the sake of these a pledge is never ahead of its
//! coordinator's clock, even where proposal times are.

use panchayat_consensus::{Slot, WallTime};

/// The pledges of one lane's coordinator.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(crate) struct Pledges {
    /// Everything that is not executed yet was or will be proposed after this.
    after: WallTime,
    /// Holds from when everything up to this slot is executed.
    next: Option<(Slot, WallTime)>,
}

impl Pledges {
    /// Every slot above `slot` is proposed after `time`.
    pub(crate) fn heard(&mut self, slot: Slot, time: WallTime) {
        if self.next.is_none() {
            self.next = Some((slot, time));
        }
    }

    /// Everything in the lane up to `slot` is executed.
    pub(crate) fn executed(&mut self, slot: Slot) {
        if let Some((upto, time)) = self.next
            && upto <= slot
        {
            self.after = self.after.max(time);
            self.next = None;
        }
    }

    /// Everything that is not executed yet was or will be proposed after this.
    pub(crate) fn after(&self) -> WallTime {
        self.after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pledge_holds_once_what_it_does_not_speak_of_is_executed() {
        let mut pledges = Pledges::default();
        pledges.heard(5, WallTime(100));
        pledges.heard(9, WallTime(200));
        pledges.executed(4);
        assert_eq!(pledges.after(), WallTime(0));
        pledges.executed(5);
        assert_eq!(pledges.after(), WallTime(100));
        pledges.heard(9, WallTime(50));
        pledges.executed(20);
        assert_eq!(pledges.after(), WallTime(100), "it never falls");
    }
}
