//! Where proposals wait until the replica's thread takes them.
//!
//! What has begun goes before what has not: a turn first handles every message that has come, and
//! then takes so many proposals. So under overload work piles up here, where it has cost nothing
//! yet, and not in the middle of the protocol, where everything under way would become slow,
//! be taken for lost, and be sent again. Who waits here too long is told `Overloaded`.

use std::collections::VecDeque;

use panchayat_consensus::{Span, Time};

/// Most proposals taken in a turn. Bounds the work in progress: while more wait, each turn brings as
/// many new commands as it finishes.
const TAKEN_PER_TURN_MAX: usize = 256;
/// Taken even while messages wait, so that peers with more load do not silence this replica.
const TAKEN_PER_TURN_MIN: usize = 32;

/// A queue of those who wait, and since when.
pub(crate) struct Door<T> {
    waiting: VecDeque<(Time, T)>,
    wait_max: Span,
}

/// What to do with one that waited.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<T> {
    /// Its turn has come.
    Taken(T),
    /// It has waited too long.
    Refused(T),
}

impl<T> Door<T> {
    /// At which nobody waits longer than `wait_max`.
    pub(crate) fn new(wait_max: Span) -> Self {
        Self { waiting: VecDeque::new(), wait_max }
    }

    /// How many may be taken in this turn.
    pub(crate) fn places(messages_wait: bool) -> usize {
        if messages_wait { TAKEN_PER_TURN_MIN } else { TAKEN_PER_TURN_MAX }
    }

    /// One more, which begins to wait.
    pub(crate) fn push(&mut self, item: T, now: Time) {
        self.waiting.push_back((now, item));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next in the order in which they came.
    pub(crate) fn next(&mut self, now: Time) -> Option<Turn<T>> {
        let (since, item) = self.waiting.pop_front()?;
        let late = now - since > self.wait_max;
        Some(if late { Turn::Refused(item) } else { Turn::Taken(item) })
    }

    /// Whether whoever came now would have to wait too long, going by the one who is next. It has
    /// a half of the time that is allowed, so that few of those let in are refused in the end.
    pub(crate) fn is_crowded(&self, now: Time) -> bool {
        let waited = self.waiting.front().map(|(since, _)| now - *since);
        waited.is_some_and(|waited| waited.0 > self.wait_max.0 / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_too_long_is_refused_and_before_that_the_door_is_shut() {
        let mut door = Door::new(Span(100));
        door.push('a', Time(0));
        door.push('b', Time(60));
        assert!(!door.is_crowded(Time(50)) && door.is_crowded(Time(51)));
        assert_eq!(door.next(Time(101)), Some(Turn::Refused('a')));
        assert!(!door.is_crowded(Time(101)), "the next has waited for 41 only");
        assert_eq!(door.next(Time(160)), Some(Turn::Taken('b')));
        assert!(door.is_empty() && !door.is_crowded(Time(999)) && door.next(Time(999)).is_none());
    }
}
