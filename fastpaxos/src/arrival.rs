//! When a command should have reached a fast quorum.
//!
//! Every message that says when it was sent shows by how much its sender's wall clock then was
//! behind the receiver's now: the delay and the difference of the clocks in one number, which is
//! what one needs to say when something will arrive *by the receiver's clock*. Members tell each
//! other these numbers. A wrong clock makes them wrong, which costs collisions or waiting.

use panchayat_consensus::{Now, ReplicaId, Span, WallTime};

use crate::config::Slots;
use crate::replica::FastPaxos;

/// An estimate falls by this part of the way to a smaller sample: what arrives too late collides,
/// what waits a little does not.
const FALL: i64 = 32;
/// The expected delay rises by this part of the way to a larger sample, so that about nine of ten
/// samples stay below it. One packet that was late by itself does not hold up the commands of a second.
const RISE: i64 = 4;

/// Delays between members, clock differences included, in microseconds.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Delays {
    /// From each member to this one.
    pub(crate) inbound: Vec<Option<i64>>,
    /// From this member to each, as they say.
    outbound: Vec<Option<i64>>,
    /// By how much commands of each member come here after their time.
    late: Vec<i64>,
}

impl Delays {
    pub(crate) fn new(n: usize) -> Self {
        Self { inbound: vec![None; n], outbound: vec![None; n], late: vec![0; n] }
    }

    /// Takes a sample; says whether it is the first of that member. An estimate further from it than
    /// anybody waits is of no use: a clock was put right, or wrong.
    fn sample(&mut self, from: ReplicaId, delay: i64, wait_max: Span) -> bool {
        let known = &mut self.inbound[from.index()];
        let first = known.is_none();
        let near = known.filter(|known| known.abs_diff(delay) <= wait_max.0);
        *known = Some(near.map_or(delay, |known| expect(known, delay)));
        first
    }
}

/// The delay to expect after one more sample.
fn expect(known: i64, sample: i64) -> i64 {
    known + (sample - known) / if sample > known { RISE } else { FALL }
}

/// The most that there was lately, after one more sample.
fn most_lately(known: i64, sample: i64) -> i64 {
    sample.max(known - (known - sample) / FALL)
}

impl FastPaxos {
    /// Something arrived that was sent at `sent`.
    pub(crate) fn note_delay(&mut self, from: ReplicaId, sent: WallTime, now: Now) {
        let delay = (now.wall.0 as i64).wrapping_sub(sent.0 as i64);
        // Clocks further apart than a day say nothing.
        let sensible = delay.unsigned_abs() < 86_400_000_000;
        if sensible && self.delays.sample(from, delay, self.config.timing.arrival_wait_max) {
            // It has been waiting to hear that, and may have a word like it.
            self.status_due = self.status_due.min(now.monotonic);
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
        let mut delays: Vec<i64> =
            self.delays.outbound.iter().copied().flatten().chain([0]).collect();
        delays.sort_unstable();
        let last = delays.get(self.config.quorums.fast() - 1).copied();
        self.after(last.filter(|_| self.clocks_agree(&delays)), now)
    }

    /// The same for all members that answer this coordinator.
    pub(crate) fn arrival_everywhere(&self, now: Now) -> WallTime {
        let members = self.others().iter().filter(|member| self.answers(*member, now, false));
        let delays = members.map(|member| self.delays.outbound[member.index()]);
        let delays: Option<Vec<i64>> = delays.chain([Some(0)]).collect();
        let delays = delays.filter(|delays| self.clocks_agree(delays));
        self.after(delays.and_then(|delays| delays.into_iter().max()), now)
    }

    /// For how long after `due` the vote for a command of `origin` may wait for others that should
    /// be before it and come late.
    ///
    /// Whoever is not in the fast quorum that a command was timed for gets it after its time, and
    /// between that and its arrival votes for others. Once its counter disagrees, the votes of all others
    /// are needed, the furthest too. But nobody waits for its vote on what comes late, nor for
    /// an origin's own vote before those of the quorum are back.
    pub(crate) fn leeway(&mut self, origin: ReplicaId, due: WallTime, now: Now) -> Span {
        let late = now.wall.0.saturating_sub(due.0);
        let sensible = late <= self.config.timing.arrival_wait_max.0;
        if due == WallTime(0) || !sensible {
            return Span(0);
        }
        if origin != self.me() {
            let known = &mut self.delays.late[origin.index()];
            *known = most_lately(*known, late as i64);
            if late == 0 {
                return Span(0);
            }
        }
        let heard = self.others().minus(self.suspected);
        let latest = heard.iter().map(|member| self.delays.late[member.index()]).max();
        let mut back: Vec<i64> = self.delays.inbound.iter().copied().flatten().collect();
        back.sort_unstable();
        let last = self.config.quorums.fast().checked_sub(2);
        let back = last.and_then(|last| back.get(last).copied());
        Span(latest.unwrap_or(0).min(back.unwrap_or(0)).max(0) as u64)
    }

    /// Whether one time means about the same to all. Where clocks are further apart than anybody waits,
    /// everybody would wait as long as may be, for nothing, and again with every collision.
    fn clocks_agree(&self, delays: &[i64]) -> bool {
        let (least, most) = (delays.iter().min(), delays.iter().max());
        let apart = most.unwrap_or(&0).saturating_sub(*least.unwrap_or(&0));
        apart.unsigned_abs() <= self.config.timing.arrival_wait_max.0.saturating_mul(2)
    }

    fn after(&self, delay: Option<i64>, now: Now) -> WallTime {
        let wanted = delay.filter(|_| self.config.slots == Slots::ByArrival);
        wanted.map_or(WallTime(0), |delay| WallTime(now.wall.0.saturating_add_signed(delay)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT_MAX: Span = Span::from_ms(40);

    /// What is expected of a member after these samples, in microseconds.
    fn expected(samples: &[i64]) -> i64 {
        let mut delays = Delays::new(2);
        let from = ReplicaId(1);
        let first: Vec<bool> =
            samples.iter().map(|delay| delays.sample(from, *delay, WAIT_MAX)).collect();
        assert_eq!(first.iter().position(|first| *first), Some(0));
        delays.inbound[1].unwrap()
    }

    #[test]
    fn one_late_packet_is_no_measure_and_most_packets_are() {
        assert_eq!(expected(&[10_000, 14_000]), 11_000);
        assert_eq!(expected(&[10_000, 14_000, 10_000]), 11_000 - 1_000 / 32);
        let usual: Vec<i64> = (0..1_000).map(|i| 10_000 + (i % 10) * 100).collect();
        assert!((10_700..10_900).contains(&expected(&usual)), "{}", expected(&usual));
        let longer: Vec<i64> = [10_000].into_iter().chain([20_000; 20]).collect();
        assert!(expected(&longer) > 19_900, "another route is believed soon");
    }

    #[test]
    fn a_clock_that_jumped_is_believed_at_once() {
        assert_eq!(expected(&[10_000, 5_010_000]), 5_010_000);
        assert_eq!(expected(&[10_000, -4_990_000]), -4_990_000);
    }
}
