//! How long a group rests between two moves: longer and longer while it is pulled both ways.

use panchayat_consensus::{Span, Time};

/// How often the least stay is doubled at most.
const DOUBLINGS_MAX: u32 = 6;

/// What moves of late ask of the next one.
///
/// Each doubles the stay. A group that is always moved as soon as it may be comes to rest at 64 stays; one
/// that is left alone forgets a move in twice the time that it would have had to stay.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(crate) struct Rest {
    doublings: u32,
    /// When the last move was. Of no meaning while there are no doublings.
    moved: Time,
}

impl Rest {
    /// The group has moved.
    pub(crate) fn after_move(self, stay: Span, now: Time) -> Self {
        let doublings = (self.doublings(stay, now) + 1).min(DOUBLINGS_MAX);
        Self { doublings, moved: now }
    }

    /// How long an epoch is to last before the group moves again.
    pub(crate) fn stay(self, stay: Span, now: Time) -> Span {
        stay.times(1 << self.doublings(stay, now))
    }

    /// What is left of the doublings.
    fn doublings(self, stay: Span, now: Time) -> u32 {
        let (mut doublings, mut since) = (self.doublings, self.moved);
        while doublings > 0 {
            let forgotten = since + stay.times(2 << doublings);
            if now < forgotten {
                break;
            }
            since = forgotten;
            doublings -= 1;
        }
        doublings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAY: Span = Span::from_ms(30_000);

    fn at(stays: u64) -> Time {
        Time::default() + STAY.times(stays)
    }

    #[test]
    fn a_group_that_is_always_moved_comes_to_rest_at_64_stays() {
        let (mut rest, mut now, mut stays) = (Rest::default(), at(0), Vec::new());
        for _ in 0..10 {
            let stay = rest.stay(STAY, now);
            stays.push(stay.0 / STAY.0);
            now = now + stay;
            rest = rest.after_move(STAY, now);
        }
        assert_eq!(stays, [1, 2, 4, 8, 16, 32, 64, 64, 64, 64]);
    }

    #[test]
    fn a_group_that_is_left_alone_forgets() {
        let stays = |rest: Rest, now| rest.stay(STAY, at(now)).0 / STAY.0;
        let once = Rest::default().after_move(STAY, at(10));
        assert_eq!((stays(once, 13), stays(once, 14)), (2, 1));
        let twice = once.after_move(STAY, at(12));
        assert_eq!((stays(twice, 19), stays(twice, 20), stays(twice, 24)), (4, 2, 1));
        let again = twice.after_move(STAY, at(1_000));
        assert_eq!(stays(again, 1_000), 2, "that was long ago");
    }

    #[test]
    fn the_longest_stay_overflows_nothing() {
        let day = Span::from_ms(86_400_000);
        let rest = Rest { doublings: DOUBLINGS_MAX, moved: Time(u64::MAX / 2) };
        assert_eq!(rest.stay(day, rest.moved).0, day.0 * 64);
    }
}
