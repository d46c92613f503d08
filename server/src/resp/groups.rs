//! Requests of a connection on their way together.
//!
//! Requests that come at once, for one workload, go together as one command: one proposal for a
//! whole pipeline. They take effect one after the other with nothing between, which is more than
//! Redis promises. What only reads stays a query as long as it touches nothing that is written in
//! the same group.
//!
//! **Order.** A request sees the effects of those before it on its connection. Two groups that
//! conflict are therefore never under way together: consensus orders them, but under faults not
//! always as they were proposed. Groups that do not conflict overlap.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use panchayat::KeyHash;
use rustc_hash::FxBuildHasher;

use crate::redis::Call;

/// Most requests of a group.
const CALLS_MAX: usize = 128;
/// Most bytes of a group that has more than one request.
const BYTES_MAX: usize = 256 << 10;

/// A key of a workload.
type Place = (usize, KeyHash);

/// How often keys are touched.
#[derive(Debug, Default)]
pub(super) struct Touched(HashMap<Place, Uses, FxBuildHasher>);

#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    reads: u32,
    writes: u32,
}

/// Keys of a group, and whether it writes them.
#[derive(Debug, Default)]
pub(super) struct Keys {
    workload: usize,
    keys: Vec<KeyHash>,
    writes: bool,
}

/// Requests that are to go together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) workload: usize,
    pub(super) calls: Vec<Call>,
    /// Whether any of them writes.
    pub(super) writes: bool,
    /// What their arguments take.
    pub(super) bytes: usize,
    touched: Touched,
}

/// Whether a request goes with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fits {
    /// It does.
    Yes,
    /// The group has to leave first.
    No,
}

impl Touched {
    /// Whether `keys` conflict with what is touched.
    pub(super) fn conflicts(&self, keys: &Keys) -> bool {
        if self.0.is_empty() {
            return false;
        }
        keys.keys.iter().any(|key| {
            let uses = self.0.get(&(keys.workload, *key));
            uses.is_some_and(|uses| uses.writes > 0 || keys.writes)
        })
    }

    pub(super) fn add(&mut self, keys: &Keys) {
        for key in &keys.keys {
            let uses = self.0.entry((keys.workload, *key)).or_default();
            *(if keys.writes { &mut uses.writes } else { &mut uses.reads }) += 1;
        }
    }

    pub(super) fn remove(&mut self, keys: &Keys) {
        for key in &keys.keys {
            if let Entry::Occupied(mut entry) = self.0.entry((keys.workload, *key)) {
                let uses = entry.get_mut();
                *(if keys.writes { &mut uses.writes } else { &mut uses.reads }) -= 1;
                if uses.reads + uses.writes == 0 {
                    entry.remove();
                }
            }
        }
    }
}

impl Keys {
    /// Those of one request.
    pub(super) fn of(workload: usize, call: &Call) -> Self {
        let keys = call.keys().map(|key| KeyHash::of(key)).collect();
        Self { workload, keys, writes: call.spec.writes() }
    }

    /// Those of several, written.
    pub(super) fn written<'a>(
        workload: usize,
        keys: impl IntoIterator<Item = &'a bytes::Bytes>,
    ) -> Self {
        let keys = keys.into_iter().map(|key| KeyHash::of(key)).collect();
        Self { workload, keys, writes: true }
    }

    /// From here on they are written.
    pub(super) fn write(&mut self) {
        self.writes = true;
    }
}

impl Group {
    /// One that begins with `call`.
    pub(super) fn new(workload: usize, call: Call, keys: &Keys) -> Self {
        let mut touched = Touched::default();
        touched.add(keys);
        let (writes, bytes) = (call.spec.writes(), call.cost());
        Self { workload, calls: vec![call], writes, bytes, touched }
    }

    /// Whether `call` may join.
    pub(super) fn fits(&self, workload: usize, call: &Call, keys: &Keys) -> Fits {
        let room = self.calls.len() < CALLS_MAX && self.bytes + call.cost() <= BYTES_MAX;
        // A read beside writes of other keys is better off as a query of its own; one of the same
        // keys would have to wait for them.
        let alike = self.writes == keys.writes || self.touched.conflicts(keys);
        if workload == self.workload && room && alike { Fits::Yes } else { Fits::No }
    }

    /// Takes it.
    pub(super) fn join(&mut self, call: Call, keys: &Keys) {
        self.writes |= call.spec.writes();
        self.bytes += call.cost();
        self.touched.add(keys);
        self.calls.push(call);
    }

    /// The keys of all its requests.
    pub(super) fn keys(&self) -> Keys {
        let keys = self.touched.0.keys().map(|(_, key)| *key).collect();
        Keys { workload: self.workload, keys, writes: self.writes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::find;

    fn call(words: &str) -> Call {
        let mut words = words.split(' ');
        let spec = find(words.next().unwrap().as_bytes()).unwrap();
        Call::new(spec, words.map(|word| word.to_owned().into()).collect()).unwrap()
    }

    fn keys(words: &str) -> Keys {
        Keys::of(0, &call(words))
    }

    #[test]
    fn alike_requests_go_together_and_a_conflict_joins_them_too() {
        let group = |words: &str| Group::new(0, call(words), &keys(words));
        let fits = |group: &Group, words: &str| group.fits(0, &call(words), &keys(words));
        assert_eq!(fits(&group("SET a 1"), "SET b 1"), Fits::Yes);
        assert_eq!(fits(&group("GET a"), "GET a"), Fits::Yes);
        assert_eq!(fits(&group("SET a 1"), "GET b"), Fits::No);
        assert_eq!(fits(&group("SET a 1"), "GET a"), Fits::Yes);
        assert_eq!(fits(&group("GET a"), "SET a 1"), Fits::Yes);
        assert_eq!(group("SET a 1").fits(1, &call("SET b 1"), &keys("SET b 1")), Fits::No);
        let mut mixed = group("GET a");
        mixed.join(call("SET a 1"), &keys("SET a 1"));
        assert!(mixed.writes && mixed.keys().writes);
    }

    #[test]
    fn conflicts_last_as_long_as_what_they_are_with() {
        let mut touched = Touched::default();
        touched.add(&keys("GET a"));
        touched.add(&keys("GET a"));
        assert!(touched.conflicts(&keys("SET a 1")) && !touched.conflicts(&keys("GET a")));
        assert!(!touched.conflicts(&keys("SET b 1")));
        let elsewhere = Keys::of(1, &call("SET a 1"));
        assert!(!touched.conflicts(&elsewhere));
        touched.remove(&keys("GET a"));
        assert!(touched.conflicts(&keys("SET a 1")));
        touched.remove(&keys("GET a"));
        assert!(!touched.conflicts(&keys("SET a 1")));
    }
}
