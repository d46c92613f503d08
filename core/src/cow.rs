//! A table that can be frozen for nothing: the ground of snapshots that never stop the world.
//!
//! A hash trie whose nodes are shared by reference count. [`CowTable::clone`] copies one pointer,
//! however large the table is. What is written afterwards copies the nodes on its way, a few
//! hundred bytes each, and each of them once per clone; with no clone alive it writes in place.
//!
//! Rows are found by the hash of their key, taken from its top bits down, and lie in the order of
//! that hash, so two tables with the same rows iterate in the same order whatever their history.
//! Leaves are searched near the place that the hash suggests, and by bisection over hash and key if
//! that fails: keys chosen so as to collide make a leaf long, not a lookup.

use std::cmp::Ordering;
use std::sync::Arc;

/// Bits of the hash that choose a child.
const FANOUT_BITS: u32 = 5;
/// Children of a branch.
const FANOUT: usize = 1 << FANOUT_BITS;
/// Most rows of a leaf that can still be split.
const LEAF_ROWS_MAX: usize = 48;
/// Most rows looked at around the place where a row should be, before bisecting.
const NEAR: usize = 10;
/// Where the hash has no more bits to split by.
const DEPTH_MAX: u32 = 64 / FANOUT_BITS;

/// What a [`CowTable`] holds. Cloning a row should be cheap: share what is large.
pub trait Row: Clone {
    /// What a row is found by.
    type Key: Ord + ?Sized;

    /// This row's key. It never changes while the row is in a table.
    fn key(&self) -> &Self::Key;

    /// The hash of a key: spread over all 64 bits, the same in every process.
    fn hash(key: &Self::Key) -> u64;
}

/// Rows by key, cloned in constant time.
#[derive(Clone, Debug)]
pub struct CowTable<T> {
    root: Child<T>,
    len: usize,
}

#[derive(Debug)]
enum Child<T> {
    Empty,
    Leaf(Arc<Vec<Slot<T>>>),
    Branch(Arc<[Child<T>; FANOUT]>),
}

#[derive(Clone, Debug)]
struct Slot<T> {
    hash: u64,
    row: T,
}

impl<T: Row> CowTable<T> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The row of `key`.
    pub fn get(&self, key: &T::Key) -> Option<&T> {
        let hash = T::hash(key);
        let (mut child, mut depth) = (&self.root, 0);
        loop {
            match child {
                Child::Empty => return None,
                Child::Leaf(slots) => return Some(&slots[find(slots, hash, depth, key).ok()?].row),
                Child::Branch(children) => child = &children[index(hash, depth)],
            }
            depth += 1;
        }
    }

    /// The row of `key`, to be changed; its key must stay.
    pub fn get_mut(&mut self, key: &T::Key) -> Option<&mut T> {
        // A miss must not copy the nodes on its way.
        self.get(key)?;
        let hash = T::hash(key);
        let (mut child, mut depth) = (&mut self.root, 0);
        loop {
            match child {
                Child::Empty => return None,
                Child::Leaf(slots) => {
                    let at = find(slots, hash, depth, key).ok()?;
                    return Some(&mut Arc::make_mut(slots)[at].row);
                }
                Child::Branch(children) => {
                    child = &mut Arc::make_mut(children)[index(hash, depth)];
                }
            }
            depth += 1;
        }
    }

    /// Puts `row` in, in the place of the one with its key, which is given back.
    pub fn insert(&mut self, row: T) -> Option<T> {
        let hash = T::hash(row.key());
        let (mut child, mut depth) = (&mut self.root, 0);
        loop {
            match child {
                Child::Empty => {
                    *child = Child::Leaf(Arc::new(vec![Slot { hash, row }]));
                    self.len += 1;
                    return None;
                }
                Child::Leaf(slots) => match find(slots, hash, depth, row.key()) {
                    Ok(at) => {
                        return Some(std::mem::replace(&mut Arc::make_mut(slots)[at].row, row));
                    }
                    Err(at) if slots.len() < LEAF_ROWS_MAX || depth == DEPTH_MAX => {
                        Arc::make_mut(slots).insert(at, Slot { hash, row });
                        self.len += 1;
                        return None;
                    }
                    Err(_) => {
                        let slots = std::mem::take(Arc::make_mut(slots));
                        *child = split(slots, depth);
                        continue;
                    }
                },
                Child::Branch(children) => {
                    child = &mut Arc::make_mut(children)[index(hash, depth)];
                }
            }
            depth += 1;
        }
    }

    /// Takes the row of `key` out.
    pub fn remove(&mut self, key: &T::Key) -> Option<T> {
        // A miss must not copy the nodes on its way.
        self.get(key)?;
        let hash = T::hash(key);
        let (mut child, mut depth) = (&mut self.root, 0);
        while let Child::Branch(children) = child {
            child = &mut Arc::make_mut(children)[index(hash, depth)];
            depth += 1;
        }
        let Child::Leaf(slots) = child else { return None };
        let slots = Arc::make_mut(slots);
        let row = slots.remove(find(slots, hash, depth, key).ok()?).row;
        self.len -= 1;
        if slots.is_empty() {
            *child = Child::Empty;
        }
        // Branches stay, for what comes next; an empty table starts afresh.
        if self.len == 0 {
            self.root = Child::Empty;
        }
        Some(row)
    }

    /// The rows whose hash is `hash` or above, by ascending hash: where an iteration goes on that was
    /// left, whatever has changed meanwhile.
    pub fn iter_from(&self, hash: u64) -> Iter<'_, T> {
        let mut branches = Vec::new();
        let (mut child, mut depth) = (&self.root, 0);
        loop {
            match child {
                Child::Empty => return Iter { branches, leaf: [].iter() },
                Child::Leaf(slots) => {
                    let at = slots.partition_point(|slot| slot.hash < hash);
                    return Iter { branches, leaf: slots[at..].iter() };
                }
                Child::Branch(children) => {
                    let at = index(hash, depth);
                    branches.push(children[at + 1..].iter());
                    child = &children[at];
                }
            }
            depth += 1;
        }
    }

    /// Every row, by ascending hash.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { branches: vec![std::slice::from_ref(&self.root).iter()], leaf: [].iter() }
    }
}

/// Where `key` is among the `slots` of a leaf at `depth`, or where it would go.
fn find<T: Row>(slots: &[Slot<T>], hash: u64, depth: u32, key: &T::Key) -> Result<usize, usize> {
    let order = |slot: &Slot<T>| match slot.hash.cmp(&hash) {
        Ordering::Equal => slot.row.key().cmp(key),
        unequal => unequal,
    };
    // Hashes are spread evenly, so it is near where its bits say, mostly in the first cache line
    // that is looked at.
    let part = u128::from(hash.unbounded_shl(FANOUT_BITS * depth));
    let mut at = ((part * slots.len() as u128) >> 64) as usize;
    let (mut low, mut high) = (0, slots.len());
    for _ in 0..NEAR {
        if low == high {
            return Err(low);
        }
        match order(&slots[at]) {
            Ordering::Equal => return Ok(at),
            Ordering::Less => {
                low = at + 1;
                at += 1;
            }
            Ordering::Greater => {
                high = at;
                at = at.saturating_sub(1);
            }
        }
    }
    let found = slots[low..high].binary_search_by(order);
    found.map(|at| low + at).map_err(|at| low + at)
}

/// Which child of a branch at `depth` leads on.
fn index(hash: u64, depth: u32) -> usize {
    (hash >> (64 - FANOUT_BITS * (depth + 1))) as usize & (FANOUT - 1)
}

/// A branch at `depth` with these rows below it.
fn split<T>(slots: Vec<Slot<T>>, depth: u32) -> Child<T> {
    let mut children: [Vec<Slot<T>>; FANOUT] = std::array::from_fn(|_| Vec::new());
    for slot in slots {
        children[index(slot.hash, depth)].push(slot);
    }
    Child::Branch(Arc::new(children.map(|slots| match slots.is_empty() {
        true => Child::Empty,
        false => Child::Leaf(Arc::new(slots)),
    })))
}

impl<T> Default for CowTable<T> {
    fn default() -> Self {
        Self { root: Child::Empty, len: 0 }
    }
}

impl<T> Clone for Child<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Leaf(slots) => Self::Leaf(slots.clone()),
            Self::Branch(children) => Self::Branch(children.clone()),
        }
    }
}

/// The rows of a [`CowTable`] in the order of their hashes.
#[derive(Debug)]
pub struct Iter<'a, T> {
    branches: Vec<std::slice::Iter<'a, Child<T>>>,
    leaf: std::slice::Iter<'a, Slot<T>>,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(slot) = self.leaf.next() {
                return Some(&slot.row);
            }
            match self.branches.last_mut()?.next() {
                None => _ = self.branches.pop(),
                Some(Child::Empty) => {}
                Some(Child::Leaf(slots)) => self.leaf = slots.iter(),
                Some(Child::Branch(children)) => self.branches.push(children.iter()),
            }
        }
    }
}

impl<'a, T: Row> IntoIterator for &'a CowTable<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A row whose hash keeps only `BITS` of a good one, so that some collide.
    #[derive(Clone, Debug, PartialEq)]
    struct Pair<const BITS: u32> {
        key: u64,
        value: u32,
    }

    impl<const BITS: u32> Row for Pair<BITS> {
        type Key = u64;
        fn key(&self) -> &u64 {
            &self.key
        }
        fn hash(key: &u64) -> u64 {
            key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS) << (64 - BITS)
        }
    }

    /// Drives a table and a model through the same changes, with a clone in between.
    fn check<const BITS: u32>(changes: &[(u64, Option<u32>)], freeze_at: usize) {
        let mut table = CowTable::<Pair<BITS>>::default();
        let mut model = BTreeMap::new();
        let mut frozen = None;
        for (at, (key, value)) in changes.iter().enumerate() {
            if at == freeze_at {
                frozen = Some((table.clone(), model.clone()));
            }
            let before = match value {
                Some(value) if at % 3 == 0 && table.get(key).is_some() => {
                    let row = table.get_mut(key).unwrap();
                    Some(std::mem::replace(&mut row.value, *value))
                }
                Some(value) => table.insert(Pair { key: *key, value: *value }).map(|row| row.value),
                None => table.remove(key).map(|row| row.value),
            };
            let expected = match value {
                Some(value) => model.insert(*key, *value),
                None => model.remove(key),
            };
            assert_eq!(before, expected, "change {at}");
        }
        same(&table, &model);
        if let Some((table, model)) = frozen {
            same(&table, &model);
        }
    }

    fn same<const BITS: u32>(table: &CowTable<Pair<BITS>>, model: &BTreeMap<u64, u32>) {
        assert_eq!(table.len(), model.len());
        for (key, value) in model {
            assert_eq!(table.get(key).map(|row| row.value), Some(*value));
        }
        let order: Vec<_> =
            table.iter().map(|row| (Pair::<BITS>::hash(&row.key), row.key)).collect();
        assert!(order.is_sorted());
        assert_eq!(order.len(), model.len());
        let edges = order.iter().step_by(7).flat_map(|(hash, _)| [*hash, hash.wrapping_add(1)]);
        for from in edges.chain([0, u64::MAX]) {
            let rest = order.iter().filter(|(hash, _)| *hash >= from).map(|(_, key)| *key);
            assert!(table.iter_from(from).map(|row| row.key).eq(rest), "from {from:x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_is_a_map_and_its_clones_stay_what_they_were(
            changes in prop::collection::vec((0u64..400, prop::option::weighted(0.8, any::<u32>())), 0..1500),
            freeze_at in 0usize..1500,
        ) {
            check::<64>(&changes, freeze_at);
            check::<7>(&changes, freeze_at);
            check::<1>(&changes, freeze_at);
        }
    }

    #[test]
    fn rows_come_in_an_order_that_does_not_depend_on_their_history() {
        let mut up = CowTable::<Pair<64>>::default();
        let mut down = up.clone();
        for key in 0..5_000 {
            up.insert(Pair { key, value: 1 });
            down.insert(Pair { key: 9_999 - key, value: 1 });
        }
        for key in 0..10_000 {
            if key >= 5_000 {
                up.insert(Pair { key, value: 1 });
                down.insert(Pair { key: 9_999 - key, value: 1 });
            }
            if key % 3 == 0 {
                assert!(up.remove(&key).is_some() == (key < 5_000 || up.get(&key).is_none()));
            }
        }
        for key in (0..10_000).filter(|key| key % 3 == 0) {
            up.remove(&key);
            down.remove(&key);
        }
        assert!(up.iter().eq(down.iter()));
        assert!(up.len() > 6_000);
    }
}
