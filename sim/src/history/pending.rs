//! The two sets the linearizability search works on: the events still to be explained, and the
//! operations already linearized.
//!
//! Both undo in O(1) what was done last, because that is all a depth-first search asks of them.

use super::model::{Moment, Operation, Outcome};

/// What happened at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// This operation was invoked.
    Invoked(u32),
    /// This operation returned.
    Returned(u32),
}

/// The events not yet explained, in time order: a doubly linked list with links to take events
/// out and to put them back where they were (Knuth's dancing links).
///
/// Node 0 is the head; events are numbered from 1.
pub(super) struct Pending {
    events: Vec<Event>,
    next: Vec<u32>,
    previous: Vec<u32>,
    /// The return that belongs to an invocation; 0 if it has none.
    return_of: Vec<u32>,
}

impl Pending {
    /// Every invocation and return of `operations` but those of operations that failed, which
    /// explain nothing.
    pub(super) fn new<C, R>(operations: &[&Operation<C, R>]) -> Self {
        let mut timed: Vec<(Moment, Event)> = Vec::with_capacity(operations.len() * 2);
        for (op, operation) in operations.iter().enumerate() {
            let op = op as u32;
            if !matches!(operation.outcome(), Outcome::Failed) {
                timed.push((operation.invoked(), Event::Invoked(op)));
            }
            if let Some(returned) = operation.returned() {
                timed.push((returned, Event::Returned(op)));
            }
        }
        // Stable: what has the same moment keeps the order in which it was recorded.
        timed.sort_by_key(|&(moment, _)| moment);

        let nodes = timed.len() as u32 + 1;
        let mut invocation_of = vec![0; operations.len()];
        let mut return_of = vec![0; nodes as usize];
        for (node, &(_, event)) in (1..).zip(&timed) {
            match event {
                Event::Invoked(op) => invocation_of[op as usize] = node,
                Event::Returned(op) => return_of[invocation_of[op as usize] as usize] = node,
            }
        }
        Self {
            events: timed.into_iter().map(|(_, event)| event).collect(),
            next: (0..nodes).map(|node| (node + 1) % nodes).collect(),
            previous: (0..nodes).map(|node| (node + nodes - 1) % nodes).collect(),
            return_of,
        }
    }

    /// The first event.
    pub(super) fn first(&self) -> u32 {
        self.next[0]
    }

    /// The event after `node`.
    pub(super) fn after(&self, node: u32) -> u32 {
        self.next[node as usize]
    }

    /// What happened at `node`. While an operation that returned is pending, a walk from the
    /// first event meets its return before the end of the list.
    pub(super) fn event(&self, node: u32) -> Event {
        self.get(node).expect("the walk stops at a return")
    }

    /// What happened at `node`, unless it is the end of the list.
    pub(super) fn get(&self, node: u32) -> Option<Event> {
        node.checked_sub(1).map(|at| self.events[at as usize])
    }

    /// Operations in the order of their invocations.
    pub(super) fn invocations(&self) -> impl Iterator<Item = u32> + '_ {
        self.events.iter().filter_map(|event| match event {
            Event::Invoked(op) => Some(*op),
            Event::Returned(_) => None,
        })
    }

    /// The operation that returns first.
    pub(super) fn first_return(&self) -> Option<u32> {
        let mut node = self.first();
        while let Some(event) = self.get(node) {
            if let Event::Returned(op) = event {
                return Some(op);
            }
            node = self.after(node);
        }
        None
    }

    /// Takes out an invocation and its return; returns what now follows in its place.
    pub(super) fn lift(&mut self, node: u32) -> u32 {
        let previous = self.previous[node as usize];
        self.unlink(node);
        match self.return_of[node as usize] {
            0 => {}
            returned => self.unlink(returned),
        }
        self.next[previous as usize]
    }

    /// Puts back what [`Self::lift`] took out last.
    pub(super) fn put_back(&mut self, node: u32) {
        match self.return_of[node as usize] {
            0 => {}
            returned => self.link(returned),
        }
        self.link(node);
    }

    fn unlink(&mut self, node: u32) {
        let (next, previous) = (self.next[node as usize], self.previous[node as usize]);
        self.next[previous as usize] = next;
        self.previous[next as usize] = previous;
    }

    fn link(&mut self, node: u32) {
        let (next, previous) = (self.next[node as usize], self.previous[node as usize]);
        self.next[previous as usize] = node;
        self.previous[next as usize] = node;
    }
}

/// The set of linearized operations.
///
/// Operations that returned are numbered by invocation, so that the set is nearly a prefix of
/// them: only the words between the all-ones prefix and the all-zeros suffix enter the memory of
/// a configuration. Operations of unknown outcome, which may stay out for ever, are kept apart.
pub(super) struct Linearized {
    known: Words,
    unknown: Words,
    /// Where an operation is: its set and its position there.
    place: Vec<(bool, u32)>,
}

impl Linearized {
    pub(super) fn new<C, R>(operations: &[&Operation<C, R>], pending: &Pending) -> Self {
        let mut place = vec![(false, 0); operations.len()];
        let (mut known, mut unknown) = (0, 0);
        for op in pending.invocations() {
            let is_known = operations[op as usize].returned().is_some();
            let count = if is_known { &mut known } else { &mut unknown };
            place[op as usize] = (is_known, *count);
            *count += 1;
        }
        Self { known: Words::new(known), unknown: Words::new(unknown), place }
    }

    pub(super) fn insert(&mut self, op: u32) {
        let (set, at) = self.locate(op);
        set.insert(at);
    }

    pub(super) fn remove(&mut self, op: u32) {
        let (set, at) = self.locate(op);
        set.remove(at);
    }

    pub(super) fn contains(&self, op: u32) -> bool {
        let (known, at) = self.place[op as usize];
        let set = if known { &self.known } else { &self.unknown };
        set.words[at as usize / 64] >> (at % 64) & 1 == 1
    }

    /// The set, the state reached and whether an unknown operation was last, as words that differ
    /// whenever any of these do.
    pub(super) fn configuration(&self, state: u32, after_unknown: bool) -> Box<[u64]> {
        let known = &self.known.words[self.known.full..self.known.used.max(self.known.full)];
        let unknown = &self.unknown.words[..self.unknown.used];
        let mut words = Vec::with_capacity(2 + known.len() + unknown.len());
        words.push(u64::from(state) << 1 | u64::from(after_unknown));
        words.push((self.known.full as u64) << 32 | known.len() as u64);
        words.extend_from_slice(known);
        words.extend_from_slice(unknown);
        words.into_boxed_slice()
    }

    fn locate(&mut self, op: u32) -> (&mut Words, u32) {
        let (known, at) = self.place[op as usize];
        (if known { &mut self.known } else { &mut self.unknown }, at)
    }
}

/// A bit set that knows where its all-ones prefix ends and its all-zeros suffix begins, in words.
struct Words {
    words: Vec<u64>,
    /// Words before this one are all ones.
    full: usize,
    /// Words from this one on are all zeros.
    used: usize,
}

impl Words {
    fn new(bits: u32) -> Self {
        Self { words: vec![0; (bits as usize).div_ceil(64)], full: 0, used: 0 }
    }

    fn insert(&mut self, at: u32) {
        let word = at as usize / 64;
        self.words[word] |= 1 << (at % 64);
        self.used = self.used.max(word + 1);
        while self.words.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
    }

    fn remove(&mut self, at: u32) {
        let word = at as usize / 64;
        self.words[word] &= !(1 << (at % 64));
        self.full = self.full.min(word);
        while self.used > 0 && self.words[self.used - 1] == 0 {
            self.used -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_track_their_full_prefix_and_their_end() {
        let mut set = Words::new(200);
        for at in (0..130).rev() {
            set.insert(at);
        }
        assert_eq!((set.full, set.used), (2, 3));
        set.remove(129);
        set.remove(128);
        assert_eq!((set.full, set.used), (2, 2));
        set.remove(3);
        assert_eq!((set.full, set.used), (0, 2));
        set.insert(3);
        assert_eq!((set.full, set.used), (2, 2));
    }

    #[test]
    fn lifting_and_putting_back_in_reverse_restores_the_walk() {
        let operations: Vec<Operation<(), ()>> = vec![
            Operation::new(0, 0, ()).returning(10, ()),
            Operation::new(1, 5, ()),
            Operation::new(2, 7, ()).returning(8, ()),
            Operation::new(3, 7, ()).failing(),
        ];
        let operations: Vec<_> = operations.iter().collect();
        let mut pending = Pending::new(&operations);
        let walk = |pending: &Pending| {
            let mut events = Vec::new();
            let mut node = pending.first();
            while node != 0 {
                events.push(pending.event(node));
                node = pending.after(node);
            }
            events
        };
        use Event::{Invoked, Returned};
        let all = [Invoked(0), Invoked(1), Invoked(2), Returned(2), Returned(0)];
        assert_eq!(walk(&pending), all);
        let (first, second) = (pending.first(), pending.after(pending.first()));
        assert_eq!(pending.first_return(), Some(2));
        assert_eq!(pending.lift(first), second);
        pending.lift(second);
        assert_eq!(walk(&pending), [Invoked(2), Returned(2)]);
        pending.put_back(second);
        pending.put_back(first);
        assert_eq!(walk(&pending), all);
    }
}
