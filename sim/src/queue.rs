//! The queue of what will happen, in a total order: by time, then by when it was decided.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Events by virtual time in microseconds.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    order: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::with_capacity(1024), next: 0 }
    }

    /// Plans `event` for the time `at`.
    pub(crate) fn push(&mut self, at: u64, event: E) {
        self.next += 1;
        self.heap.push(Reverse(Entry { at, order: self.next, event }));
    }

    /// The next event and its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, E)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

impl<E> Entry<E> {
    fn rank(&self) -> (u64, u64) {
        (self.at, self.order)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_the_order_in_which_they_were_planned() {
        let mut queue = Queue::new();
        for (at, event) in [(5, 'a'), (3, 'b'), (5, 'c'), (3, 'd')] {
            queue.push(at, event);
        }
        let mut order = Vec::new();
        while let Some((_, event)) = queue.pop() {
            order.push(event);
        }
        assert_eq!(order, ['b', 'd', 'a', 'c']);
    }
}
